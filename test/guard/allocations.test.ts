/** What decoding takes of memory, token by token: in wasm nothing but slabs of the KV cache, in JavaScript little and no more. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { textIds } from '../../bench/inputs.js';
import { PAGE_KEYS, pageBytes } from '../../src/runtime/pages.js';
import { type Constructions, countConstructions } from '../support/constructions.js';
import { cutModel } from '../support/cut-model.js';
import { root } from '../support/paths.js';
import {
  KEPT_BYTES,
  LAYER_GARBAGE_BYTES,
  TOKEN_ARRAYS,
  TOKEN_BUFFER_BYTES,
  TOKEN_GARBAGE_BYTES,
} from '../tolerance.js';

const { model, inner, config } = await cutModel();
const { heap, activations } = inner.ops.engine;

interface Use {
  used: number;
  peak: number;
  arena: number;
  wasm: number;
}

const use = (): Use => ({
  used: heap.used,
  peak: activations.peak,
  arena: activations.bytes,
  wasm: inner.ops.engine.bytes,
});

/** Decodes `count` tokens after a prompt of `context`; calls back after each. */
async function decode(context: number, count: number, after: (token: number) => void): Promise<void> {
  const first = await model.forward({
    input_ids: textIds(config, context),
    use_cache: true,
    logits_to_keep: 1,
  });
  const past_key_values = first.past_key_values!;
  for (let token = 1; token <= count; token++) {
    const input_ids = { dims: [1, 1], data: Int32Array.of(token) };
    await model.forward({ input_ids, past_key_values, logits_to_keep: 1 });
    after(token);
  }
  past_key_values.dispose();
}

test('wasm memory: from token 2 to token 100 nothing is taken, neither from the heap nor by the activations', async () => {
  const uses: Use[] = [];
  await decode(20, 100, () => uses.push(use()));
  assert.is(uses.length, 100);
  assert.equal(uses[99], uses[1]);
  for (const one of uses.slice(1)) assert.equal(one, uses[1]);
});

test('wasm memory: over 300 tokens the heap grows by one slab for each 128 keys, and by nothing else', async () => {
  const { layers, kvHeads, headDim } = inner.cacheShape;
  const slab = layers * kvHeads * pageBytes(headDim);
  const [context, count] = [20, 300];
  // The activations have taken what they need; the cache of that run is gone again.
  await decode(context, count, () => {});
  const base = heap.used;
  const used: number[] = [];
  await decode(context, count, () => used.push(heap.used));
  const slabs = (token: number) => Math.ceil((context + token) / PAGE_KEYS);
  const expected = Array.from({ length: count }, (_, i) => base + slabs(i + 1) * slab);
  assert.is(slabs(count), 3);
  assert.equal(used, expected);
});

test('wasm memory: a generation gives back all that it took', async () => {
  const generate = () =>
    model.generate({ input_ids: textIds(config, 20), max_new_tokens: 5, min_new_tokens: 5 });
  await generate();
  const before = use();
  await generate();
  assert.equal(use(), before);
});

/** What one token makes, from the difference of two generations that are otherwise alike. */
async function perToken(from: number, to: number): Promise<Constructions> {
  const generate = (count: number) =>
    countConstructions(() =>
      model.generate({ input_ids: textIds(config, 10), max_new_tokens: count, min_new_tokens: count }),
    );
  const [short, long] = [await generate(from), await generate(to)];
  const tokens = to - from;
  return { made: (long.made - short.made) / tokens, bytes: (long.bytes - short.bytes) / tokens };
}

test('JavaScript: a token makes as many arrays at 100 as at 20, at most 40, and buffers of the scores’ size and 1 KB more', async () => {
  const early = await perToken(10, 20);
  const late = await perToken(90, 100);
  assert.equal(late, early);
  assert.ok(late.made > 0 && late.made <= TOKEN_ARRAYS, `${late.made} arrays`);
  const scores = 4 * config.text_config.vocab_size;
  assert.ok(late.bytes <= scores + TOKEN_BUFFER_BYTES, `${late.bytes} bytes, scores take ${scores}`);
});

interface HeapUse {
  garbage: number;
  kept: number;
  keptBuffers: number;
}

/** Runs of 100 tokens in a process of their own, in which nothing is collected meanwhile. */
function decodeHeap(layers: number): HeapUse {
  const young = ['--min-semi-space-size=128', '--max-semi-space-size=128'];
  const script = join(root, 'build/test/support/decode-heap.js');
  return JSON.parse(
    execFileSync(process.execPath, ['--expose-gc', ...young, script, `${layers}`], { encoding: 'utf8' }),
  );
}

test('JavaScript: a token leaves at most 80 KB of garbage, a layer more at most 4 KB of it, and 100 tokens leave less than 64 KB once it is collected', () => {
  const { garbage, kept, keptBuffers } = decodeHeap(2);
  assert.ok(garbage > 0 && garbage <= TOKEN_GARBAGE_BYTES, `${garbage} bytes a token`);
  assert.ok(kept < KEPT_BYTES, `${kept} bytes kept`);
  assert.ok(keptBuffers < KEPT_BYTES, `${keptBuffers} bytes of buffers kept`);
  const layer = (decodeHeap(10).garbage - garbage) / 8;
  assert.ok(layer <= LAYER_GARBAGE_BYTES, `${layer} bytes a layer and token`);
});

test.after(() => model.dispose());
test.run();
