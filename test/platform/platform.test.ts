/**
 * The platform suite (suite.mjs) on every runtime that is there: its checks hold, and the plain build's bits are those of
 * Node with one thread. Runtimes other than Node are taken from PATH, or from where an environment variable says.
 */
import { spawn } from 'node:child_process';
import { accessSync, constants, readdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root, shapes } from '../support/paths.js';
import { fetchWorker } from '../support/workerd.js';

interface Report {
  error?: string;
  bits: {
    dtype: string;
    asked: number | string;
    threads: number;
    relaxed: boolean;
    logits: string;
    text: string;
  }[];
  checks: Record<string, boolean>;
}

const LIMIT_MS = 120_000;

let ofNode: Promise<Report> | undefined;
/** What the others are compared with. */
function nodeReport(): Promise<Report> {
  ofNode ??= hosted(process.execPath, []);
  return ofNode;
}

test('Node: any number of threads gives the same bits, workers end, and the process with them', async () => {
  await holds(await nodeReport(), 32);
});

test('edge functions (no compiling, no shared memory, no workers): Node’s bits with kernels that come compiled', async () => {
  const report = JSON.parse(await outputOf(process.execPath, ['test/platform/edge.mjs'])) as Report;
  assert.ok(report.bits.every(({ threads }) => threads === 1));
  await holds(report, 23);
});

for (const { name, variable, args } of [
  { name: 'deno', variable: 'DENO_PATH', args: ['run', '--allow-all'] },
  { name: 'bun', variable: 'BUN_PATH', args: [] },
]) {
  onRuntime(name, variable, async (path) => holds(await hosted(path, args), 32));
}

onRuntime('workerd', 'WORKERD_PATH', async (path) => {
  const report = await workerd(path);
  assert.is(report.error, undefined);
  assert.ok(report.bits.every(({ threads }) => threads === 1));
  await holds(report, 23);
});

/** @param count checks that the suite makes there at least */
async function holds({ bits, checks }: Report, count: number): Promise<void> {
  const failed = Object.keys(checks).filter((name) => checks[name] !== true);
  assert.equal(failed, []);
  assert.ok(Object.keys(checks).length >= count, `${Object.keys(checks).length} checks`);
  const plain = new Map(
    (await nodeReport()).bits
      .filter(({ asked, relaxed }) => asked === 1 && !relaxed)
      .map((seen) => [seen.dtype, seen]),
  );
  assert.is(plain.size, 3);
  assert.match(plain.get('auto')!.text, /orange cross/);
  const relaxed = new Map<string, string>();
  for (const { dtype, asked, threads, logits, text, ...seen } of bits) {
    const what = `${dtype}, threads: ${asked}`;
    if (typeof asked === 'number') assert.is(threads, asked, what);
    const want = seen.relaxed ? (relaxed.get(dtype) ?? logits) : plain.get(dtype)!.logits;
    if (seen.relaxed) relaxed.set(dtype, want);
    else assert.is(text, plain.get(dtype)!.text, what);
    assert.is(logits, want, what);
  }
  assert.is(new Set(bits.filter(({ relaxed }) => !relaxed).map(({ logits }) => logits)).size, 3);
}

function onRuntime(name: string, variable: string, body: (path: string) => Promise<void>): void {
  const title = `${name}: the platform suite holds with Node’s bits`;
  const path = [
    process.env[variable],
    ...(process.env.PATH ?? '').split(delimiter).map((at) => join(at, name)),
  ]
    .filter((path) => path !== undefined && path !== '')
    .find((path) => isProgram(path!));
  if (path) test(title, () => body(path));
  else {
    console.log(`SKIP ${title} (no ${name}: set ${variable})`);
    test.skip(title, () => {});
  }
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function hosted(path: string, args: string[]): Promise<Report> {
  return JSON.parse(await outputOf(path, [...args, 'test/platform/hosted.mjs']));
}

/** What a program writes that ends by itself with exit code 0. */
function outputOf(path: string, args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${path} did not end within ${LIMIT_MS / 1000} s; it wrote: ${output.slice(0, 300)}`));
    }, LIMIT_MS);
    let output = '';
    let errors = '';
    child.stdout.on('data', (data) => {
      output += data;
    });
    child.stderr.on('data', (data) => {
      errors += data;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      if (code === 0) resolve(output);
      else reject(new Error(`${path} ended with ${code}: ${errors}`));
    });
  });
}

async function workerd(path: string): Promise<Report> {
  const texts = readdirSync(shapes).filter((name) => /\.json$|\.jinja$/.test(name));
  const files = Object.fromEntries(texts.map((name) => [name, readFileSync(join(shapes, name), 'utf8')]));
  return fetchWorker<Report>(path, [
    ['esModule', 'test/platform/workerd.mjs'],
    ['esModule', 'test/platform/suite.mjs'],
    ['json', 'test/platform/files.json', JSON.stringify(files)],
    ['wasm', 'dist/kernels.wasm'],
    ['data', 'checkpoints/smolvlm-shapes/model.safetensors'],
    ['data', 'examples/pictures/shapes-on-checks.jpg'],
  ]);
}

test.run();
