import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hasRelaxedSimd } from '../../src/runtime/binaries.js';
import { runCli } from '../support/cli.js';
import { demoFolder, demoSamples } from '../support/demo.js';
import { root, shapes } from '../support/paths.js';

const folder = demoFolder;
const samples = demoSamples;

test('describe writes one answer and nothing else to a pipe', async () => {
  const { file, question, answer } = samples[0];
  const { code, stdout, stderr } = await runCli(['describe', join(folder, file), '--prompt', question]);
  assert.is(stderr, '');
  assert.is(stdout, `${answer.trim()}\n`);
  assert.is(code, 0);
});

test('describe goes on after a picture that cannot be read, and exits 1', async () => {
  const { file, question, answer } = samples[1];
  const good = join(folder, file);
  const args = ['describe', 'no-such-file.png', join(root, 'package.json'), good, '--prompt', question];
  const { code, stdout, stderr } = await runCli(args);
  assert.is(code, 1);
  assert.match(
    stderr,
    /no-such-file\.png: InputError: the picture cannot be read .*expected a file, got ENOENT/,
  );
  assert.match(stderr, /package\.json: ImageError: /);
  assert.ok(stdout.includes(`${good}: ${answer.trim()}\n`), stdout);
});

test('describe keeps to --max-new-tokens', async () => {
  const args = ['describe', join(folder, samples[0].file), '--max-new-tokens', '1', '--time'];
  const { code, stdout } = await runCli(args);
  assert.is(code, 0);
  assert.match(stdout, /, 1 tokens\]\n$/);
});

for (const threads of ['1', '3', 'auto']) {
  test(`describe --threads ${threads} writes the same answer, also with --kv-cache-dtype int8`, async () => {
    const { file, question, answer } = samples[0];
    const args = ['describe', join(folder, file), '--prompt', question, '--threads', threads];
    for (const more of [[], ['--kv-cache-dtype', 'int8']]) {
      const { code, stdout, stderr } = await runCli([...args, ...more]);
      assert.is(stderr, '');
      assert.is(stdout, `${answer.trim()}\n`);
      assert.is(code, 0);
    }
  });
}

test('describe --relaxed says so with --time; a host without relaxed SIMD is an error of one line', async () => {
  const { file, question } = samples[0];
  const { code, stdout, stderr } = await runCli([
    ...['describe', join(folder, file), '--prompt', question],
    ...['--relaxed', '--time'],
  ]);
  if (hasRelaxedSimd()) {
    assert.is(code, 0);
    assert.match(stdout, /, \d+ tokens, relaxed SIMD\]\n$/);
  } else {
    assert.is(code, 1);
    assert.match(stderr, /InputError: this host has no relaxed SIMD \(relaxed\): expected .*, got true\n$/);
  }
});

test('wrong calls exit 2 with a line that says what is wrong', async () => {
  const cases: [string[], RegExp][] = [
    [[], /^$/],
    [['paint'], /there is no command 'paint'; there are describe, chat/],
    [['describe'], /expected at least one picture/],
    [['describe', 'a.png', '--modle', 'x'], /Unknown option '--modle'/],
    [['describe', 'a.png', '--max-new-tokens', '0'], /expected an integer of at least 1, got '0'/],
    [['describe', 'a.png', '--prompt', ' '], /--prompt: expected a question, got nothing/],
    [['describe', 'a.png', '--threads', '0'], /--threads: expected a number of threads or auto, got '0'/],
    [
      ['describe', 'a.png', '--threads', 'many'],
      /--threads: expected a number of threads or auto, got 'many'/,
    ],
    [['info'], /expected one folder, got 0/],
    [['quantize', 'a'], /expected two folders, MODEL_DIR and OUT_DIR, got 1/],
    [['quantize', 'a', 'b'], /--dtype is missing: int8 or int4/],
    [['quantize', 'a', 'b', '--dtype', 'int3'], /--dtype: expected int8 or int4, got 'int3'/],
  ];
  for (const [args, message] of cases) {
    const { code, stderr } = await runCli(args);
    assert.is(code, 2, args.join(' '));
    assert.match(stderr, message);
    assert.not.match(stderr, /\n\s+at /, 'no stack trace');
  }
});

test('a folder without a checkpoint is an error of one line and exit code 1', async () => {
  for (const args of [
    ['describe', 'a.png', '--model', 'no-such-folder'],
    ['info', 'no-such-folder'],
    ['quantize', 'no-such-folder', 'no-such-output', '--dtype', 'int8'],
  ]) {
    const { code, stderr } = await runCli(args);
    assert.is(code, 1);
    assert.match(stderr, /CheckpointError: checkpoint folder missing \(no-such-folder\)/);
    assert.is(stderr.trim().split('\n').length, 1);
  }
});

test('info counts parameters, bytes and memory by part', async () => {
  const { code, stdout } = await runCli(['info', shapes, '--json']);
  assert.is(code, 0);
  const info = JSON.parse(stdout);
  const sum = info.parts.reduce((total: number, part: { parameters: number }) => total + part.parameters, 0);
  assert.is(sum, info.total.parameters);
  assert.is(info.tokensPerTile, 16);
  assert.ok(info.total.parameters > 1e5, `${info.total.parameters} parameters`);
  assert.ok(info.memory.weights >= info.total.bytes);
  const human = await runCli(['info', shapes]);
  assert.ok(human.stdout.includes(info.total.parameters.toLocaleString('en-US')));
});

test('every command has help with an example', async () => {
  const commands = ['describe', 'chat', 'info', 'parity', 'quantize'].map((command) => [command, '--help']);
  for (const args of [['--help'], ...commands]) {
    const { code, stdout } = await runCli(args);
    assert.is(code, 0, args.join(' '));
    assert.match(stdout, /smolvlm /);
    assert.match(stdout, /Example/);
  }
});

test('--version prints the package version', async () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  assert.is((await runCli(['--version'])).stdout, `${version}\n`);
});

test.run();
