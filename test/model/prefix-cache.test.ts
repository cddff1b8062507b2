/** Slabs of keys and values that rows of different caches share, counted. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/folder.js';
import { MemoryError } from '../../src/errors.js';
import type { KVCache } from '../../src/model/cache.js';
import { forward, newCache } from '../../src/model/forward.js';
import { logits } from '../../src/model/head.js';
import { loadModel } from '../../src/model/load.js';
import type { PrefixRow } from '../../src/model/prefix-row.js';
import { normals } from '../kernels/harness.js';

const model = await loadModel(await openCheckpoint('test/goldens/text-only-tied-bf16'), {
  prefix_cache_bytes: 1 << 30,
});
const { prefixes } = model;
const { engine } = model.ops;
const { vocab_size: vocabulary } = model.config.text_config;
const used = () => engine.heap.used - engine.activations.bytes;

function ids(count: number, seed: number): number[] {
  return Array.from(normals(count, seed, 100), (value) => Math.abs(Math.round(value)) % vocabulary);
}

const rowOf = (tokens: number[]): PrefixRow => ({ ids: tokens, tiles: [], seqLen: 1 });
const columns = (tokens: number[]) => Array.from(tokens.keys());

/** Feeds a cache of one row; the logits of the fed tokens. */
function feed(cache: KVCache, tokens: number[], held?: number[]): Promise<Float32Array> {
  const input_ids = { dims: [1, tokens.length], data: Int32Array.from(tokens) };
  return engine.run(function* () {
    const result = yield* forward(model, { input_ids, past_key_values: cache }, { held });
    return (yield* logits(model, result.hidden, result.tokens)).data;
  });
}

/** A row computed and kept, its cache given back; nothing is adopted. */
async function kept(tokens: number[]): Promise<void> {
  const cache = newCache(model, 1);
  await feed(cache, tokens);
  prefixes.keep(cache, 0, rowOf(tokens), false);
  cache.dispose();
}

async function slabSize(): Promise<number> {
  await kept([1]);
  const { bytes } = prefixes;
  prefixes.clear();
  return bytes;
}
const slab = await slabSize();
const start = used();

for (const [known, at] of [
  [300, 300],
  [300, 256],
  [300, 130],
  [300, 128],
  [300, 100],
  [100, 100],
] as const) {
  test(`of a known row of ${known} keys, the ${at} that a prompt begins with too are shared; only a page in part is copied`, async () => {
    const first = ids(known, 1);
    const prompt = [
      ...first.slice(0, at),
      ...ids(50, 2).map((id, i) => (i === 0 && id === first[at] ? id + 1 : id)),
    ];
    await kept(first);
    const before = used();
    assert.is(before - start, Math.ceil(known / 128) * slab);
    const cache = newCache(model, 1);
    assert.is(prefixes.adopt(cache, 0, rowOf(prompt), columns(prompt)), at);
    assert.is(used() - before, at % 128 === 0 ? 0 : slab);
    const got = await feed(cache, prompt, [at]);
    const alone = newCache(model, 1);
    const want = await feed(alone, prompt);
    assert.equal(got.slice(at * vocabulary), want.slice(at * vocabulary));
    assert.equal(cache.to_legacy_cache(), alone.to_legacy_cache());
    alone.dispose();
    // The known row is untouched by what was written behind it.
    const again = newCache(model, 1);
    assert.is(prefixes.adopt(again, 0, rowOf([...first, 1]), columns([...first, 1])), known);
    again.dispose();
    cache.dispose();
    assert.is(used(), before);
    prefixes.clear();
    assert.is(used(), start);
  });
}

test('rows that were computed apart and begin alike are kept once as far as they agree', async () => {
  const first = ids(400, 3);
  await kept(first);
  await kept([...first.slice(0, 300), ...ids(100, 4)]);
  assert.equal([prefixes.size, prefixes.bytes], [2, (4 + 2) * slab]);
  assert.is(used() - start, prefixes.bytes);
  // A longer one takes the place of its beginning, a shorter one adds nothing.
  await kept([...first, ...ids(100, 5)]);
  await kept(first.slice(0, 50));
  assert.equal([prefixes.size, prefixes.bytes], [2, (4 + 2) * slab]);
  assert.is(used() - start, prefixes.bytes);
  prefixes.clear();
  assert.is(used(), start);
});

test('a row that goes on is kept without its open page, then whole in the place of that', async () => {
  const tokens = ids(200, 6);
  const cache = newCache(model, 1);
  await feed(cache, tokens);
  prefixes.keep(cache, 0, rowOf(tokens), true);
  assert.equal([prefixes.size, prefixes.bytes], [1, slab]);
  await feed(cache, [1, 2, 3]);
  // The last token's keys are not there yet.
  prefixes.keep(cache, 0, rowOf([...tokens, 1, 2, 3, 4]), false);
  assert.equal([prefixes.size, prefixes.bytes], [1, 2 * slab]);
  cache.dispose();
  const prompt = [...tokens, 1, 2, 3, 4, 5];
  const next = newCache(model, 1);
  assert.is(prefixes.adopt(next, 0, rowOf(prompt), columns(prompt)), 203);
  next.dispose();
  prefixes.clear();
  assert.is(used(), start);
});

test('what is evicted while a row uses it stays that row’s', async () => {
  const first = ids(300, 7);
  await kept(first);
  const prompt = [...first.slice(0, 280), ...ids(10, 8)];
  const cache = newCache(model, 1);
  prefixes.adopt(cache, 0, rowOf(prompt), columns(prompt));
  prefixes.clear();
  assert.is(used() - start, 3 * slab);
  await kept(ids(600, 9));
  const got = await feed(cache, prompt, [280]);
  const alone = newCache(model, 1);
  assert.equal(got.slice(280 * vocabulary), (await feed(alone, prompt)).slice(280 * vocabulary));
  alone.dispose();
  cache.dispose();
  prefixes.clear();
  assert.is(used(), start);
});

test('as much memory can be had with known rows as without: they give theirs back before an error comes', async () => {
  const counts: number[] = [];
  for (const prefix_cache_bytes of [0, 1 << 30]) {
    const folder = await openCheckpoint('test/goldens/text-only-tied-bf16');
    const small = await loadModel(folder, { maximumBytes: 4 << 20, prefix_cache_bytes });
    const { heap } = small.ops.engine;
    const cache = newCache(small, 4);
    const lengths = [300, 500, 700, 200];
    for (const [row, length] of lengths.entries()) {
      const tokens = ids(length, row);
      cache.reserve(row, length);
      cache.advance(row, columns(tokens));
      small.prefixes.keep(cache, row, rowOf(tokens), false);
    }
    cache.dispose();
    assert.is(small.prefixes.size > 0, prefix_cache_bytes > 0);
    let count = 0;
    try {
      for (;;) {
        heap.allocate(slab, 'test');
        count++;
      }
    } catch (error) {
      assert.instance(error, MemoryError);
    }
    assert.is(small.prefixes.size, 0);
    counts.push(count);
    small.ops.engine.dispose();
  }
  assert.ok(counts[0]! > 20, String(counts));
  assert.is(counts[1], counts[0]);
});

test('where there is no memory for the copy of a page in part, a row begins with the full pages', async () => {
  const first = ids(140, 10);
  await kept(first);
  const cache = newCache(model, 2);
  const before = used();
  const { allocate } = engine.heap;
  engine.heap.allocate = (bytes, where) => {
    throw new MemoryError({ what: 'not enough memory', where, expected: '0 bytes', got: `${bytes} bytes` });
  };
  try {
    assert.is(prefixes.adopt(cache, 0, rowOf([...first, 1]), columns(first)), 128);
    assert.is(prefixes.adopt(cache, 1, rowOf([...first.slice(0, 90), 1]), columns(first)), 0);
  } finally {
    engine.heap.allocate = allocate;
  }
  assert.equal([cache.length(0), cache.length(1)], [128, 0]);
  assert.is(used(), before);
  cache.dispose();
  prefixes.clear();
  assert.is(used(), start);
});

test.after(() => engine.dispose());
test.run();
