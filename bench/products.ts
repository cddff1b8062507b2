/** The matrix products of the kernels, one for each dtype of weights, behind one call. */
import { quantizedRowBytes } from '../src/runtime/quantized-rows.js';
import { type QuantizedDtype, weightBytes } from '../src/runtime/weight.js';
import type { Arithmetic } from './ceilings.js';
import type { Bench } from './wasm.js';

export interface Product {
  readonly kernel: string;
  /** What bounds it in this build. */
  readonly arithmetic: Arithmetic;
  /** Bytes of a matrix of N outputs and K inputs. */
  readonly bytes: (N: number, K: number) => number;
  /** Makes `bytes` bytes of weights of ordinary size. */
  readonly fill: (pointer: number, bytes: number) => void;
  /** out[M][N] = a[M][K] · Wᵀ. What quantises the rows is part of it; `scratch` has `scratchBytes` bytes. */
  readonly multiply: (place: Place, M: number, N: number, K: number) => void;
  readonly scratchBytes: (M: number, K: number) => number;
}

export interface Place {
  readonly out: number;
  readonly a: number;
  readonly w: number;
  readonly scratch: number;
}

export function products(bench: Bench, relaxed: boolean): Product[] {
  const float = relaxed ? 'fused_multiply_add' : 'multiply_add';
  return [
    floatProduct(bench, 'f32_f32w_gemm', 'F32', float),
    floatProduct(bench, 'f32_bf16w_gemm', 'BF16', float),
    floatProduct(bench, 'f32_f16w_gemm', 'F16', float),
    quantizedProduct(bench, 'i8w', 'I8', relaxed),
    quantizedProduct(bench, 'i4w', 'I4', relaxed),
  ];
}

function floatProduct(
  { kernels, fill }: Bench,
  kernel: 'f32_f32w_gemm' | 'f32_bf16w_gemm' | 'f32_f16w_gemm',
  dtype: 'F32' | 'BF16' | 'F16',
  arithmetic: Arithmetic,
): Product {
  const name = { F32: 'f32', BF16: 'bf16', F16: 'f16' } as const;
  return {
    kernel,
    arithmetic,
    bytes: (N, K) => weightBytes('panel', dtype, N, K),
    fill: (pointer, bytes) => fill(pointer, bytes / (dtype === 'F32' ? 4 : 2), name[dtype]),
    multiply: ({ out, a, w }, M, N, K) => kernels[kernel](out, a, w, 0, M, N, K, K, K, N, 0),
    scratchBytes: () => 0,
  };
}

function quantizedProduct(
  { kernels, fill }: Bench,
  weights: 'i8w' | 'i4w',
  dtype: QuantizedDtype,
  relaxed: boolean,
): Product {
  const gemm = kernels[`f32_${weights}_gemm`];
  const quantize = kernels[`q_rows_${weights}`];
  return {
    kernel: `f32_${weights}_gemm`,
    arithmetic: relaxed ? 'dot_i7' : 'dot_i16',
    bytes: (N, K) => weightBytes('panel', dtype, N, K),
    // Any bytes are weights; halves of ordinary size make the scales such too.
    fill: (pointer, bytes) => fill(pointer, bytes / 2, 'bf16'),
    multiply: ({ out, a, w, scratch }, M, N, K) => {
      quantize(scratch, a, M, K, K);
      gemm(out, scratch, w, 0, M, N, K, N);
    },
    scratchBytes: (M, K) => M * quantizedRowBytes(dtype, K),
  };
}
