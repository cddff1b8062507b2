/** dtype int8 and int4, for the whole model and for its parts; what may be done with quantised weights. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CheckpointError, ConfigError, InputError, MemoryError } from '../../src/errors.js';
import {
  type DTypeName,
  type PartDTypes,
  SmolVLMForConditionalGeneration,
  SmolVLMModel,
  SmolVLMVisionTransformer,
} from '../../src/modeling.js';
import { GOLDENS } from './golden.js';
import { rejects, throws } from './refusals.js';
import { ids, pictures, tinyConfig, tinyModel } from './tiny.js';

type Files = Map<string, Uint8Array<ArrayBuffer>>;
type Values = { data: Float32Array };

const FOLDER = `${GOLDENS}/one-image`;
const TIED = `${GOLDENS}/text-only-tied-bf16`;
const input_ids = ids([5, 6, 7, 8, 9, 10, 11]);

const load = SmolVLMForConditionalGeneration.from_pretrained;

/** Σ(a − b)² / Σb². */
function nmse({ data: a }: Values, { data: b }: Values): number {
  assert.is(a.length, b.length);
  const square = (sum: number, x: number) => sum + x * x;
  return a.map((x, i) => x - b[i]).reduce(square, 0) / b.reduce(square, 0);
}

/** Round to nearest with n levels to a side leaves about 1 / (12 n²) of uniform values' energy, scales in blocks. */
const BOUNDS = { int8: 1e-4, int4: 1e-2 } as const;

for (const dtype of ['int8', 'int4'] as const) {
  test(`${dtype}: the embedding's values are within an NMSE of ${BOUNDS[dtype]} of the stored ones`, async () => {
    const plain = await load(TIED);
    const dtypes = { embeddings: dtype };
    const model = await load(TIED, { dtype: dtypes });
    assert.is(model.dtypes.embeddings, dtype);
    assert.is(model.dtypes.text, 'bfloat16');
    const stored = await plain.get_input_embeddings();
    const quantized = await model.get_input_embeddings();
    const error = nmse(quantized.weight, stored.weight);
    assert.ok(error > 0 && error < BOUNDS[dtype], `NMSE ${error}`);
    assert.equal((await model.get_output_embeddings()).weight, quantized.weight, 'tied');
    assert.is(await model.num_parameters(), await plain.num_parameters());
    for (const one of [plain, model]) one.dispose();
  });
}

test('memory: int8 weights take less than bfloat16 ones, int4 less again', async () => {
  const bytes: number[] = [];
  for (const dtype of ['bfloat16', 'int8', 'int4'] as const) {
    const model = await load('checkpoints/smolvlm-shapes', { dtype });
    bytes.push(await model.get_memory_footprint());
    model.dispose();
  }
  assert.ok(bytes[1]! < 0.6 * bytes[0]! && bytes[2]! < 0.8 * bytes[1]!, String(bytes));
});

test('int8 is for all parts; int4 leaves head and embeddings at int8; an object gives each part its own', async () => {
  const cases: [DTypeName | PartDTypes, object, DTypeName][] = [
    ['int8', { vision: 'int8', connector: 'int8', text: 'int8', head: 'int8', embeddings: 'int8' }, 'int8'],
    ['int4', { vision: 'int4', connector: 'int4', text: 'int4', head: 'int8', embeddings: 'int8' }, 'int4'],
    [
      { vision: 'int8', text: 'torch.bfloat16' as 'bfloat16', head: 'auto', embeddings: null },
      { vision: 'int8', connector: 'float32', text: 'bfloat16', head: 'float32', embeddings: 'float32' },
      'float32',
    ],
  ];
  for (const [dtype, dtypes, name] of cases) {
    for (const options of [{ dtype }, { torch_dtype: dtype }]) {
      const model = await load(FOLDER, options);
      assert.equal({ ...model.dtypes }, dtypes);
      if (name !== 'float32') assert.is(model.dtype, name);
      const { logits } = await model.forward({ input_ids, use_cache: false });
      assert.ok(logits.data.every(Number.isFinite));
      model.dispose();
    }
  }
});

test('int8 logits are within an NMSE of 1e-3 of float32’s, int4 within 0.1, and of both towers', async () => {
  const pixel_values = pictures(1, 1);
  const run = async (dtype: DTypeName) => {
    const model = await SmolVLMForConditionalGeneration.from_config(tinyConfig(), { dtype, seed: 3 });
    const features = await model.get_image_features(pixel_values);
    const { logits } = await model.forward({ input_ids, use_cache: false });
    model.dispose();
    return { features, logits };
  };
  const exact = await run('float32');
  for (const [dtype, bound] of [
    ['int8', 1e-3],
    ['int4', 0.1],
  ] as const) {
    const { features, logits } = await run(dtype);
    for (const [got, want] of [
      [features, exact.features],
      [logits, exact.logits],
    ] as const) {
      const error = nmse(got, want);
      assert.ok(error > 0 && error < bound, `${dtype}: NMSE ${error}`);
    }
  }
});

for (const dtype of ['int8', 'int4', { text: 'int4', head: 'int8' }] as const) {
  const name = typeof dtype === 'string' ? dtype : JSON.stringify(dtype);
  test(`${name}: saved and loaded again, whole or in shards, the weights and logits have the same bits`, async () => {
    const model = await load(FOLDER, { dtype });
    const expected = await model.forward({ input_ids, use_cache: false });
    const embeddings = await model.get_input_embeddings();
    for (const max_shard_size of ['5GB', '20KB']) {
      const files: Files = new Map();
      await model.save_pretrained(files, { max_shard_size });
      assert.is(files.has('model.safetensors.index.json'), max_shard_size === '20KB');
      const config = JSON.parse(new TextDecoder().decode(files.get('config.json')));
      const { quant_method, format, block_sizes } = config.quantization_config;
      assert.equal([quant_method, format, block_sizes], ['smolvlm-wasm', 2, { int8: 64, int4: 32 }]);
      const again = await load(files);
      assert.equal({ ...again.dtypes }, { ...model.dtypes });
      assert.equal(await again.get_input_embeddings(), embeddings);
      assert.equal((await again.forward({ input_ids, use_cache: false })).logits, expected.logits);
      const third: Files = new Map();
      await again.save_pretrained(third, { max_shard_size });
      for (const [file, bytes] of files) {
        if (file.endsWith('.safetensors')) assert.equal(third.get(file), bytes, file);
      }
      again.dispose();
    }
    model.dispose();
  });
}

test('the lower classes load, and save, what the whole model saved quantised', async () => {
  const model = await load(FOLDER, { dtype: 'int8' });
  const files: Files = new Map();
  await model.save_pretrained(files);
  const pixel_values = pictures(1, 1);
  const features = await model.get_image_features(pixel_values);
  const base = await SmolVLMModel.from_pretrained(files);
  assert.equal(await base.get_image_features(pixel_values), features);
  const tower = await SmolVLMVisionTransformer.from_pretrained(files);
  const states = await tower.forward({ pixel_values: { ...pixel_values, dims: [1, 3, 16, 16] } });
  const alone: Files = new Map();
  await tower.save_pretrained(alone);
  const reloaded = await SmolVLMVisionTransformer.from_pretrained(alone);
  assert.is(reloaded.dtype, 'int8');
  const pictured = { pixel_values: { ...pixel_values, dims: [1, 3, 16, 16] } };
  assert.equal((await reloaded.forward(pictured)).last_hidden_state, states.last_hidden_state);
  for (const one of [model, base, tower, reloaded]) one.dispose();
});

test('quantised weights stay what they are: to() and another dtype of a quantised checkpoint are refused', async () => {
  const model = await load(FOLDER, { dtype: 'int8' });
  throws(() => model.to('float32'), InputError, 'to', 'from_pretrained', 'float32');
  const files: Files = new Map();
  await model.save_pretrained(files);
  const name = 'dtype, tensor model.vision_model';
  await rejects(load(files, { dtype: 'int4' }), InputError, name, "I8, or 'auto'", 'I4');
  await rejects(load(files, { dtype: 'float32' }), InputError, name, "I8, or 'auto'", 'F32');
  const adapter = `${GOLDENS}/adapters/all-linear`;
  await rejects(
    load(files, { adapter }),
    CheckpointError,
    'files',
    'the checkpoint that it was made from',
    'quantised',
  );
  const same = await load(files, { dtype: 'int8' });
  assert.is(same.dtype, 'int8');
  for (const one of [model, same]) one.dispose();
  const drawn = new SmolVLMForConditionalGeneration(tinyConfig(), { dtype: 'int4' });
  assert.is(drawn.dtype, 'int4');
  throws(() => drawn.to('float16'), InputError, 'to', 'from_pretrained', 'float16');
  drawn.dispose();
});

test('embeddings of a quantised model can be set and resized: old rows keep their bits, new ones are quantised', async () => {
  for (const dtype of ['int8', 'int4'] as const) {
    const model = await tinyModel({ dtype: { embeddings: dtype, head: 'int8' } });
    const before = (await model.get_input_embeddings()).weight.data;
    for (const count of [77, 61, 64]) {
      const { weight, num_embeddings } = await model.resize_token_embeddings(count, { mean_resizing: false });
      assert.is(num_embeddings, count);
      const kept = 24 * Math.min(61, count);
      assert.equal(weight.data.slice(0, kept), before.slice(0, kept));
      const fresh = weight.data.slice(24 * 64);
      assert.ok(fresh.every(Number.isFinite) && (count <= 64 || fresh.some((value) => value !== 0)));
    }
    const values = { dims: [64, 24], data: Float32Array.from({ length: 64 * 24 }, (_, i) => Math.cos(i)) };
    await model.set_input_embeddings(values);
    const error = nmse((await model.get_input_embeddings()).weight, values);
    assert.ok(error > 0 && error < BOUNDS[dtype], `NMSE ${error}`);
    const broken = { dims: [64, 24], data: values.data.slice() };
    broken.data[24 * 9 + 3] = Number.NaN;
    await rejects(model.set_input_embeddings(broken), InputError, 'row 9, column 3', 'finite', 'NaN');
    model.dispose();
  }
});

test('auto takes the widest dtype that fits: as stored, bfloat16, int8, int4; else the numbers', async () => {
  const config = tinyConfig({}, { vocab_size: 64000, hidden_size: 64, head_dim: 16 });
  const files: Files = new Map();
  const whole = await SmolVLMForConditionalGeneration.from_config(config);
  await whole.save_pretrained(files);
  const footprint = await whole.get_memory_footprint();
  whole.dispose();
  const seen: DTypeName[] = [];
  for (const part of [1.5, 0.9, 0.5]) {
    const model = await load(files, { maximumBytes: Math.round(part * footprint) });
    seen.push(model.dtype);
    assert.ok((await model.get_memory_footprint()) < part * footprint);
    assert.ok(model.memory <= part * footprint);
    await model.forward({ input_ids, use_cache: false });
    model.dispose();
  }
  assert.equal(seen, ['float32', 'bfloat16', 'int8']);
  await rejects(
    load(files, { maximumBytes: 8 << 20 }),
    MemoryError,
    'weights',
    `at most ${8 << 20} bytes`,
    'more',
  );
  // What is asked for by name is not replaced by something else.
  await rejects(
    load(files, { dtype: 'bfloat16', maximumBytes: Math.round(0.5 * footprint) }),
    MemoryError,
    'weights',
    'at most',
    'more',
  );
});

test('wrong dtypes are refused by name', async () => {
  const wrong = (dtype: unknown) => load(FOLDER, { dtype: dtype as 'auto' });
  const names = 'one of auto, float32, float16, bfloat16, int8, int4';
  await rejects(wrong('q4'), InputError, 'dtype', names, '"q4"');
  await rejects(wrong(8), InputError, 'dtype', names, '8');
  await rejects(wrong({ vision: 'int2' }), InputError, 'dtype.vision', names, '"int2"');
  await rejects(
    wrong({ tower: 'int8' }),
    InputError,
    'dtype',
    'vision, connector, text, head, embeddings',
    'tower',
  );
  const differ = load(TIED, { dtype: { head: 'int8', embeddings: 'int4' } });
  await rejects(differ, InputError, 'dtype', 'the same dtype for both', 'head I8, embeddings I4');
});

test('quantised checkpoints that do not fit their config are refused', async () => {
  const model = await tinyModel({ dtype: 'int8' });
  const files: Files = new Map();
  await model.save_pretrained(files);
  model.dispose();
  const config = JSON.parse(new TextDecoder().decode(files.get('config.json')));
  const changed = (change: object | null) => {
    const text = JSON.stringify({ ...config, quantization_config: change });
    return new Map(files).set('config.json', new TextEncoder().encode(text));
  };
  const own = config.quantization_config;
  const where = 'config.json: quantization_config';
  const other = changed({ quant_method: 'bitsandbytes' });
  await rejects(load(other), ConfigError, where, 'smolvlm-wasm', 'bitsandbytes');
  await rejects(load(changed({ ...own, format: 1 })), ConfigError, `${where}.format`, '2', '1');
  const blocks = changed({ ...own, block_sizes: { int8: 32, int4: 32 } });
  await rejects(load(blocks), ConfigError, `${where}.block_sizes.int8`, '64', '32');
  const name = 'tensor model.vision_model.encoder.layers.0.self_attn.k_proj.weight';
  await rejects(load(changed(null)), CheckpointError, name, 'F32, F16, BF16', 'I8');
});

test.run();
