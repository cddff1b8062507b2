/** low_memory: layers that do not fit stay in the files; the bits are those of a model in memory. */
import { mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CheckpointError, InputError, MemoryError } from '../../src/errors.js';
import {
  type DTypeOption,
  SmolVLMConfig,
  SmolVLMForConditionalGeneration,
  SmolVLMVisionTransformer,
} from '../../src/modeling.js';
import { rejects, throws } from './refusals.js';
import { ids, pictures } from './tiny.js';

/** 16 MB of text layers and 13 MB of vision layers, about 2 MB each. */
const config = new SmolVLMConfig({
  image_token_id: 60,
  pad_token_id: 2,
  vision_config: {
    hidden_size: 192,
    intermediate_size: 768,
    num_hidden_layers: 7,
    num_attention_heads: 4,
    image_size: 16,
    patch_size: 4,
  },
  text_config: {
    vocab_size: 64,
    hidden_size: 192,
    intermediate_size: 640,
    num_hidden_layers: 8,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 48,
    pad_token_id: 2,
    initializer_range: 0.1,
  },
});
const folder = mkdtempSync(join(tmpdir(), 'smolvlm-low-'));
const made = await SmolVLMForConditionalGeneration.from_config(config, { seed: 5 });
const footprint = await made.get_memory_footprint();
await made.save_pretrained(folder, { max_shard_size: '9MB' });
made.dispose();

const MAXIMUM = 26 << 20;
const inputs = {
  input_ids: ids([5, 60, 60, 60, 60, 6, 7], [60, 60, 60, 60, 8, 9, 10]),
  attention_mask: ids([1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1]),
  pixel_values: pictures(2, 1),
};
const load = (options: { dtype?: DTypeOption; maximumBytes?: number; low_memory?: boolean } = {}) =>
  SmolVLMForConditionalGeneration.from_pretrained(folder, options);
const small = (dtype: DTypeOption = 'float32') => load({ dtype, low_memory: true, maximumBytes: MAXIMUM });

for (const dtype of ['float32', 'bfloat16', 'int8'] as const) {
  const maximumBytes = { float32: MAXIMUM, bfloat16: 20 << 20, int8: 18 << 20 }[dtype];
  test(`${dtype}: logits and generated ids have the bits of a model in memory, in at most ${maximumBytes >> 20} MiB`, async () => {
    const whole = await load({ dtype });
    const model = await load({ dtype, low_memory: true, maximumBytes });
    const saving = model.save_pretrained(new Map());
    await rejects(saving, InputError, 'save_pretrained', 'without low_memory', 'with it');
    for (let round = 0; round < 2; round++) {
      const { logits } = await model.forward(inputs);
      assert.equal(logits, (await whole.forward(inputs)).logits);
    }
    const options = { ...inputs, max_new_tokens: 3, eos_token_id: -1 };
    assert.equal(await model.generate(options), await whole.generate(options));
    assert.ok(model.memory <= maximumBytes, `${model.memory} bytes`);
    assert.is(await model.num_parameters(), await whole.num_parameters());
    assert.equal(await model.get_input_embeddings(), await whole.get_input_embeddings());
    for (const one of [whole, model]) one.dispose();
  });
}

test('a model that fits stays in memory, without a file open', async () => {
  assert.ok(footprint > 28e6 && footprint < 40e6, String(footprint));
  const model = await load({ low_memory: true });
  const files = new Map();
  await model.save_pretrained(files);
  assert.ok(files.has('model.safetensors'));
  model.dispose();
});

test('the vision transformer alone streams its layers too', async () => {
  const pixel_values = { ...pictures(1, 1), dims: [1, 3, 16, 16] };
  const whole = await SmolVLMVisionTransformer.from_pretrained(folder);
  const options = { low_memory: true, maximumBytes: 18 << 20 };
  const model = await SmolVLMVisionTransformer.from_pretrained(folder, options);
  const wanted = { pixel_values, output_hidden_states: true };
  assert.equal(await model.forward(wanted), await whole.forward(wanted));
  await rejects(
    model.save_pretrained(new Map()),
    InputError,
    'save_pretrained',
    'without low_memory',
    'with it',
  );
  for (const one of [whole, model]) one.dispose();
});

test('weights that are not in memory are neither saved nor rounded; embeddings can be resized', async () => {
  const model = await small();
  throws(() => model.to('bfloat16'), InputError, 'to', 'without low_memory', 'with it');
  await rejects(
    model.save_pretrained(new Map()),
    InputError,
    'save_pretrained',
    'without low_memory',
    'with it',
  );
  const before = await model.forward({ input_ids: ids([5, 6, 7]), use_cache: false });
  await model.resize_token_embeddings(70, { mean_resizing: false });
  const after = await model.forward({ input_ids: ids([5, 6, 7]), use_cache: false });
  assert.equal(after.logits.dims, [1, 3, 70]);
  const rows = [0, 1, 2].flatMap((row) => [...after.logits.data.slice(70 * row, 70 * row + 64)]);
  assert.equal(rows, [...before.logits.data]);
  model.dispose();
});

test('an abort ends a call between two layers, and the next call has the right bits', async () => {
  const model = await small();
  const { logits } = await model.forward(inputs);
  const controller = new AbortController();
  const reason = new Error('the user left');
  const call = model.forward({ ...inputs, signal: controller.signal });
  setImmediate(() => controller.abort(reason));
  assert.is(await call.catch((error) => error), reason);
  assert.equal((await model.forward(inputs)).logits, logits);
  model.dispose();
});

test('low_memory is true or false', async () => {
  const wrong = load({ low_memory: 'yes' as unknown as boolean });
  await rejects(wrong, InputError, 'low_memory', 'one of true, false', '"yes"');
});

test('without low_memory the same memory is refused with the numbers, and with it memory for no two layers', async () => {
  await rejects(
    load({ dtype: 'float32', maximumBytes: MAXIMUM }),
    MemoryError,
    'weights',
    String(MAXIMUM),
    'more',
  );
  const least = load({ low_memory: true, maximumBytes: 6 << 20 });
  await rejects(least, MemoryError, 'two layers at a time', String(6 << 20), 'more');
});

test('a file cut short meanwhile is a CheckpointError that names the place, a removed one names the file', async () => {
  const model = await small();
  await model.forward(inputs);
  truncateSync(join(folder, 'model-00002-of-00004.safetensors'), 100_000);
  const cut = await model.forward(inputs).catch((error) => error);
  assert.instance(cut, CheckpointError);
  assert.is(cut.what, 'the file ends early');
  assert.match(cut.where, /model-0000\d-of-00004\.safetensors, byte \d+/);
  model.dispose();

  const other = mkdtempSync(join(tmpdir(), 'smolvlm-low-'));
  const fresh = await SmolVLMForConditionalGeneration.from_config(config, { seed: 5 });
  await fresh.save_pretrained(other);
  fresh.dispose();
  const streaming = await SmolVLMForConditionalGeneration.from_pretrained(other, {
    low_memory: true,
    maximumBytes: MAXIMUM,
  });
  rmSync(join(other, 'model.safetensors'));
  const removed = await streaming.forward(inputs).catch((error) => error);
  assert.instance(removed, CheckpointError);
  assert.is(removed.what, 'cannot be read');
  assert.match(removed.where, /model\.safetensors/);
  assert.match(removed.got, /ENOENT/);
  streaming.dispose();
  rmSync(other, { recursive: true });
});

test.after(() => rmSync(folder, { recursive: true }));
test.run();
