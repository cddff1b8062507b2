/**
 * Writes src/runtime/worker.generated.ts: what a worker runs, as the text of a script, so that neither a runtime nor a bundle
 * has to find a file. Called by .ci/setup.mjs before tsc.
 */
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { outputFiles } = await build({
  entryPoints: [join(root, 'src/runtime/worker.ts')],
  bundle: true,
  format: 'iife',
  platform: 'neutral',
  target: 'es2022',
  minify: true,
  write: false,
  logLevel: 'warning',
});
const text = [
  '// Made by .ci/embed-worker.mjs from src/runtime/worker.ts; not committed.',
  `export const WORKER_SOURCE = ${JSON.stringify(outputFiles[0].text)};`,
  '',
].join('\n');
writeFileSync(join(root, 'src/runtime/worker.generated.ts'), text);
