/** Rows of a KV cache multiplied and reordered: what beams do. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/folder.js';
import { InputError, MemoryError } from '../../src/errors.js';
import type { KVCache } from '../../src/model/cache.js';
import { forward, newCache } from '../../src/model/forward.js';
import { logits } from '../../src/model/head.js';
import { loadModel } from '../../src/model/load.js';
import { pageBytes } from '../../src/runtime/pages.js';
import { normals } from '../kernels/harness.js';

const model = await loadModel(await openCheckpoint('test/goldens/text-only-tied-bf16'));
const { engine } = model.ops;
const { vocab_size: vocabulary, num_hidden_layers, num_key_value_heads, head_dim } = model.config.text_config;
const slab = Math.ceil((num_hidden_layers * num_key_value_heads * pageBytes(head_dim)) / 64) * 64;

/** Bytes held beside the activations, which stay as large as they once were. */
const held = () => engine.heap.used - engine.activations.bytes;

function ids(count: number, seed: number): number[] {
  return Array.from(normals(count, seed, 100), (value) => Math.abs(Math.round(value)) % vocabulary);
}

/** The logits [B, S, V] of these rows of ids after what the cache holds. */
function run(cache: KVCache, rows: number[][]): Promise<Float32Array> {
  const input_ids = { dims: [rows.length, rows[0].length], data: Int32Array.from(rows.flat()) };
  return engine.run(function* () {
    const { hidden, tokens } = yield* forward(model, { input_ids, past_key_values: cache });
    return (yield* logits(model, hidden, tokens)).data;
  });
}

/** What one row gives from scratch. */
async function alone(row: number[], last: number): Promise<Float32Array> {
  const cache = newCache(model, 1);
  const data = await run(cache, [row]);
  cache.dispose();
  return data.slice(-last * vocabulary);
}

for (const length of [5, 128, 150, 256]) {
  test(`rows selected after ${length} keys go on with the bits of rows computed alone, and the memory comes back`, async () => {
    const used = held();
    const prompts = [ids(length, 1), ids(length, 2), ids(length, 3)];
    const cache = newCache(model, 3);
    await run(cache, prompts);
    const order = [2, 0, 0, 2, 2];
    cache.select(order);
    let rows = order.map((row) => prompts[row].slice());
    for (const [step, next] of [
      [0, 1, 2, 3, 4],
      [4, 4, 0, 1, 2],
      [0, 0, 0, 0, 0],
    ].entries()) {
      const made = rows.map((_, row) => ids(3, 100 + 10 * step + row));
      const together = await run(cache, made);
      const size = 3 * vocabulary;
      for (const [row, prompt] of rows.entries()) {
        const want = await alone([...prompt, ...made[row]], 3);
        assert.equal(together.slice(row * size, (row + 1) * size), want, `step ${step}, row ${row}`);
      }
      cache.select(next);
      rows = next.map((row) => [...rows[row], ...made[row]]);
    }
    cache.dispose();
    assert.is(held(), used);
  });
}

test('full pages are shared: only the last page with room left is copied, into dropped rows where there are any', async () => {
  const used = held();
  const cache = newCache(model, 1);
  await run(cache, [ids(300, 1)]);
  assert.is(held() - used, 3 * slab);
  cache.select([0, 0, 0, 0]);
  assert.is(held() - used, (2 + 4) * slab, 'two pages shared by four rows, the third four times');
  cache.select([3, 3, 1, 1]);
  assert.is(held() - used, (2 + 4) * slab);
  cache.select([2]);
  assert.is(held() - used, 3 * slab);
  cache.dispose();
  assert.is(held(), used);
});

test('cropping into a shared page gives the row a page of its own', async () => {
  const prompt = ids(140, 4);
  const used = held();
  const cache = newCache(model, 1);
  await run(cache, [prompt]);
  cache.select([0, 0]);
  cache.crop(100);
  const rows = [prompt.slice(0, 100), prompt.slice(0, 100)];
  // The second call reads what the first one wrote.
  for (const seed of [5, 7]) {
    const made = [ids(20, seed), ids(20, seed + 1)];
    const together = await run(cache, made);
    const size = 20 * vocabulary;
    for (const [row, before] of rows.entries()) {
      before.push(...made[row]);
      const want = await alone(before, 20);
      assert.equal(together.slice(row * size, (row + 1) * size), want, `row ${row}`);
    }
  }
  cache.dispose();
  assert.is(held(), used);
});

test('an index that names no row is an InputError, and changes nothing', async () => {
  const used = held();
  const cache = newCache(model, 2);
  await run(cache, [ids(3, 1), ids(3, 2)]);
  for (const index of [2, -1, 0.5, Number.NaN]) {
    assert.throws(
      () => cache.select([0, index]),
      (error: Error) => error instanceof InputError && /no such row.*expected 0 … 1, got/.test(error.message),
    );
  }
  assert.is(cache.batch, 2);
  cache.dispose();
  assert.is(held(), used);
});

test('where the copies do not fit it is a MemoryError, and the cache is as it was', async () => {
  const small = await loadModel(await openCheckpoint('test/goldens/text-only-tied-bf16'), {
    maximumBytes: 4 << 20,
  });
  const { heap } = small.ops.engine;
  const cache = newCache(small, 1);
  cache.reserve(0, 3);
  cache.advance(0, [0, 1, 2]);
  const used = heap.used;
  assert.throws(
    () => cache.select(new Array(1000).fill(0)),
    (error: Error) => error instanceof MemoryError && /KV cache/.test(error.message),
  );
  assert.is(heap.used, used);
  assert.is(cache.batch, 1);
  cache.dispose();
  small.ops.engine.dispose();
});

test.after(() => engine.dispose());
test.run();
