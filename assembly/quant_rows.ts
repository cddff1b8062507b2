/**
 * Rows of `a` quantised for the products with quantised weights, block by block of 32 k; what K lacks is filled up with
 * zeros. A block with a value that is not finite gets the scale NaN, so its row's products are NaN; a block of values
 * under 2⁻¹⁰⁰ becomes zeros.
 *
 *   for I8, plain:    int16 −32767 … 32767, a = scale · v: nearly lossless
 *   for I8, relaxed:  bytes 0 … 127, a = scale · (v − zero), zero an int16 that need not lie in 0 … 127
 *   for I4:           int8 −127 … 127, a = scale · v (as int16 in the plain build)
 *
 * The term beside the scale is what the products add: for I8 (−zero, −zero) as int16, of which every weight takes one;
 * for I4 the float32 scale · f32(Σ v), of which the weights' minimum takes its part.
 */
import { I4, I8, Q_BLOCK, ROW_HEAD, ROW_RECORD } from './quant';
import { tileScratch } from './scratch';

const SMALLEST: f32 = reinterpret<f32>(0x0d800000); // 2⁻¹⁰⁰
const ZERO_LIMIT: f32 = 1.0 / 16384.0;

export function q_rows_i8w(out: usize, x: usize, M: usize, K: usize, lda: usize): void {
  rows(I8, out, x, M, K, lda << 2);
}

export function q_rows_i4w(out: usize, x: usize, M: usize, K: usize, lda: usize): void {
  rows(I4, out, x, M, K, lda << 2);
}

// @ts-ignore: decorator
@inline
function rows(dtype: i32, out: usize, x: usize, M: usize, K: usize, lda: usize): void {
  for (let row: usize = 0; row < M; row++, x += lda) {
    for (let k: usize = 0; k < K; k += Q_BLOCK, out += ROW_RECORD) {
      const from = x + (k << 2);
      const block = K - k < Q_BLOCK ? filledUp(from, K - k) : from;
      if (dtype == I8 && ASC_FEATURE_RELAXED_SIMD) asymmetric(out, block);
      else symmetric(dtype, out, block);
    }
  }
}

/** A copy of the last values of a row, zeros behind them. */
function filledUp(x: usize, count: usize): usize {
  memory.fill(tileScratch, 0, Q_BLOCK << 2);
  memory.copy(tileScratch, x, count << 2);
  return tileScratch;
}

// @ts-ignore: decorator
@inline
function symmetric(dtype: i32, out: usize, x: usize): void {
  const levels: f32 = dtype == I8 ? 32767 : 127;
  let top4 = i32x4.splat(0);
  for (let i: usize = 0; i < Q_BLOCK << 2; i += 16) top4 = i32x4.max_s(top4, f32x4.abs(v128.load(x + i)));
  const top = largestBits(top4);
  const isZero = top < SMALLEST;
  // top − top is 0, or NaN for an infinity.
  const scale: f32 = isZero ? 0 : top / levels + (top - top);
  store<f32>(out, scale);
  const inverse = f32x4.splat(isZero ? 0 : levels / top);

  const to = out + ROW_HEAD;
  let sum4 = i32x4.splat(0);
  for (let i: usize = 0; i < Q_BLOCK; i += 16) {
    const v0 = rounded(x + (i << 2), inverse), v1 = rounded(x + (i << 2) + 16, inverse);
    const v2 = rounded(x + (i << 2) + 32, inverse), v3 = rounded(x + (i << 2) + 48, inverse);
    const low = i16x8.narrow_i32x4_s(v0, v1), high = i16x8.narrow_i32x4_s(v2, v3);
    if (dtype == I4) sum4 = i32x4.add(sum4, i32x4.add(i32x4.add(v0, v1), i32x4.add(v2, v3)));
    if (ASC_FEATURE_RELAXED_SIMD) {
      v128.store(to + i, i8x16.narrow_i16x8_s(low, high));
    } else if (dtype == I8) {
      v128.store(to + (i << 1), low);
      v128.store(to + (i << 1), high, 16);
    } else {
      // In groups of four as 0 2 1 3: as a panel's bytes lie where every second one is masked out.
      v128.store(to + (i << 1), v128.shuffle<i16>(low, low, 0, 2, 1, 3, 4, 6, 5, 7));
      v128.store(to + (i << 1), v128.shuffle<i16>(high, high, 0, 2, 1, 3, 4, 6, 5, 7), 16);
    }
  }
  if (dtype == I4) store<f32>(out, scale * <f32>sumOfLanes(sum4), 4);
}

/**
 * v = round(x / scale) − round(min / scale) >= 0: rounding keeps the order. The scale is at least 2⁻¹⁴ of the largest
 * magnitude, so that `zero` stays within 16384.
 */
// @ts-ignore: decorator
@inline
function asymmetric(out: usize, x: usize): void {
  let max4 = v128.load(x), min4 = max4;
  let top4 = f32x4.abs(max4);
  for (let i: usize = 16; i < Q_BLOCK << 2; i += 16) {
    const values = v128.load(x + i);
    max4 = f32x4.pmax(max4, values);
    min4 = f32x4.pmin(min4, values);
    top4 = i32x4.max_s(top4, f32x4.abs(values));
  }
  const high = largestLane(max4), low = -largestLane(f32x4.neg(min4));
  const top = largestBits(top4);
  const isZero = top < SMALLEST;
  const scale: f32 = isZero ? 0 : max((high - low) / 127, top * ZERO_LIMIT);
  store<f32>(out, scale + (top - top));
  const inverse: f32 = isZero ? 0 : 1 / scale;

  const inverse4 = f32x4.splat(inverse);
  const zero4 = nearest(f32x4.mul(f32x4.splat(low), inverse4));
  const zero = i32x4.extract_lane(zero4, 0) & 0xffff;
  store<u32>(out, zero << 16 | zero, 4);
  const to = out + ROW_HEAD;
  for (let i: usize = 0; i < Q_BLOCK; i += 16) {
    const from = x + (i << 2);
    const v0 = i32x4.sub(rounded(from, inverse4), zero4), v1 = i32x4.sub(rounded(from + 16, inverse4), zero4);
    const v2 = i32x4.sub(rounded(from + 32, inverse4), zero4), v3 = i32x4.sub(rounded(from + 48, inverse4), zero4);
    const values = i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(v0, v1), i16x8.narrow_i32x4_s(v2, v3));
    // A rounding error of the division may make it 128.
    v128.store(to + i, i8x16.min_u(values, i8x16.splat(127)));
  }
}

// @ts-ignore: decorator
@inline
function rounded(x: usize, inverse: v128): v128 {
  return nearest(f32x4.mul(v128.load(x), inverse));
}

/**
 * To the nearest integers, ties to even, |x| < 2²²: beside 1.5 · 2²³ the unit is 1. (Of NaN some integer: its block's
 * scale is NaN.)
 */
// @ts-ignore: decorator
@inline
function nearest(x: v128): v128 {
  const shift: f32 = 12582912;
  return i32x4.sub(f32x4.add(x, f32x4.splat(shift)), i32x4.splat(reinterpret<i32>(shift)));
}

/** The largest of four magnitudes, compared as integers: so NaN is the largest of all. */
// @ts-ignore: decorator
@inline
function largestBits(x: v128): f32 {
  x = i32x4.max_s(x, v128.shuffle<i32>(x, x, 2, 3, 0, 1));
  return f32x4.extract_lane(i32x4.max_s(x, v128.shuffle<i32>(x, x, 1, 0, 3, 2)), 0);
}

// @ts-ignore: decorator
@inline
function largestLane(x: v128): f32 {
  x = f32x4.pmax(x, v128.shuffle<i32>(x, x, 2, 3, 0, 1));
  return f32x4.extract_lane(f32x4.pmax(x, v128.shuffle<i32>(x, x, 1, 0, 3, 2)), 0);
}

// @ts-ignore: decorator
@inline
function sumOfLanes(x: v128): i32 {
  x = i32x4.add(x, v128.shuffle<i32>(x, x, 2, 3, 0, 1));
  return i32x4.extract_lane(i32x4.add(x, v128.shuffle<i32>(x, x, 1, 0, 3, 2)), 0);
}
