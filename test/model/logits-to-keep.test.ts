import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/folder.js';
import { forward } from '../../src/model/forward.js';
import { type LogitsToKeep, logits } from '../../src/model/head.js';
import { loadModel } from '../../src/model/load.js';
import type { Kernels } from '../../src/runtime/kernels.js';
import { shapes } from '../support/paths.js';

const model = await loadModel(await openCheckpoint(shapes));
const { engine } = model.ops;
const SEQUENCE = 256;
const vocabulary = model.weights.lm_head.N;

/** Multiply-adds that lm_head takes, and the bytes of logits that come out. */
async function cost(keep: LogitsToKeep): Promise<{ products: number; bytes: number }> {
  const kernels = engine.kernels as { -readonly [K in keyof Kernels]: Kernels[K] };
  const gemm = kernels.f32_f16w_gemm;
  let products = 0;
  kernels.f32_f16w_gemm = (...args) => {
    const [, , w, , M, N, K] = args;
    if (w >= model.weights.lm_head.pointer && w < model.weights.lm_head.pointer + 2 * vocabulary * K)
      products += M * N * K;
    return gemm(...args);
  };
  try {
    const input_ids = { dims: [1, SEQUENCE], data: Int32Array.from({ length: SEQUENCE }, (_, i) => 300 + i) };
    const scores = await engine.run(function* () {
      const { hidden, tokens, past_key_values } = yield* forward(model, { input_ids });
      past_key_values.dispose();
      return yield* logits(model, hidden, tokens, keep);
    });
    return { products, bytes: scores.data.byteLength };
  } finally {
    kernels.f32_f16w_gemm = gemm;
  }
}

test('logits_to_keep costs in proportion: 1, 64 and 3 chosen of 256 columns take that share of work and memory', async () => {
  const all = await cost(0);
  assert.is(all.products, SEQUENCE * vocabulary * model.weights.lm_head.K);
  assert.is(all.bytes, 4 * SEQUENCE * vocabulary);
  for (const [keep, columns] of [
    [1, 1],
    [64, 64],
    [[0, 17, 255], 3],
  ] as [LogitsToKeep, number][]) {
    const part = await cost(keep);
    assert.is(part.products / all.products, columns / SEQUENCE);
    assert.is(part.bytes / all.bytes, columns / SEQUENCE);
  }
});

test.after(() => engine.dispose());
test.run();
