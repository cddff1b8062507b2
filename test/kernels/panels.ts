/** Weights in the three dtypes and their panels, made in JavaScript independently of the packing kernels. */
import type { Gemm } from '../../src/runtime/kernels.js';
import { type Area, area, kernels } from './harness.js';

export type Dtype = 'f32' | 'bf16' | 'f16';
export const DTYPES: Dtype[] = ['f32', 'bf16', 'f16'];

/** The matrix product of a dtype, of the build that is tested now. */
export function gemmOf(dtype: Dtype): Gemm {
  return kernels[`f32_${dtype}w_gemm`];
}

/** The stored bits of values and what they mean as float64. */
export interface Stored {
  bits: Uint32Array;
  values: Float64Array;
}

export function stored(dtype: Dtype, values: ArrayLike<number>): Stored {
  const out = Uint32Array.from(values, (v) => encode(dtype, v));
  return { bits: out, values: Float64Array.from(out, (word) => decode(dtype, word)) };
}

/** `[N][K]` to panels `[ceil(N/8)][panelK][8]`; k rows past K hold `beyond`. */
export function panels(dtype: Dtype, w: Stored, N: number, K: number, panelK = K, beyond = Number.NaN): Area {
  const count = Math.ceil(N / 8) * panelK * 8;
  const a = area(dtype === 'f32' ? count : count / 2);
  const view = dtype === 'f32' ? a.u32 : a.u16;
  view.fill(encode(dtype, beyond));
  for (let n = 0; n < Math.ceil(N / 8) * 8; n++) {
    for (let k = 0; k < K; k++) {
      view[((n >> 3) * panelK + k) * 8 + (n & 7)] = n < N ? w.bits[n * K + k]! : 0;
    }
  }
  return a;
}

export function encode(dtype: Dtype, value: number): number {
  if (dtype === 'f16') return encodeF16(value);
  const word = new Uint32Array(Float32Array.of(value).buffer)[0]!;
  return dtype === 'f32' ? word : word >>> 16;
}

export function decode(dtype: Dtype, word: number): number {
  if (dtype === 'f16') return decodeF16(word);
  return new Float32Array(Uint32Array.of(dtype === 'f32' ? word : word << 16).buffer)[0]!;
}

/** Truncation: the tests need some float16 near the value, not the nearest. */
function encodeF16(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (size >= 65536) return sign | 0x7c00;
  const exponent = Math.max(-14, Math.floor(Math.log2(size || 2 ** -30)));
  const mantissa = Math.floor(size / 2 ** (exponent - 10));
  return sign | (mantissa < 1024 ? mantissa : ((exponent + 15) << 10) | (mantissa - 1024));
}

function decodeF16(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const mantissa = half & 1023;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent ? (1024 + mantissa) * 2 ** (exponent - 25) : mantissa * 2 ** -24);
}
