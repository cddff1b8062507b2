/**
 * `npm run demo`: the embedded checkpoint answers questions about three committed pictures, computed by our own kernels.
 * It is the command line (`smolvlm describe`) called a few times; nothing needs to be set up beforehand.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, 'examples/pictures');
const pictures = readdirSync(folder)
  .filter((name) => /\.(png|jpe?g)$/.test(name))
  .sort()
  .map((name) => relative(root, join(folder, name)));

const QUESTIONS = ['Describe this image.', 'How many shapes are there?', 'What is on the background?'];

for (const question of QUESTIONS) {
  console.log(`\n${question}`);
  const cli = join(root, 'dist/cli/main.js');
  const args = [cli, 'describe', ...pictures, '--prompt', question, '--time'];
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
console.log('\nAsk your own: node dist/cli/main.js describe PICTURE --prompt "Where is the red circle?"');
