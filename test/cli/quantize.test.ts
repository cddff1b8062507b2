import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/folder.js';
import type { DTypeName, PartDTypes } from '../../src/modeling.js';
import { quantizeCheckpoint, SmolVLMForConditionalGeneration } from '../../src/modeling.js';
import { runCli } from '../support/cli.js';
import { root, shapes } from '../support/paths.js';

const scratch = mkdtempSync(join(tmpdir(), 'smolvlm-quantize-'));
const out = (name: string) => join(scratch, name);
const input_ids = { dims: [1, 6], data: Int32Array.of(1, 5, 6, 7, 8, 9) };
const load = SmolVLMForConditionalGeneration.from_pretrained;

async function logits(
  folder: string,
  dtype: 'auto' | DTypeName | PartDTypes = 'auto',
): Promise<Float32Array> {
  const model = await load(folder, { dtype });
  const output = await model.forward({ input_ids, use_cache: false });
  model.dispose();
  return output.logits.data as Float32Array;
}

const CASES: [string, string[], DTypeName | PartDTypes][] = [
  ['int8', ['--dtype', 'int8'], 'int8'],
  ['int4', ['--dtype', 'int4'], 'int4'],
  [
    'parts',
    ['--dtype', 'int4', '--vision', 'int8', '--embeddings', 'auto', '--max-shard-size', '300KB'],
    { vision: 'int8', connector: 'int4', text: 'int4', head: 'int8' },
  ],
  ['text', ['--text', 'int8'], { text: 'int8' }],
];

for (const [name, args, dtype] of CASES) {
  test(`quantize ${args.join(' ')}: the copy has the logits, bit for bit, of loading the original so`, async () => {
    const folder = out(name);
    const { code, stdout, stderr } = await runCli(['quantize', shapes, folder, ...args]);
    assert.is(code, 0, stderr);
    assert.match(stdout, /: \d.* MB of weights, /);
    assert.equal(await logits(folder), await logits(shapes, dtype));
    const files = readdirSync(folder);
    const sharded = files.includes('model.safetensors.index.json');
    assert.is(sharded, name === 'parts');
    for (const file of ['tokenizer.json', 'generation_config.json', 'preprocessor_config.json']) {
      assert.equal(readFileSync(join(folder, file)), readFileSync(join(shapes, file)), file);
    }
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
    const { quantization_config, ...rest } = config;
    assert.equal(rest, JSON.parse(readFileSync(join(shapes, 'config.json'), 'utf8')));
    assert.is(quantization_config.quant_method, 'smolvlm-wasm');
  });
}

test('the tensors of the copy are I8, or U8 with minimums, with BF16 scales for 64 columns, or 32, each aligned to its dtype', async () => {
  for (const name of ['int8', 'int4']) {
    const { files, tensors } = await (await openCheckpoint(out(name))).weights();
    assert.is(files.length, 1);
    let quantized = 0;
    for (const [tensor, { dtype, shape, begin }] of tensors) {
      const scale = tensors.get(`${tensor}_scale`);
      const minimum = tensors.get(`${tensor}_min`);
      if (dtype !== 'I8' && dtype !== 'U8') {
        assert.is(scale, undefined, tensor);
        continue;
      }
      const columns = dtype === 'I8' ? shape[1] : 2 * shape[1];
      assert.equal(
        [scale?.dtype, ...(scale?.shape ?? [])],
        ['BF16', shape[0], Math.ceil(columns / (dtype === 'I8' ? 64 : 32))],
        tensor,
      );
      assert.is(scale!.begin % 2, 0, tensor);
      assert.equal(minimum?.shape, dtype === 'U8' ? scale!.shape : undefined, tensor);
      assert.is((minimum?.begin ?? 0) % 2, 0, tensor);
      assert.ok(begin > 0);
      quantized++;
    }
    // 4 text layers of 7 matrices, 5 vision layers of 6, connector, head, embedding.
    assert.is(quantized, 4 * 7 + 5 * 6 + 3);
    await files[0].close();
  }
});

test('save_pretrained of the model and quantize write the same weights', async () => {
  const model = await load(shapes, { dtype: 'int4' });
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  await model.save_pretrained(files);
  model.dispose();
  const written = readFileSync(join(out('int4'), 'model.safetensors'));
  assert.ok(Buffer.compare(files.get('model.safetensors')!, written) === 0);
});

test('describe and info read the copy', async () => {
  const { samples } = JSON.parse(readFileSync(join(root, 'test/fixtures/demo/answers.json'), 'utf8'));
  const { file, question, answer } = samples[0];
  const picture = join(root, 'test/fixtures/demo', file);
  const said = await runCli(['describe', picture, '--prompt', question, '--model', out('int8')]);
  assert.is(said.stdout, `${answer.trim()}\n`, said.stderr);
  const quantising = [
    'describe',
    picture,
    '--prompt',
    question,
    '--model',
    shapes,
    '--dtype',
    'int8',
    '--low-memory',
  ];
  assert.is((await runCli(quantising)).stdout, `${answer.trim()}\n`);

  const info = await runCli(['info', out('int8'), '--json']);
  assert.is(info.code, 0, info.stderr);
  const { total, parts, quantization, memory } = JSON.parse(info.stdout);
  assert.is(quantization.quant_method, 'smolvlm-wasm');
  assert.ok(total.dtypes.includes('I8'));
  const text = parts.find(({ name }: { name: string }) => name === 'text layers');
  assert.ok(text.bytes < 1.13 * text.parameters, `${text.bytes} bytes for ${text.parameters} parameters`);
  assert.ok(memory.weights < 1.1 * total.bytes);
  assert.match((await runCli(['info', out('int8')])).stdout, /quantised by smolvlm-wasm/);

  const plain = JSON.parse((await runCli(['info', shapes, '--json'])).stdout);
  const { weights, weightsByDtype } = plain.memory;
  assert.is(weightsByDtype.int8, memory.weights);
  assert.ok(weights >= weightsByDtype.bfloat16 && weightsByDtype.bfloat16 > weightsByDtype.int8);
  assert.ok(weightsByDtype.int8 > weightsByDtype.int4);
});

test('quantize writes over no checkpoint, quantises none twice, and refuses what quantises nothing', async () => {
  const cases: [string[], RegExp][] = [
    [['quantize', shapes, out('int8'), '--dtype', 'int8'], /InputError: .*without a checkpoint, or --force/],
    [['quantize', shapes, shapes, '--dtype', 'int8'], /InputError: .*expected another folder/],
    [
      ['quantize', out('int8'), out('twice'), '--dtype', 'int4'],
      /InputError: the checkpoint is quantised already/,
    ],
    [['quantize', shapes, out('none'), '--text', 'bfloat16'], /InputError: nothing to quantise .*dtype/],
    [['quantize', shapes, out('none'), '--text', 'int5'], /InputError: wrong value \(dtype\.text\)/],
    [
      ['quantize', shapes, out('none'), '--dtype', 'int8', '--max-shard-size', 'much'],
      /InputError: wrong value \(max_shard_size\)/,
    ],
  ];
  for (const [args, message] of cases) {
    const { code, stderr } = await runCli(args);
    assert.is(code, 1, args.join(' '));
    assert.match(stderr, message);
    assert.is(stderr.trim().split('\n').length, 1, stderr);
  }
  const forced = await runCli(['quantize', shapes, out('int8'), '--dtype', 'int8', '--force']);
  assert.is(forced.code, 0, forced.stderr);
});

test('an adapter is merged before: the copy is that of the merged model', async () => {
  const [base, adapter] = ['test/goldens/one-image', 'test/goldens/adapters/all-linear'];
  const merged = await load(base, { adapter, dtype: 'int8' });
  const { logits: expected } = await merged.forward({ input_ids, use_cache: false });
  merged.dispose();
  const plain = await logits(base, 'int8');
  const { code, stderr } = await runCli([
    'quantize',
    base,
    out('merged'),
    '--dtype',
    'int8',
    '--adapter',
    adapter,
  ]);
  assert.is(code, 0, stderr);
  const copy = await logits(out('merged'));
  assert.equal(copy, expected.data);
  assert.not.equal(copy, plain);
});

test('quantizeCheckpoint: progress rises to the total, an abort leaves no config behind', async () => {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const seen: number[] = [];
  let all = 0;
  await quantizeCheckpoint(shapes, files, {
    dtype: 'int8',
    progress_callback: ({ loaded, total }) => {
      assert.ok(loaded > (seen.at(-1) ?? 0));
      seen.push(loaded);
      all = total;
    },
  });
  assert.is(seen.at(-1), all);
  assert.ok(files.get('model.safetensors')!.length > all);

  const controller = new AbortController();
  const reason = new Error('the user left');
  const partial = new Map<string, Uint8Array<ArrayBuffer>>();
  const error = await quantizeCheckpoint(shapes, partial, {
    dtype: 'int8',
    signal: controller.signal,
    progress_callback: ({ loaded, total }) => {
      if (loaded > total / 2) controller.abort(reason);
    },
  }).catch((caught) => caught);
  assert.is(error, reason);
  assert.not.ok(partial.has('config.json'));
});

test.after(() => rmSync(scratch, { recursive: true }));
test.run();
