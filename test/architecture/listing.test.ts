import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../support/paths.js';

const text = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');
const listed = Array.from(text.matchAll(/^- `([^`]+)` — (.+)$/gm), ([, file]) => file);

function files(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true })
    .map((name) => `${folder}/${String(name).replaceAll('\\', '/')}`)
    .filter(
      (name) => /\.(ts|py|mjs|wat)$/.test(name) && !/\.generated\.ts$|\/node_modules\/|\/cache\//.test(name),
    );
}

test('ARCHITECTURE.md has a line for each source file, and none for a file that is gone', () => {
  const there = ['assembly', 'src', 'python', 'bench', 'examples', '.ci'].flatMap(files);
  assert.ok(there.length > 150, `only ${there.length} files were found`);
  assert.equal(
    there.filter((file) => !listed.includes(file)),
    [],
  );
  const gone = listed.filter((file) => /\.(ts|py|mjs|wat)$/.test(file) && !file.startsWith('test/'));
  assert.equal(
    gone.filter((file) => !there.includes(file)),
    [],
  );
});

test.run();
