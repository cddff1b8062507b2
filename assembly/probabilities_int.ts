/**
 * Probabilities for attention over integer pages: 2^(score − top) a page at a time, and the same, times the values'
 * scales, as int16.
 */
import { multiplyAdd } from './multiply_add';
import { I16 } from './pages_int';

/**
 * 0: 1.5·2^23, which leaves the nearest integer in the low bits of the sum; 1: −126, below which 2^x is taken as 0;
 * 2…6: 2^f on |f| <= 1/2, minimax of degree 4, relative error 2.6e-6 (a fifth of half an int16 step); 7: −Infinity.
 */
const C: usize = memory.data<f32>([
  12582912.0, 12582912.0, 12582912.0, 12582912.0, -126.0, -126.0, -126.0, -126.0,
  0.9999992847442627, 0.9999992847442627, 0.9999992847442627, 0.9999992847442627,
  0.6931217908859253, 0.6931217908859253, 0.6931217908859253, 0.6931217908859253,
  0.240247443318367, 0.240247443318367, 0.240247443318367, 0.240247443318367,
  0.05591785907745361, 0.05591785907745361, 0.05591785907745361, 0.05591785907745361,
  0.009570101276040077, 0.009570101276040077, 0.009570101276040077, 0.009570101276040077,
  -Infinity, -Infinity, -Infinity, -Infinity,
], 16);

/** What the sum of a page's probabilities may reach over int16 values before they are rounded by up to 1/2 each. */
const PAGE_SUM: f32 = 65535 - 64;

// @ts-ignore: decorator
@inline
function constant(i: usize): v128 {
  return v128.load(C + (i << 4));
}

/** 2^x for x <= 0, relative error 3e-6; 0 below 2^−126, NaN stays NaN. */
// @ts-ignore: decorator
@inline
export function exp2Approximate(x: v128): v128 {
  const tiny = f32x4.lt(x, constant(1));
  const shifted = f32x4.add(x, constant(0));
  const f = f32x4.sub(x, f32x4.sub(shifted, constant(0)));
  const high = multiplyAdd(constant(4), f, multiplyAdd(constant(5), f, constant(6)));
  const p = multiplyAdd(constant(2), f, multiplyAdd(constant(3), f, high));
  return v128.andnot(i32x4.add(p, i32x4.shl(shifted, 23)), tiny);
}

/** Fills up a row of n scores to `end` (a multiple of 8) with −Infinity; returns the largest score, 0 where n is 0. */
export function fillAndTop(x: usize, n: usize, end: usize): f32 {
  for (let i = n; i < end; i++) store<f32>(x + (i << 2), -Infinity);
  if (n == 0) return 0;
  // A NaN is passed over here and makes the sum NaN. Two at a time, because each waits for the one before.
  let a = constant(7), b = constant(7);
  const last = x + (((n + 7) & ~7) << 2);
  for (; x < last; x += 32) {
    a = f32x4.pmax(a, v128.load(x));
    b = f32x4.pmax(b, v128.load(x, 16));
  }
  a = f32x4.pmax(a, b);
  a = f32x4.pmax(a, v128.shuffle<i32>(a, a, 2, 3, 0, 1));
  return f32x4.extract_lane(f32x4.pmax(a, v128.shuffle<i32>(a, a, 1, 0, 3, 2)), 0);
}

/**
 * One row's part of a page, `pairs` pairs of keys rounded up to 4: scores (in powers of two) to 2^(score − top) in
 * place, their sum added to `total` (float64), and as int16 of `scales` times them at `to`, one of which stands for
 * what is stored in `factor`. `dtype` is a constant wherever this is called.
 */
// @ts-ignore: decorator
@inline
export function pageProbabilities(
  dtype: i32, to: usize, p: usize, scales: usize, pairs: usize, top: usize, total: usize, factor: usize,
): void {
  const highest = v128.load_splat<f32>(top);
  const zero = f32x4.splat(0);
  const bytes = ((pairs + 3) & ~3) << 3;
  let sum = zero, largest = zero, scaledSum = zero;
  for (let i: usize = 0; i < bytes; i += 16) {
    const e = exp2Approximate(f32x4.sub(v128.load(p + i), highest));
    v128.store(p + i, e);
    sum = f32x4.add(sum, e);
    // Past the last key no scale is written.
    const y = v128.and(f32x4.mul(e, v128.load(scales + i)), f32x4.ne(e, zero));
    v128.store(to + i, y);
    largest = f32x4.pmax(largest, y);
    scaledSum = f32x4.add(scaledSum, y);
  }
  store<f64>(total, load<f64>(total) + <f64>lanes(sum));
  let scale: f32 = 32767 / max<f32>(
    max<f32>(f32x4.extract_lane(largest, 0), f32x4.extract_lane(largest, 1)),
    max<f32>(f32x4.extract_lane(largest, 2), f32x4.extract_lane(largest, 3)),
  );
  const whole = lanes(scaledSum);
  if (dtype == I16) scale = min<f32>(scale, PAGE_SUM / whole);
  // All are 0, or so small that the quotient overflows.
  if (scale == Infinity) scale = 0;
  // A value that is not finite is in the sum: integers would lose it.
  store<f32>(factor, whole < Infinity ? (scale == 0 ? 0 : 1 / scale) : NaN);

  const scale4 = f32x4.splat(scale);
  const round = constant(0);
  for (let i: usize = 0; i < bytes; i += 32) {
    const low = i32x4.sub(multiplyAdd(round, v128.load(to + i), scale4), round);
    const high = i32x4.sub(multiplyAdd(round, v128.load(to + i, 16), scale4), round);
    v128.store(to + (i >> 1), i16x8.narrow_i32x4_s(low, high));
  }
}

// @ts-ignore: decorator
@inline
function lanes(x: v128): f32 {
  return f32x4.extract_lane(x, 0) + f32x4.extract_lane(x, 1) + (f32x4.extract_lane(x, 2) + f32x4.extract_lane(x, 3));
}

/** In place: n values times `factor`. */
export function scaleRow(x: usize, n: usize, factor: f32): void {
  const f = f32x4.splat(factor);
  const end = x + (n << 2);
  for (; x + 16 <= end; x += 16) v128.store(x, f32x4.mul(v128.load(x), f));
  for (; x < end; x += 4) store<f32>(x, load<f32>(x) * factor);
}
