/**
 * Bundles the library and the command line into dist/, with every dependency inside: an installed package has none.
 */
import { cpSync, existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const entries = ['src/index.ts', 'src/cli/main.ts'].map((path) => join(root, path)).filter(existsSync);

rmSync(join(root, 'dist'), { recursive: true, force: true });

await build({
  entryPoints: entries,
  outdir: join(root, 'dist'),
  outbase: join(root, 'src'),
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'neutral',
  mainFields: ['module', 'main'],
  conditions: ['import', 'default'],
  external: ['node:*'],
  target: 'es2022',
  minify: true,
  legalComments: 'linked',
  logLevel: 'warning',
});

// The declarations that tsc made, for people who write TypeScript.
cpSync(join(root, 'build/src'), join(root, 'dist/types'), {
  recursive: true,
  filter: (path) => !/\.(js|map)$/.test(path) && !/cli$|parity$/.test(path),
});

// The kernels by themselves, for hosts that take no code but what was compiled beforehand (the option `module`).
for (const name of ['kernels.wasm', 'kernels-relaxed.wasm']) {
  cpSync(join(root, 'build', name), join(root, 'dist', name));
}
