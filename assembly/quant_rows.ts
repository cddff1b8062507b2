/**
 * Rows of `a` quantised for the products with quantised weights, block by block; what K lacks is filled up with
 * zeros. A block with a value that is not finite gets the scale NaN, so its row's products are NaN; a block of values
 * under 2⁻¹⁰⁰ becomes zeros.
 *
 *   for I8, plain:    int16 −32767 … 32767, a = scale · v: nearly lossless
 *   for I8, relaxed:  7 bits, 0 … 127, or 14, 0 … 16383, a = scale · (v + offset), with an offset for the k of which
 *                     k mod 4 is 0 or 1 and another for the rest, int16 (of 14 bits multiples of 128)
 *   for I4:           int8 −127 … 127, a = scale · v (as int16 in the plain build)
 *
 * 14 bits are two bytes of 7 and take two products: what q_rows_i8w_fine makes of every block, and q_rows_i8w of one
 * that in 7 bits would make more than half of its row's noise, for a value far beyond the rest. In the inputs of a
 * Llama's attention and MLP there is a channel that has such values in many rows.
 *
 * The term beside the scale is what the products add: for I8 the two offsets as int16 (counting 2^shift times, as the
 * higher bytes do), one for each weight; for I4 the float32 scale · f32(Σ v), for the weights' minimum.
 */
import { blockOf, I4, I8, I8_BLOCK, ROW_HEAD, ROW_HIGH, ROW_SHIFT, ROW_TERM, rowRecord } from './quant';
import { panelScratch } from './scratch';

const SMALLEST: f32 = reinterpret<f32>(0x0d800000); // 2⁻¹⁰⁰
const OFFSET_LIMIT: f32 = 1.0 / 16384.0;
/** Beside 1.5 · 2²³ the unit is 1. In memory, because V8 builds a splat anew at every use. */
const SHIFT: f32 = 12582912;
const SHIFTS: usize = memory.data<f32>([12582912, 12582912, 12582912, 12582912], 16);

const LEVELS: f32 = 127;
const FINE_BITS: i32 = 7;
const FINE_MASK: i16 = 127;
/** So many that with an offset rounded down, by 127 at most, and a rounding of each end all is under 2¹⁴. */
const FINE_LEVELS: f32 = 16250;
/** A block that 7 bits would have make more than this part of its row's noise has 14. */
const NOISE_SHARE: f64 = 0.5;

/** What a record holds while its row is measured: the wider half's range, the largest magnitude, both minimums. */
const RANGE: u8 = 0;
const TOP: u8 = 1;
const LOW0: u8 = 2;
const LOW1: u8 = 3;

export function q_rows_i8w(out: usize, x: usize, M: usize, K: usize, lda: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) bytes(false, out, x, M, K, lda << 2);
  else rows(I8, out, x, M, K, lda << 2);
}

export function q_rows_i8w_fine(out: usize, x: usize, M: usize, K: usize, lda: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) bytes(true, out, x, M, K, lda << 2);
  else rows(I8, out, x, M, K, lda << 2);
}

export function q_rows_i4w(out: usize, x: usize, M: usize, K: usize, lda: usize): void {
  rows(I4, out, x, M, K, lda << 2);
}

// @ts-ignore: decorator
@inline
function rows(dtype: i32, out: usize, x: usize, M: usize, K: usize, lda: usize): void {
  for (let row: usize = 0; row < M; row++, x += lda) {
    for (let k: usize = 0; k < K; k += blockOf(dtype), out += rowRecord(dtype)) {
      symmetric(dtype, out, blockAt(dtype, x, k, K));
    }
  }
}

// @ts-ignore: decorator
@inline
function bytes(fine: bool, out: usize, x: usize, M: usize, K: usize, lda: usize): void {
  for (let row: usize = 0; row < M; row++, x += lda) {
    let noise: f64 = 0;
    let to = out;
    for (let k: usize = 0; k < K; k += I8_BLOCK, to += rowRecord(I8)) noise += measure(to, blockAt(I8, x, k, K));
    const most = NOISE_SHARE * noise;
    for (let k: usize = 0; k < K; k += I8_BLOCK, out += rowRecord(I8)) {
      const range = <f64>load<f32>(out);
      if (fine || range * range > most) asymmetric(true, out, blockAt(I8, x, k, K));
      else asymmetric(false, out, blockAt(I8, x, k, K));
    }
  }
}

/** Where the block's values from k on are, the last ones filled up. */
// @ts-ignore: decorator
@inline
function blockAt(dtype: i32, x: usize, k: usize, K: usize): usize {
  const from = x + (k << 2);
  return K - k < blockOf(dtype) ? filledUp(from, K - k) : from;
}

/** A copy of the last values of a row, zeros behind them. */
function filledUp(x: usize, count: usize): usize {
  memory.fill(panelScratch, 0, I8_BLOCK << 2);
  memory.copy(panelScratch, x, count << 2);
  return panelScratch;
}

// @ts-ignore: decorator
@inline
function symmetric(dtype: i32, out: usize, x: usize): void {
  const levels: f32 = dtype == I8 ? 32767 : 127;
  let top4 = i32x4.splat(0);
  for (let i: usize = 0; i < blockOf(dtype) << 2; i += 16) top4 = i32x4.max_s(top4, f32x4.abs(v128.load(x + i)));
  const top = largestBits(top4);
  const isZero = top < SMALLEST;
  // top − top is 0, or NaN for an infinity.
  const scale: f32 = isZero ? 0 : top / levels + (top - top);
  store<f32>(out, scale);
  const inverse = f32x4.splat(isZero ? 0 : levels / top);

  const to = out + ROW_HEAD;
  let sum4 = i32x4.splat(0);
  for (let i: usize = 0; i < blockOf(dtype); i += 16) {
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

/** The noise of a block, but for a factor; at `out` what `asymmetric` has to know of it. */
// @ts-ignore: decorator
@inline
function measure(out: usize, x: usize): f64 {
  let max4 = v128.load(x), min4 = max4;
  let top4 = f32x4.abs(max4);
  for (let i: usize = 16; i < I8_BLOCK << 2; i += 16) {
    const values = v128.load(x + i);
    max4 = f32x4.pmax(max4, values);
    min4 = f32x4.pmin(min4, values);
    top4 = i32x4.max_s(top4, f32x4.abs(values));
  }
  max4 = f32x4.pmax(max4, v128.shuffle<i32>(max4, max4, 1, 0, 3, 2));
  min4 = f32x4.pmin(min4, v128.shuffle<i32>(min4, min4, 1, 0, 3, 2));
  let range4 = f32x4.sub(max4, min4);
  range4 = f32x4.pmax(range4, v128.shuffle<i32>(range4, range4, 2, 3, 0, 1));
  top4 = i32x4.max_s(top4, v128.shuffle<i32>(top4, top4, 1, 0, 3, 2));
  top4 = i32x4.max_s(top4, v128.shuffle<i32>(top4, top4, 2, 3, 0, 1));
  // As one vector, which is how it is loaded.
  v128.store(out, v128.shuffle<i32>(v128.shuffle<i32>(range4, top4, 0, 4, 0, 4), min4, 0, 1, 4, 6));
  const range = <f64>f32x4.extract_lane(range4, 0);
  return range * range;
}

/**
 * v = round(x / scale) − offset >= 0, the offset being round(min / scale) (rounding keeps the order), or in fine blocks
 * the next multiple of 128 below. The scale is at least 2⁻¹⁴ of the largest magnitude, so that the offset stays within
 * 16384 (fine: 16512).
 */
// @ts-ignore: decorator
@inline
function asymmetric(fine: bool, out: usize, x: usize): void {
  const measured = v128.load(out);
  const range = f32x4.extract_lane(measured, RANGE), top = f32x4.extract_lane(measured, TOP);
  const isZero = top < SMALLEST;
  const scale: f32 = isZero ? 0 : max(range / (fine ? FINE_LEVELS : LEVELS), top * OFFSET_LIMIT);
  const inverse4 = f32x4.splat(isZero ? 0 : 1 / scale);
  let offset4 = nearest(f32x4.mul(v128.shuffle<i32>(measured, measured, LOW0, LOW0, LOW1, LOW1), inverse4));
  if (fine) offset4 = i32x4.shr_s(offset4, FINE_BITS);
  store<f32>(out, scale + (top - top));
  store<u32>(out, (i32x4.extract_lane(offset4, 0) & 0xffff) | i32x4.extract_lane(offset4, 2) << 16, ROW_TERM);
  store<u32>(out, fine ? FINE_BITS : 0, ROW_SHIFT);
  if (fine) offset4 = i32x4.shl(offset4, FINE_BITS);
  // The offset and what `nearest` takes off in one subtraction.
  const less = i32x4.add(offset4, i32x4.splat(reinterpret<i32>(SHIFT)));
  const shift = v128.load(SHIFTS);
  for (let i: usize = 0; i < I8_BLOCK; i += 16) {
    const from = x + (i << 2);
    const v0 = i32x4.sub(f32x4.add(f32x4.mul(v128.load(from), inverse4), shift), less);
    const v1 = i32x4.sub(f32x4.add(f32x4.mul(v128.load(from, 16), inverse4), shift), less);
    const v2 = i32x4.sub(f32x4.add(f32x4.mul(v128.load(from, 32), inverse4), shift), less);
    const v3 = i32x4.sub(f32x4.add(f32x4.mul(v128.load(from, 48), inverse4), shift), less);
    const a = i16x8.narrow_i32x4_s(v0, v1), b = i16x8.narrow_i32x4_s(v2, v3);
    const to = out + i;
    if (fine) {
      const mask = i16x8.splat(FINE_MASK);
      v128.store(to, i8x16.narrow_i16x8_u(v128.and(a, mask), v128.and(b, mask)), ROW_HEAD);
      const high = i8x16.narrow_i16x8_u(i16x8.shr_s(a, FINE_BITS), i16x8.shr_s(b, FINE_BITS));
      v128.store(to, i8x16.min_u(high, i8x16.splat(127)), ROW_HIGH);
    } else {
      // A rounding error of the division may make it 128.
      v128.store(to, i8x16.min_u(i8x16.narrow_i16x8_u(a, b), i8x16.splat(127)), ROW_HEAD);
    }
  }
}

// @ts-ignore: decorator
@inline
function rounded(x: usize, inverse: v128): v128 {
  return nearest(f32x4.mul(v128.load(x), inverse));
}

/** To the nearest integers, ties to even, |x| < 2²². (Of NaN some integer: its block's scale is NaN.) */
// @ts-ignore: decorator
@inline
function nearest(x: v128): v128 {
  return i32x4.sub(f32x4.add(x, f32x4.splat(SHIFT)), i32x4.splat(reinterpret<i32>(SHIFT)));
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
function sumOfLanes(x: v128): i32 {
  x = i32x4.add(x, v128.shuffle<i32>(x, x, 2, 3, 0, 1));
  return i32x4.extract_lane(i32x4.add(x, v128.shuffle<i32>(x, x, 1, 0, 3, 2)), 0);
}
