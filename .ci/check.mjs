/**
 * `npm run check`: types (tsc), lint and format (biome). AssemblyScript's top-level decorators are no TypeScript, so
 * assembly/ is checked by asc itself when it compiles, and here for line width and trailing blanks only.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const commands = [
  ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json', '--noEmit'],
  ['node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.'],
];

let failed = false;
for (const [script, ...args] of commands) {
  const { status } = spawnSync(process.execPath, [join(root, script), ...args], {
    cwd: root,
    stdio: 'inherit',
  });
  failed ||= status !== 0;
}
for (const name of readdirSync(join(root, 'assembly'), { recursive: true })) {
  if (!name.endsWith('.ts')) continue;
  readFileSync(join(root, 'assembly', name), 'utf8')
    .split('\n')
    .forEach((line, index) => {
      if (line.length <= 120 && !/\s$/.test(line) && !line.includes('\t')) return;
      console.error(`assembly/${name}:${index + 1}: over 120 columns, a tab or a trailing blank`);
      failed = true;
    });
}
process.exit(failed ? 1 : 0);
