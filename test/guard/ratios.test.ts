/**
 * How fast kernels are beside plain loops that are measured in the same process, a moment before and after. Never a time: the
 * bounds are ratios, half of what was measured or less, and the best of several attempts counts (see test/tolerance.ts).
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Ceilings } from '../../bench/ceilings.js';
import { openBench } from '../../bench/wasm.js';
import {
  ATTENTION_OVER_SCALAR,
  GEMM_OF_REGISTERS,
  GEMM_OVER_SCALAR,
  GEMV_BF16_OVER_SCALAR,
  GEMV_OF_LOAD_SUM,
  RATIO_ATTEMPTS,
} from '../tolerance.js';

const MIB = 2 ** 20;
const { kernels, loops, memory, base, fill } = await openBench(96);

/** Seconds of a call: the fastest of as many as 30 ms hold, at least 3. */
function fastest(call: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  const end = performance.now() + 30;
  for (let i = 0; i < 3 || performance.now() < end; i++) {
    const started = performance.now();
    call();
    least = Math.min(least, performance.now() - started);
  }
  return least;
}

/** How many times faster `kernel` is than `plain`: the first attempt that reaches the bound, or the best of all. */
function speedup(bound: number, kernel: () => void, plain: () => void): number {
  let best = 0;
  for (let attempt = 0; attempt < RATIO_ATTEMPTS && best < bound; attempt++) {
    best = Math.max(best, fastest(plain) / fastest(kernel));
  }
  return best;
}

const [a, w, out] = [base, base + 16 * MIB, base + 48 * MIB];

for (const [M, K, N] of [
  [120, 768, 3072],
  [120, 3072, 768],
  [120, 576, 1536],
]) {
  // The plain loop takes a few of the rows; both are set against their own number of products.
  const rows = 4;
  test(`f32_f32w_gemm ${M} × ${K} × ${N} is at least ${GEMM_OVER_SCALAR} times as fast as one product at a time`, () => {
    fill(a, M * K);
    fill(w, N * K);
    const ratio =
      (M / rows) *
      speedup(
        (GEMM_OVER_SCALAR * rows) / M,
        () => kernels.f32_f32w_gemm(out, a, w, 0, M, N, K, K, K, N, 0),
        () => loops.scalar_gemm(out, a, w, rows, N, K),
      );
    assert.ok(ratio >= GEMM_OVER_SCALAR, `${ratio.toFixed(2)}`);
  });
}

test(`f32_f32w_gemm 120 × 768 × 3072 reaches ${GEMM_OF_REGISTERS} or more of multiply and add in registers`, () => {
  const [M, K, N] = [120, 768, 3072];
  fill(a, M * K);
  fill(w, N * K);
  const ceilings = new Ceilings();
  let best = 0;
  for (let attempt = 0; attempt < RATIO_ATTEMPTS && best < GEMM_OF_REGISTERS; attempt++) {
    const peak = ceilings.arithmetic('multiply_add')!;
    const rate = (2e-6 * M * N * K) / fastest(() => kernels.f32_f32w_gemm(out, a, w, 0, M, N, K, K, K, N, 0));
    best = Math.max(best, rate / peak);
  }
  assert.ok(best >= GEMM_OF_REGISTERS, `${best.toFixed(2)}`);
});

/** 28 MB of weights in bfloat16, as matrices of a decoder's shapes one after the other. */
const MATRICES = [
  [576, 1536],
  [1536, 576],
  [960, 2560],
] as const;

for (const [K, N] of MATRICES) {
  const copies = Math.floor((28 * MIB) / (2 * K * N));
  const bytes = 2 * K * N;
  const allRows = () => {
    for (let c = 0; c < copies; c++) {
      kernels.f32_bf16w_gemm(out, a, w + c * bytes, 0, 1, N, K, K, K, N, 0);
    }
  };

  test(`f32_bf16w_gemm, one row, ${K} × ${N}: at least ${GEMV_BF16_OVER_SCALAR} times as fast as one product at a time`, () => {
    fill(a, K);
    fill(w, copies * K * N, 'bf16');
    const plain = () => {
      for (let c = 0; c < copies; c++) loops.scalar_bf16_gemm(out, a, w + c * bytes, 1, N, K);
    };
    const ratio = speedup(GEMV_BF16_OVER_SCALAR, allRows, plain);
    assert.ok(ratio >= GEMV_BF16_OVER_SCALAR, `${ratio.toFixed(2)}`);
  });

  test(`f32_bf16w_gemm, one row, ${K} × ${N}: reads weights at ${GEMV_OF_LOAD_SUM} or more of a load-sum loop’s speed`, () => {
    fill(a, K);
    fill(w, copies * K * N, 'bf16');
    const ratio = speedup(GEMV_OF_LOAD_SUM, allRows, () => loops.load_sum(w, copies * bytes));
    assert.ok(ratio >= GEMV_OF_LOAD_SUM, `${ratio.toFixed(2)}`);
  });
}

for (const [rows, keys, headDim] of [
  [32, 1024, 64],
  [32, 729, 72],
  [1, 1024, 64],
]) {
  test(`f32_attention ${rows} × ${keys} × ${headDim}: at least ${ATTENTION_OVER_SCALAR} times as fast as its products alone, one at a time`, () => {
    const pageBytes = 4 * 128 * (headDim + Math.ceil(headDim / 8) * 8);
    const count = Math.ceil(keys / 128);
    const pages = new Uint32Array(memory.buffer, base + 80 * MIB, count);
    for (let i = 0; i < count; i++) pages[i] = w + i * pageBytes;
    fill(a, rows * headDim);
    fill(w, (count * pageBytes) / 4);
    const probs = base + 64 * MIB;
    const scale = 1 / Math.sqrt(headDim);
    const ratio = speedup(
      ATTENTION_OVER_SCALAR,
      () => {
        kernels.f32_attention(
          out,
          a,
          pages.byteOffset,
          probs,
          rows,
          keys,
          -1,
          headDim,
          headDim,
          headDim,
          scale,
        );
      },
      () => {
        loops.scalar_gemm(probs, a, w, rows, keys, headDim);
        loops.scalar_gemm(out, probs, w, rows, headDim, keys);
      },
    );
    assert.ok(ratio >= ATTENTION_OVER_SCALAR, `${ratio.toFixed(2)}`);
  });
}

test.run();
