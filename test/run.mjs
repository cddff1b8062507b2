/**
 * Runs every compiled test file (build/test/**\/*.test.js) in a process of its own and closes with the one line
 * `N passed, N failed` (`, N skipped` follows where tests were skipped by name). Usage: node test/run.mjs [PATTERN]
 */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, 'build', 'test');
const pattern = process.argv[2] ?? '';
const files = readdirSync(folder, { recursive: true })
  .map(String)
  .filter((name) => name.endsWith('.test.js') && name.includes(pattern))
  .sort();

const totals = { passed: 0, failed: 0, skipped: 0 };
const LIMIT_MS = 20 * 60_000;
for (const file of files) {
  const started = performance.now();
  const { code, text } = await run(join(folder, file));
  const count = (word) => Number(text.match(new RegExp(`^\\s*${word}:\\s+(\\d+)`, 'm'))?.[1] ?? 0);
  const total = count('Total');
  const passed = count('Passed');
  const skipped = count('Skipped');
  // A file that died before its summary, or ran nothing, is a failure of its own.
  const failed = total === 0 && skipped === 0 ? 1 : Math.max(total - passed, code === 0 ? 0 : 1);
  totals.passed += passed;
  totals.failed += failed;
  totals.skipped += skipped;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${failed ? 'FAIL' : 'ok  '} ${file} (${passed} passed, ${failed} failed, ${seconds} s)`);
  for (const line of text.match(/^SKIP .*$/gm) ?? []) console.log(`     ${line}`);
  if (failed) console.log(text);
}
if (files.length === 0) totals.failed = 1;
const skipped = totals.skipped ? `, ${totals.skipped} skipped` : '';
console.log(`${totals.passed} passed, ${totals.failed} failed${skipped}`);
process.exit(totals.failed ? 1 : 0);

function run(path) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--enable-source-maps', path], {
      cwd: root,
      env: { ...process.env, FORCE_COLOR: '0', NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    const timer = setTimeout(() => {
      text += `\nkilled after ${LIMIT_MS / 60_000} minutes\n`;
      child.kill('SIGKILL');
    }, LIMIT_MS);
    child.stdout.on('data', (data) => (text += data));
    child.stderr.on('data', (data) => (text += data));
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? 1, text: text.replace(/\u001b\[[0-9;]*m/g, '') });
    });
  });
}
