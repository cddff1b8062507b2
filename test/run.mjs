/**
 * Runs every compiled test file (build/test/**\/*.test.js) in a process of its own and closes with the one line
 * `N passed, N failed` (`, N skipped` follows where tests were skipped by name). A file that skips something for want of
 * relaxed SIMD runs once more with the Node that CURRENT_NODE names, if it does. Usage: node test/run.mjs [PATTERN]
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { checkFeatures } from './record/features.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, 'build', 'test');
const pattern = process.argv[2] ?? '';
const files = readdirSync(folder, { recursive: true })
  .map(String)
  .filter((name) => name.endsWith('.test.js') && name.includes(pattern))
  .sort();

const scratch = mkdtempSync(join(tmpdir(), 'smolvlm-test-'));
const record = join(scratch, 'record.jsonl');
const register = pathToFileURL(join(root, 'test/record/register.mjs')).href;

const totals = { passed: 0, failed: 0, skipped: 0 };
const LIMIT_MS = 20 * 60_000;
const { CURRENT_NODE } = process.env;
for (const file of files) {
  const { text, skipped } = await runFile(process.execPath, file);
  if (!CURRENT_NODE || !/^SKIP .*no relaxed SIMD/m.test(text)) continue;
  totals.skipped -= skipped;
  await runFile(CURRENT_NODE, file);
}
if (files.length === 0) totals.failed = 1;
const records = existsSync(record)
  ? readFileSync(record, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
  : [];
for (const { file, title } of records.filter(({ assertions }) => assertions === 0)) {
  totals.failed++;
  console.log(`FAIL ${file}: made no assertion: ${title}`);
}
if (pattern === '' && existsSync(join(root, 'FEATURES.md'))) features();
rmSync(scratch, { recursive: true, force: true });
const skipped = totals.skipped ? `, ${totals.skipped} skipped` : '';
console.log(`${totals.passed} passed, ${totals.failed} failed${skipped}`);
process.exit(totals.failed ? 1 : 0);

/** The table of features counts as a test of its own: every test that it names must have run and asserted. */
function features() {
  const { problems, rows } = checkFeatures(join(root, 'FEATURES.md'), records);
  totals[problems.length ? 'failed' : 'passed']++;
  console.log(`${problems.length ? 'FAIL' : 'ok  '} FEATURES.md (${rows} rows)`);
  for (const problem of problems) console.log(`     ${problem}`);
}

/** One file's tests in a process of their own, counted and reported. */
async function runFile(node, file) {
  const started = performance.now();
  const { code, text } = await run(node, join(folder, file));
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
  const engine = node === process.execPath ? '' : ', the other Node';
  console.log(
    `${failed ? 'FAIL' : 'ok  '} ${file} (${passed} passed, ${failed} failed, ${seconds} s${engine})`,
  );
  for (const line of text.match(/^SKIP .*$/gm) ?? []) console.log(`     ${line}`);
  if (failed) console.log(text);
  return { text, skipped };
}

function run(node, path) {
  return new Promise((resolve) => {
    const child = spawn(node, ['--no-warnings', '--enable-source-maps', '--import', register, path], {
      cwd: root,
      // What tests leave in the folder for temporary files goes with this run's own.
      env: { ...process.env, FORCE_COLOR: '0', NO_COLOR: '1', TEST_RECORD: record, TMPDIR: scratch },
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
      resolve({ code: code ?? 1, text: stripVTControlCharacters(text) });
    });
  });
}
