import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../support/paths.js';

/** The layers from the ground up: a folder of src may import itself and those before it. Files beside them are surfaces. */
const LAYERS = ['runtime', 'checkpoint', 'model', 'processing', 'generation'];
const SURFACE = LAYERS.length;
const src = join(root, 'src');

interface Import {
  from: string;
  to: string;
}

function sources(): string[] {
  return readdirSync(src, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.generated.ts'));
}

function imports(file: string): Import[] {
  const text = readFileSync(join(src, file), 'utf8');
  const pattern = /(?:from|import)\s*\(?\s*'(\.[^']*)'/g;
  return Array.from(text.matchAll(pattern), ([, path]) => ({
    from: file,
    to: relative(src, resolve(src, dirname(file), path.replace(/\.js$/, '.ts'))),
  }));
}

function layer(file: string): number {
  // The error types belong to everybody and know nobody.
  if (file === 'errors.ts') return -1;
  const index = LAYERS.indexOf(file.split('/')[0]);
  return index < 0 ? SURFACE : index;
}

// Data files belong to no layer.
const all = sources()
  .flatMap(imports)
  .filter(({ to }) => to.endsWith('.ts'));

test('no import points from a lower layer to a higher one', () => {
  const wrong = all.filter(({ from, to }) => layer(to) > layer(from));
  assert.ok(all.length > 50, `only ${all.length} imports were found`);
  assert.equal(wrong, []);
});

test('processing imports neither weights nor models, and the model neither pixels nor strings', () => {
  const wrong = all.filter(
    ({ from, to }) => from.startsWith('processing/') && /^(runtime|model)\//.test(to) && !isPlain(to),
  );
  assert.equal(wrong, []);
});

/** Without a machine behind them: types, and how long work pauses. */
function isPlain(file: string): boolean {
  return file === 'runtime/tensor.ts' || file === 'runtime/steps.ts';
}

test('library code outside src/cli imports node: modules only at run time, so that bundles work in browsers', () => {
  const wrong = sources()
    .filter((file) => !/^cli\//.test(file))
    .filter((file) => /^import (?!type)[^;]*from 'node:/m.test(readFileSync(join(src, file), 'utf8')));
  assert.equal(wrong, []);
});

test('files stay short: at most 400 lines', () => {
  const long = sources().filter((file) => readFileSync(join(src, file), 'utf8').split('\n').length > 400);
  assert.equal(long, []);
});

test.run();
