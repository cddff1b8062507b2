import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { runCli } from '../support/cli.js';

const BASE = 'test/goldens/one-image';
const ADAPTER = 'test/goldens/adapters/all-linear';
const GOLDEN = `${ADAPTER}/golden.safetensors`;

test('parity --adapter holds against the merged golden, and fails without it', async () => {
  const merged = await runCli(['parity', BASE, GOLDEN, '--adapter', ADAPTER]);
  assert.is(merged.code, 0, merged.stdout + merged.stderr);
  const plain = await runCli(['parity', BASE, GOLDEN]);
  assert.is(plain.code, 1);
});

test('info --adapter counts what the adapter changes', async () => {
  const { code, stdout } = await runCli(['info', BASE, '--adapter', ADAPTER]);
  assert.is(code, 0);
  assert.match(stdout, /adapter test\/goldens\/adapters\/all-linear: 27 tensors merged, 0 replaced\n/);
  const json = await runCli(['info', BASE, '--adapter', 'test/goldens/adapters/f16-layers', '--json']);
  assert.is(json.code, 1, 'an adapter of another model');
  assert.match(json.stderr, /adapter tensor/);
});

test('info and describe of a folder that is an adapter name its base', async () => {
  const { base_model_name_or_path: base } = JSON.parse(
    readFileSync(`${ADAPTER}/adapter_config.json`, 'utf8'),
  );
  for (const args of [
    ['info', ADAPTER],
    ['describe', 'x.png', '--model', ADAPTER],
  ]) {
    const { code, stderr } = await runCli(args);
    assert.is(code, 1, args.join(' '));
    assert.match(stderr, /an adapter without its base/);
    assert.ok(stderr.includes(JSON.stringify(base)), stderr);
  }
});

test('describe --adapter refuses an adapter of another model, naming the tensor', async () => {
  const { code, stderr } = await runCli(['describe', 'x.png', '--adapter', ADAPTER]);
  assert.is(code, 1);
  assert.match(stderr, /adapter tensor (missing|has another shape).*base_model\.model\..*expected \[.*got/);
});

test.run();
