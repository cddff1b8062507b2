/**
 * One row against all panels: bound by reading memory, so everything here serves the stream of weights. Each output is
 * summed in the same order as in the tiles and has the same bits.
 */
import { STREAMS, SUM_BLOCK } from './blocks';
import { copyBias, copyRows, finish8 } from './gemm_tile';
import { multiplyAdd } from './multiply_add';
import { tileScratch } from './scratch';
import { BF16, F16, F32, f16x4, UPPER_HALF } from './widen';

/** Masks in memory, because V8 builds a splat anew at every use. */
const F16_BITS: usize = memory.data<u32>([0x8fffe000, 0x8fffe000, 0x8fffe000, 0x8fffe000], 16);
const F16_SCALE: usize = memory.data<u32>([0x77800000, 0x77800000, 0x77800000, 0x77800000], 16);

/** Streams are at least so far apart: the processor fetches ahead of one in each 4 KiB, and not well of two. */
const APART: usize = 4096;

// @ts-ignore: decorator
@inline
export function gemv(
  dtype: i32, out: usize, a: usize, w: usize, bias: usize, N: usize, K: usize, panelBytes: usize, accumulate: bool,
): void {
  for (let left = N >> 3; left; ) {
    const streams: usize = left < 2 ? 1 : max(2, min(STREAMS, min(left, left * panelBytes / APART) & ~1));
    const each = left / streams;
    for (let i: usize = 0; i < each; i++) {
      panels(dtype, out, a, w, bias, K, streams, each, panelBytes, accumulate);
      w += panelBytes;
      out += 32;
      if (bias) bias += 32;
    }
    const passed = each * (streams - 1);
    w += passed * panelBytes;
    out += passed << 5;
    if (bias) bias += passed << 5;
    left -= each * streams;
  }
  const columns = N & 7;
  if (columns) {
    if (accumulate) copyRows(tileScratch, 32, out, 32, 1, columns);
    panels(dtype, tileScratch, a, w, bias ? copyBias(bias, columns) : 0, K, 1, 1, panelBytes, accumulate);
    copyRows(out, 32, tileScratch, 32, 1, columns);
  }
}

/** The row `a` against `streams` panels (one, or an even number), each `apart` panels from the one before. */
// @ts-ignore: decorator
@inline
function panels(
  dtype: i32, out: usize, a: usize, w: usize, bias: usize, K: usize, streams: usize, apart: usize, panelBytes: usize,
  accumulate: bool,
): void {
  const kBytes: usize = dtype == F32 ? 32 : 16;
  const outApart = apart << 5;
  apart *= panelBytes;
  for (let k: usize = 0; k < K; k += SUM_BLOCK, a += SUM_BLOCK << 2, w += SUM_BLOCK * kBytes) {
    const end = a + (min(SUM_BLOCK, K - k) << 2);
    const first = k == 0 && !accumulate;
    let to = out, from = w, rest: usize = k + SUM_BLOCK < K ? 0 : bias;
    if (streams == 1) block<One>(dtype, to, 0, a, end, from, 0, first, rest, 0);
    for (let s = streams >> 1; s; s--) {
      block<Two>(dtype, to, to + outApart, a, end, from, from + apart, first, rest, rest ? rest + outApart : 0);
      to += 2 * outApart;
      from += 2 * apart;
      if (rest) rest += 2 * outApart;
    }
  }
}

class One {}
class Two {}

/** One block of one or two panels (the type parameter is the count) and of the row, `a` to `end`. */
// @ts-ignore: decorator
@inline
function block<Count>(
  dtype: i32, out0: usize, out1: usize, a: usize, end: usize, w0: usize, w1: usize, first: bool, bias0: usize,
  bias1: usize,
): void {
  const start = a, start0 = w0, start1 = w1;
  let c0 = f32x4.splat(0), c1 = f32x4.splat(0), c2 = f32x4.splat(0), c3 = f32x4.splat(0);
  if (dtype == F32) {
    while (a < end) {
      const x = v128.load_splat<f32>(a);
      c0 = multiplyAdd(c0, x, v128.load(w0));
      c1 = multiplyAdd(c1, x, v128.load(w0, 16));
      w0 += 32;
      if (isTwo<Count>()) {
        c2 = multiplyAdd(c2, x, v128.load(w1));
        c3 = multiplyAdd(c3, x, v128.load(w1, 16));
        w1 += 32;
      }
      a += 4;
    }
  } else {
    // Even and odd outputs apart: that takes fewer instructions than widening neighbours.
    const mask = v128.load(dtype == BF16 ? UPPER_HALF : F16_BITS);
    const scale = v128.load(F16_SCALE);
    let largest = i32x4.splat(0), mostNegative = i32x4.splat(0);
    while (a < end) {
      const x = v128.load_splat<f32>(a);
      const words = v128.load(w0);
      c0 = multiplyAdd(c0, x, even(dtype, words, mask, scale));
      c1 = multiplyAdd(c1, x, odd(dtype, words, mask, scale));
      if (dtype == F16) {
        largest = i16x8.max_s(largest, words);
        mostNegative = i16x8.max_u(mostNegative, words);
      }
      w0 += 16;
      if (isTwo<Count>()) {
        const words1 = v128.load(w1);
        c2 = multiplyAdd(c2, x, even(dtype, words1, mask, scale));
        c3 = multiplyAdd(c3, x, odd(dtype, words1, mask, scale));
        if (dtype == F16) {
          largest = i16x8.max_s(largest, words1);
          mostNegative = i16x8.max_u(mostNegative, words1);
        }
        w1 += 16;
      }
      a += 4;
    }
    const e0 = c0, e1 = c2;
    c0 = v128.shuffle<i32>(e0, c1, 0, 4, 1, 5);
    c1 = v128.shuffle<i32>(e0, c1, 2, 6, 3, 7);
    c2 = v128.shuffle<i32>(e1, c3, 0, 4, 1, 5);
    c3 = v128.shuffle<i32>(e1, c3, 2, 6, 3, 7);
    if (dtype == F16 && hasSpecial(largest, mostNegative)) {
      c0 = exact4(start, end, start0);
      c1 = exact4(start, end, start0 + 8);
      if (isTwo<Count>()) {
        c2 = exact4(start, end, start1);
        c3 = exact4(start, end, start1 + 8);
      }
    }
  }
  finish8(out0, c0, c1, first, bias0);
  if (isTwo<Count>()) finish8(out1, c2, c3, first, bias1);
}

// @ts-ignore: decorator
@inline
function isTwo<Count>(): bool {
  return idof<Count>() == idof<Two>();
}

/**
 * Weights 0, 2, 4, 6 of eight. Float16 as in f16x4, but infinities and NaN come out as 65536 and more: the caller
 * watches for them.
 */
// @ts-ignore: decorator
@inline
function even(dtype: i32, words: v128, mask: v128, scale: v128): v128 {
  const upper = i32x4.shl(words, 16);
  if (dtype == BF16) return upper;
  return f32x4.mul(v128.and(i32x4.shr_s(upper, 3), mask), scale);
}

/** Weights 1, 3, 5, 7 of eight. */
// @ts-ignore: decorator
@inline
function odd(dtype: i32, words: v128, mask: v128, scale: v128): v128 {
  if (dtype == BF16) return v128.and(words, mask);
  return f32x4.mul(v128.and(i32x4.shr_s(words, 3), mask), scale);
}

/** Whether the largest float16 bits, as signed and as unsigned, have an exponent of all ones. */
// @ts-ignore: decorator
@inline
function hasSpecial(largest: v128, mostNegative: v128): bool {
  return v128.any_true(i16x8.ge_s(largest, i16x8.splat(0x7c00)))
    || v128.any_true(i16x8.ge_u(mostNegative, i16x8.splat(<i16>0xfc00)));
}

/** One block's sums of four outputs of a panel of float16, for blocks that hold infinities or NaN. */
function exact4(a: usize, end: usize, w: usize): v128 {
  let sum = f32x4.splat(0);
  for (; a < end; a += 4, w += 16) sum = multiplyAdd(sum, v128.load_splat<f32>(a), f16x4(w));
  return sum;
}
