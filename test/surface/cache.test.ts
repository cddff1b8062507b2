/** The cache that forward gives and takes: cached and uncached runs, its tensors, cropping, masks. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DisposedError, InputError } from '../../src/errors.js';
import type { Model } from '../../src/model/model.js';
import { type DynamicCache, SmolVLMForConditionalGeneration } from '../../src/modeling.js';
import type { HostTensor } from '../../src/runtime/tensor.js';
import { rejects, throws } from './refusals.js';
import { IMAGE, ids, pictures, tinyConfig, tinyModel } from './tiny.js';

const model = await tinyModel();
const tokens = Array.from({ length: 150 }, (_, i) => (i * 37) % 59);
const pixel_values = pictures(1, 1);
for (let i = 3; i < 7; i++) tokens[i] = IMAGE;

test('a cached run equals an uncached one to the last bit, however it is cut', async () => {
  const whole = await model.forward({ input_ids: ids(tokens), pixel_values, output_hidden_states: true });
  for (const cuts of [[149], [128], [10, 11, 127, 129], [60, 100]]) {
    let past: DynamicCache | undefined;
    const logits: number[] = [];
    for (const [i, end] of [...cuts, 150].entries()) {
      const start = i === 0 ? 0 : cuts[i - 1];
      const part = await model.forward({
        input_ids: ids(tokens.slice(start, end)),
        pixel_values: i === 0 ? pixel_values : undefined,
        past_key_values: past,
      });
      past = part.past_key_values;
      for (const value of part.logits.data) logits.push(value);
    }
    assert.equal(Float32Array.from(logits), whole.logits.data, `cut at ${cuts}`);
    assert.equal(past!.to_legacy_cache(), whole.past_key_values!.to_legacy_cache());
    past!.dispose();
  }
});

test('a batch gives each row what it gives alone, to the last bit, pads on the left', async () => {
  const alone = await model.forward({ input_ids: ids(tokens.slice(7, 12)) });
  const dims = [2, 8];
  const input_ids = { dims, data: Int32Array.of(2, 2, 2, ...tokens.slice(7, 12), ...tokens.slice(12, 20)) };
  const attention_mask = { dims, data: Uint8Array.of(0, 0, 0, 1, 1, 1, 1, 1, ...Array(8).fill(1)) };
  const position_ids = { dims, data: Int32Array.of(1, 1, 1, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6, 7) };
  const both = await model.forward({ input_ids, attention_mask, position_ids });
  assert.equal(both.logits.data.subarray(3 * 64, 8 * 64), alone.logits.data);
});

test('a cache can be read: get_seq_length, shapes of layers, pads 0', async () => {
  const attention_mask: HostTensor = { dims: [2, 4], data: Uint8Array.of(0, 1, 1, 1, 1, 1, 1, 1) };
  const { past_key_values } = await model.forward({
    input_ids: ids([2, 3, 4, 5], [6, 7, 8, 9]),
    attention_mask,
  });
  const cache = past_key_values!;
  assert.is(cache.get_seq_length(), 4);
  const legacy = cache.to_legacy_cache();
  assert.is(legacy.length, 2);
  for (const [keys, values] of legacy) {
    assert.equal(keys.dims, [2, 2, 4, 6]);
    assert.equal(values.dims, [2, 2, 4, 6]);
    const column = (data: Float32Array, row: number, at: number) =>
      data.subarray((row * 8 + at) * 6, (row * 8 + at + 1) * 6);
    assert.ok(
      column(values.data, 0, 0).every((value) => value === 0),
      'the pad',
    );
    assert.ok(column(values.data, 0, 1).some((value) => value !== 0));
    assert.ok(column(values.data, 1, 0).some((value) => value !== 0));
  }
  assert.equal(cache.layer(1).keys, legacy[1][0]);
  throws(() => cache.layer(2), InputError, 'past_key_values', '0 … 1', '2');
  cache.dispose();
});

test('crop takes columns off, from either end of the count, and what is fed again has the same bits', async () => {
  const { past_key_values: cache, logits } = await model.forward({ input_ids: ids(tokens.slice(7, 27)) });
  const before = cache!.to_legacy_cache();
  cache!.crop(-5);
  assert.is(cache!.get_seq_length(), 15);
  cache!.crop(99);
  assert.is(cache!.get_seq_length(), 15);
  cache!.crop(12);
  const again = await model.forward({ input_ids: ids(tokens.slice(19, 27)), past_key_values: cache });
  assert.equal(again.logits.data, logits.data.subarray(12 * 64));
  assert.equal(cache!.to_legacy_cache(), before);
  cache!.crop(-1000);
  assert.is(cache!.get_seq_length(), 0);
  throws(() => cache!.crop(0.5), InputError, 'max_length', 'an integer', '0.5');
});

test('a cache from tensors continues with the same bits in another instance of the model', async () => {
  const other = await tinyModel();
  const { past_key_values } = await model.forward({ input_ids: ids(tokens.slice(0, 140)), pixel_values });
  const copy = await other.from_legacy_cache(past_key_values!.to_legacy_cache());
  const next = { input_ids: ids(tokens.slice(140)) };
  const theirs = await other.forward({ ...next, past_key_values: copy });
  await rejects(
    other.forward({ ...next, past_key_values }),
    InputError,
    'past_key_values',
    'of this model',
    'another',
  );
  assert.equal(theirs.logits, (await model.forward({ ...next, past_key_values })).logits);
  const legacy = past_key_values!.to_legacy_cache();
  await rejects(model.from_legacy_cache(legacy.slice(1)), InputError, 'past_key_values', '2 layers', '1');
  const short = [
    legacy[0],
    [legacy[1][0], { dims: [1, 2, 3, 6], data: new Float32Array(36) }],
  ] as typeof legacy;
  await rejects(model.from_legacy_cache(short), InputError, 'values of layer 1', '[1,2,150,6]', '[1,2,3,6]');
  const mask = { dims: [1, 3], data: new Uint8Array(3) };
  await rejects(model.from_legacy_cache(legacy, mask), InputError, 'attention_mask', '[1, 150]', '[1,3]');
  other.dispose();
  assert.throws(
    () => copy.to_legacy_cache(),
    (error: unknown) => error instanceof DisposedError,
  );
});

test('a mask over a cache with pads must be given, whole, and must not change what it said', async () => {
  const attention_mask: HostTensor = { dims: [1, 4], data: Uint8Array.of(0, 1, 1, 1) };
  const start = async () =>
    (await model.forward({ input_ids: ids([2, 3, 4, 5]), attention_mask })).past_key_values;
  const past_key_values = await start();
  const next = (mask?: number[]) =>
    model.forward({
      input_ids: ids([6]),
      past_key_values,
      attention_mask: mask && { dims: [1, mask.length], data: Uint8Array.from(mask) },
    });
  await rejects(next(), InputError, 'attention_mask', '[1, 5]', '1 pads in the cache');
  await rejects(next([1]), InputError, 'attention_mask', '[1, 5]', '[1,1]');
  await rejects(next([1, 1, 1, 1, 1]), InputError, 'row 0, column 0', '0', 'not 0');
  await rejects(next([0, 1, 0, 1, 1]), InputError, 'row 0, column 2', 'not 0', '0');
  assert.is(past_key_values!.get_seq_length(), 4, 'a refused call leaves the cache as it was');
  assert.ok(await next([0, 1, 1, 1, 1]));
  const two = { input_ids: ids([6], [7]), past_key_values };
  await rejects(
    model.forward({
      ...two,
      attention_mask: { dims: [2, 6], data: Uint8Array.of(0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1) },
    }),
    InputError,
    'past_key_values',
    '1 rows',
    '2',
  );
});

test('cache_position before every key that a row has is refused', async () => {
  const attention_mask: HostTensor = { dims: [1, 4], data: Uint8Array.of(0, 1, 1, 1) };
  const { past_key_values } = await model.forward({ input_ids: ids([2, 3, 4, 5]), attention_mask });
  const call = {
    input_ids: ids([6]),
    past_key_values,
    cache_position: { dims: [1], data: Int32Array.of(0) },
  };
  const mask = { dims: [1, 5], data: Uint8Array.of(0, 1, 1, 1, 1) };
  await rejects(
    model.forward({ ...call, attention_mask: mask }),
    InputError,
    'cache_position, row 0',
    'at least 1',
    '0',
  );
  assert.is(past_key_values!.get_seq_length(), 4);
});

for (const threads of [1, 2]) {
  test(`with threads: ${threads}, a pass that is broken off leaves its cache as it was, and holds nothing of a new one`, async () => {
    const other = await SmolVLMForConditionalGeneration.from_config(
      tinyConfig({}, { hidden_size: 96, intermediate_size: 256, num_hidden_layers: 12 }),
      { threads },
    );
    const prompt = tokens.map((id) => (id === IMAGE ? 1 : id));
    const rows = Array.from({ length: 6 }, (_, row) => prompt.map((id) => (id + row) % 59));
    const next = { input_ids: ids(...rows.map((row) => row.slice(0, 40))) };
    const start = async () => (await other.forward({ input_ids: ids(...rows) })).past_key_values!;
    const uncut = await start();
    const want = await other.forward({ ...next, past_key_values: uncut });
    uncut.dispose();
    const past_key_values = await start();
    const { heap, activations } = (other as unknown as { model: Model }).model.ops.engine;
    const held = () => heap.used - activations.bytes;
    const before = held();
    let broken = 0;
    for (let after = 0; after < 24; after += 2) {
      for (const more of [{ past_key_values }, {}]) {
        const abort = new AbortController();
        setTimeout(() => abort.abort(), after);
        const ended = await other.forward({ ...next, ...more, signal: abort.signal }).catch((error) => error);
        if ('logits' in ended) {
          // It was too quick to be broken off.
          if (more.past_key_values) past_key_values.crop(150);
          else ended.past_key_values.dispose();
          continue;
        }
        broken++;
        assert.is(ended.name, 'AbortError');
        assert.is(past_key_values.get_seq_length(), 150);
        // With threads, what goes to them takes memory of its own that stays.
        if (threads === 1) assert.is(held(), before, `broken off after ${after} ms`);
      }
    }
    assert.ok(broken > 0);
    const got = await other.forward({ ...next, past_key_values });
    assert.equal(got.logits, want.logits);
    past_key_values.dispose();
    other.dispose();
  });
}

test('caches that nobody keeps hold no memory', async () => {
  const config = tinyConfig();
  const other = await SmolVLMForConditionalGeneration.from_config(config);
  const input_ids = ids(tokens.map((id) => (id === IMAGE ? 1 : id)));
  await other.forward({ input_ids, use_cache: false });
  const { memory } = other;
  for (let i = 0; i < 40; i++) await other.forward({ input_ids, use_cache: false });
  assert.is(other.memory, memory);
  for (let i = 0; i < 40; i++) (await other.forward({ input_ids })).past_key_values!.dispose();
  assert.ok(other.memory <= memory + (1 << 20), `${other.memory} after ${memory}`);
  other.dispose();
});

test.after(() => model.dispose());

test.run();
