/**
 * How fast kernels are beside plain loops that are measured in the same process, a moment before and after. Never a time: the
 * bounds are ratios, half of what was measured or less, and the best of several attempts counts (see test/tolerance.ts).
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openBench } from '../../bench/wasm.js';
import { weightBytes } from '../../src/runtime/weight.js';
import {
  ATTENTION_OVER_SCALAR,
  GEMM_OVER_SCALAR,
  GEMV_BF16_OVER_SCALAR,
  GEMV_INT4_OF_LOAD_SUM,
  GEMV_OF_LOAD_SUM,
  GEMV_QUANTISED_OVER_SCALAR,
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

/** Matrices of a decoder's shapes, 28 MB of weights of each one after the other. */
const MATRICES = [
  [576, 1536],
  [1536, 576],
  [960, 2560],
] as const;

/** One row against many matrices, by dtype. */
const ROW_PRODUCTS = {
  bfloat16: {
    ...bf16Rows(),
    ofScalar: GEMV_BF16_OVER_SCALAR,
    ofLoadSum: GEMV_OF_LOAD_SUM,
  },
  int8: { ...quantizedRows('I8'), ofScalar: GEMV_QUANTISED_OVER_SCALAR, ofLoadSum: GEMV_OF_LOAD_SUM },
  int4: { ...quantizedRows('I4'), ofScalar: GEMV_QUANTISED_OVER_SCALAR, ofLoadSum: GEMV_INT4_OF_LOAD_SUM },
} as const;

interface RowProduct {
  name: string;
  /** Bytes of a matrix of N outputs. */
  bytes: (N: number, K: number) => number;
  prepare: (bytes: number, K: number) => void;
  multiply: (pointer: number, N: number, K: number) => void;
}

function bf16Rows(): RowProduct {
  return {
    name: 'f32_bf16w_gemm',
    bytes: (N, K) => weightBytes('panel', 'BF16', N, K),
    prepare: (bytes, K) => {
      fill(a, K);
      fill(w, bytes / 2, 'bf16');
    },
    multiply: (pointer, N, K) => kernels.f32_bf16w_gemm(out, a, pointer, 0, 1, N, K, K, K, N, 0),
  };
}

/** Quantising the row is part of it: once for each matrix, more often than a model does. */
function quantizedRows(dtype: 'I8' | 'I4'): RowProduct {
  const gemm = dtype === 'I8' ? kernels.f32_i8w_gemm : kernels.f32_i4w_gemm;
  const quantize = dtype === 'I8' ? kernels.q_rows_i8w : kernels.q_rows_i4w;
  const row = base + 8 * MIB;
  return {
    name: dtype === 'I8' ? 'f32_i8w_gemm' : 'f32_i4w_gemm',
    bytes: (N, K) => weightBytes('panel', dtype, N, K),
    // Any bytes are weights; halves of ordinary size make the scales such too.
    prepare: (bytes, K) => {
      fill(a, K);
      fill(w, bytes / 2, 'bf16');
    },
    multiply: (pointer, N, K) => {
      quantize(row, a, 1, K, K);
      gemm(out, row, pointer, 0, 1, N, K, N);
    },
  };
}

for (const [dtype, { name, ofScalar, ofLoadSum, ...product }] of Object.entries(ROW_PRODUCTS)) {
  for (const [K, N] of MATRICES) {
    const bytes = product.bytes(N, K);
    const copies = Math.floor((28 * MIB) / bytes);
    const allRows = () => {
      for (let c = 0; c < copies; c++) product.multiply(w + c * bytes, N, K);
    };

    test(`${dtype}: ${name}, one row, ${K} × ${N}: at least ${ofScalar} times as fast as one bfloat16 product at a time`, () => {
      product.prepare(copies * bytes, K);
      // As many products; their weights lie in the cache or not, a loop like this does not feel it.
      const plain = () => {
        for (let c = 0; c < copies; c++) loops.scalar_bf16_gemm(out, a, w, 1, N, K);
      };
      const ratio = speedup(ofScalar, allRows, plain);
      assert.ok(ratio >= ofScalar, `${ratio.toFixed(2)}`);
    });

    test(`${dtype}: ${name}, one row, ${K} × ${N}: reads weights at ${ofLoadSum} or more of a load-sum loop’s speed`, () => {
      product.prepare(copies * bytes, K);
      const ratio = speedup(ofLoadSum, allRows, () => loops.load_sum(w, copies * bytes));
      assert.ok(ratio >= ofLoadSum, `${ratio.toFixed(2)}`);
    });
  }
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
          1,
          0,
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
