/**
 * The search for the scale, in 4 bits the scale and the minimum, that leave the least Σ(w − ŵ)² over a block: ŵ = scale
 * · q, or scale · q + minimum, q being the nearest integers, ties to even; four rows at a time, a lane a row. The block
 * is first brought to a largest magnitude in [1, 2) by a power of two, so that a block and its multiples by powers of
 * two get the same q. A row whose largest magnitude is under 2^−100 becomes zeros: its scale would leave the normal
 * numbers.
 */
import { I4_BLOCK, I8_BLOCK, SCALES } from './quant';
import { column, peakBits } from './quantize_source';

/** Scales tried in 8 bits: the least bfloat16 one without clipping and the next larger ones. */
const I8_SCALES: i32 = 4;
/**
 * Roundings tried in 4 bits, two at a time: with the least value on level 0 and the largest on 15, 15.25, 15.5 (clipped
 * to 15 then), and with the least on −0.25 and a range of 14.5, 15, 15.5 levels. Among roundings of this kind these six
 * leave 1.7 % more (root mean square) than the best of 273.
 */
const I4_PAIRS: i32 = 3;
/** A smaller scale's 16 levels lie closer than bfloat16 minimums of magnitude 1 do. */
const I4_LEAST_SCALE: f32 = 1.0 / 1048576.0;

/** 0, 15 and −0.25 in all lanes: in memory, because V8 builds a splat anew at every use. */
const LIMITS: usize = memory.data<f32>([0, 0, 0, 0, 15, 15, 15, 15, -0.25, -0.25, -0.25, -0.25], 16);

/** Exponent field of 2^−100. */
const LEAST_EXPONENT: i32 = 27;
/** 1.5·2^23: added to |x| < 2^22, the sum's low bits are x rounded to the nearest integer, ties to even. */
const ROUNDER: f32 = 12582912;

/** 4 scales to `scales`, 16 groups `[4 rows][4 k]` of int8 to `out`, 32 bytes apart. */
export function i8Half(scales: usize, out: usize): void {
  const exponent = i32x4.shr_u(peakBits(), 23);
  const live = i32x4.ge_s(exponent, i32x4.splat(LEAST_EXPONENT));
  const peak = f32x4.mul(peakBits(), normalise(I8_BLOCK, exponent, live));
  // The quotient rounded up to bfloat16: no value lies beyond 127 scales.
  const quotient = f32x4.div(v128.bitselect(peak, f32x4.splat(1), live), f32x4.splat(127));
  const first = v128.and(i32x4.add(quotient, i32x4.splat(0xffff)), i32x4.splat(0xffff0000));
  let best = first;
  let least = f32x4.splat(f32.POSITIVE_INFINITY);
  for (let i = 0; i < I8_SCALES; i += 2) {
    const s0 = i32x4.add(first, i32x4.splat(i << 16));
    const s1 = i32x4.add(first, i32x4.splat((i + 1) << 16));
    const inverse0 = f32x4.div(f32x4.splat(1), s0);
    const inverse1 = f32x4.div(f32x4.splat(1), s1);
    let error0 = f32x4.splat(0);
    let error1 = f32x4.splat(0);
    for (let k: usize = 0; k < I8_BLOCK; k++) {
      const w = v128.load(column(k));
      const d0 = f32x4.sub(w, f32x4.mul(f32x4.nearest(f32x4.mul(w, inverse0)), s0));
      const d1 = f32x4.sub(w, f32x4.mul(f32x4.nearest(f32x4.mul(w, inverse1)), s1));
      error0 = f32x4.add(error0, f32x4.mul(d0, d0));
      error1 = f32x4.add(error1, f32x4.mul(d1, d1));
    }
    const less0 = f32x4.lt(error0, least);
    best = v128.bitselect(s0, best, less0);
    least = f32x4.pmin(least, error0);
    const less1 = f32x4.lt(error1, least);
    best = v128.bitselect(s1, best, less1);
    least = f32x4.pmin(least, error1);
  }
  storeBf16(scales, best, exponent, live);
  const inverse = f32x4.div(f32x4.splat(1), best);
  for (let k: usize = 0; k < I8_BLOCK; k += 4, out += 32) {
    v128.store(out, bytes4(
      i8Bits(column(k), inverse), i8Bits(column(k + 1), inverse),
      i8Bits(column(k + 2), inverse), i8Bits(column(k + 3), inverse),
    ));
  }
}

/**
 * Half 0 or 1 of a record's scales and minimums to `head`, 8 groups `[4 rows][4 k]` of nibbles to the low or high
 * halves of the 128 bytes at `out`. A block that lies on a grid of bfloat16 scale and minimum, from level 0 to level
 * 15, is given back exactly: the first rounding finds its q, and the products of such scales and q are exact.
 */
export function i4Half(head: usize, out: usize, half: usize): void {
  const exponent = i32x4.shr_u(peakBits(), 23);
  const live = i32x4.ge_s(exponent, i32x4.splat(LEAST_EXPONENT));
  normalise(I4_BLOCK, exponent, live);
  let least = v128.load(column(0));
  let most = least;
  for (let k: usize = 1; k < I4_BLOCK; k++) {
    const w = v128.load(column(k));
    least = f32x4.pmin(least, w);
    most = f32x4.pmax(most, w);
  }
  // From here on the columns are x = w − least.
  let xs = f32x4.splat(0);
  for (let k: usize = 0; k < I4_BLOCK; k++) {
    const x = f32x4.sub(v128.load(column(k)), least);
    v128.store(column(k), x);
    xs = f32x4.add(xs, x);
  }
  // Infinite for a block of one value: its gains are NaN, more than nothing.
  const unit = f32x4.div(f32x4.splat(1), f32x4.sub(most, least));
  let best = f32x4.splat(0);
  let bestQs = f32x4.splat(0);
  let gain = f32x4.splat(0);
  for (let i = 0; i < I4_PAIRS; i++) {
    const inverse0 = f32x4.mul(unit, f32x4.splat(15 + 0.25 * <f32>i));
    const inverse1 = f32x4.mul(unit, f32x4.splat(14.5 + 0.5 * <f32>i));
    let qs0 = f32x4.splat(0), xq0 = f32x4.splat(0), qq0 = f32x4.splat(0);
    let qs1 = f32x4.splat(0), xq1 = f32x4.splat(0), qq1 = f32x4.splat(0);
    for (let k: usize = 0; k < I4_BLOCK; k++) {
      const x = v128.load(column(k));
      const q0 = f32x4.nearest(f32x4.pmin(f32x4.mul(x, inverse0), v128.load(LIMITS, 16)));
      const level1 = f32x4.add(f32x4.mul(x, inverse1), v128.load(LIMITS, 32));
      const q1 = f32x4.nearest(f32x4.pmin(level1, v128.load(LIMITS, 16)));
      qs0 = f32x4.add(qs0, q0);
      qs1 = f32x4.add(qs1, q1);
      xq0 = f32x4.add(xq0, f32x4.mul(x, q0));
      xq1 = f32x4.add(xq1, f32x4.mul(x, q1));
      qq0 = f32x4.add(qq0, f32x4.mul(q0, q0));
      qq1 = f32x4.add(qq1, f32x4.mul(q1, q1));
    }
    // For given q least squares give scale = c/d, and leave Σ(x − mean)² − c²/(32 d).
    const c0 = f32x4.sub(times32(xq0), f32x4.mul(xs, qs0));
    const scale0 = f32x4.div(c0, f32x4.sub(times32(qq0), f32x4.mul(qs0, qs0)));
    const gain0 = f32x4.mul(c0, scale0);
    const more0 = f32x4.gt(gain0, gain);
    best = v128.bitselect(scale0, best, more0);
    bestQs = v128.bitselect(qs0, bestQs, more0);
    gain = v128.bitselect(gain0, gain, more0);
    const c1 = f32x4.sub(times32(xq1), f32x4.mul(xs, qs1));
    const scale1 = f32x4.div(c1, f32x4.sub(times32(qq1), f32x4.mul(qs1, qs1)));
    const gain1 = f32x4.mul(c1, scale1);
    const more1 = f32x4.gt(gain1, gain);
    best = v128.bitselect(scale1, best, more1);
    bestQs = v128.bitselect(qs1, bestQs, more1);
    gain = v128.bitselect(gain1, gain, more1);
  }
  const scale = v128.and(toBf16(best), f32x4.ge(best, f32x4.splat(I4_LEAST_SCALE)));
  // The minimum that is best for the rounded scale.
  const rest = f32x4.mul(f32x4.sub(xs, f32x4.mul(scale, bestQs)), f32x4.splat(1.0 / 32.0));
  const minimum = toBf16(f32x4.add(least, rest));
  storeBf16(head + half * 8, scale, exponent, live);
  storeBf16(head + SCALES + half * 8, minimum, exponent, live);
  const shift = f32x4.sub(minimum, least);
  const inverse = v128.and(f32x4.div(f32x4.splat(1), scale), f32x4.gt(scale, f32x4.splat(0)));
  for (let k: usize = 0; k < I4_BLOCK; k += 4, out += 16) {
    const nibbles = bytes4(
      i4Bits(column(k), shift, inverse), i4Bits(column(k + 1), shift, inverse),
      i4Bits(column(k + 2), shift, inverse), i4Bits(column(k + 3), shift, inverse),
    );
    v128.store(out, half ? v128.or(v128.load(out), i32x4.shl(nibbles, 4)) : nibbles);
  }
}

// @ts-ignore: decorator
@inline
function times32(x: v128): v128 {
  return f32x4.mul(x, f32x4.splat(32));
}

/** Multiplies the columns by the power of two that brings the peak to [1, 2), or by 0 where a row is not live. */
// @ts-ignore: decorator
@inline
function normalise(count: usize, exponent: v128, live: v128): v128 {
  const factor = v128.and(i32x4.shl(i32x4.sub(i32x4.splat(254), exponent), 23), live);
  for (let k: usize = 0; k < count; k++) v128.store(column(k), f32x4.mul(v128.load(column(k)), factor));
  return factor;
}

/** bfloat16 values times the power of two that normalise took out (exact); +0 where a row is not live. */
// @ts-ignore: decorator
@inline
function storeBf16(to: usize, value: v128, exponent: v128, live: v128): void {
  const scaled = v128.and(f32x4.mul(value, i32x4.shl(exponent, 23)), live);
  v128.store64_lane(to, v128.shuffle<i16>(scaled, scaled, 1, 3, 5, 7, 1, 3, 5, 7), 0);
}

// @ts-ignore: decorator
@inline
function toBf16(x: v128): v128 {
  const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1));
  return v128.and(i32x4.add(x, i32x4.add(odd, i32x4.splat(0x7fff))), i32x4.splat(0xffff0000));
}

// @ts-ignore: decorator
@inline
function clamp4(x: v128): v128 {
  return f32x4.pmin(f32x4.pmax(x, v128.load(LIMITS)), v128.load(LIMITS, 16));
}

// @ts-ignore: decorator
@inline
function i8Bits(column: usize, inverse: v128): v128 {
  const rounded = f32x4.add(f32x4.mul(v128.load(column), inverse), f32x4.splat(ROUNDER));
  return v128.and(rounded, i32x4.splat(0xff));
}

// @ts-ignore: decorator
@inline
function i4Bits(column: usize, shift: v128, inverse: v128): v128 {
  const level = clamp4(f32x4.mul(f32x4.sub(v128.load(column), shift), inverse));
  return v128.and(f32x4.add(level, f32x4.splat(ROUNDER)), i32x4.splat(0xf));
}

/** The low bytes of four columns, side by side in each row's lane. */
// @ts-ignore: decorator
@inline
function bytes4(k0: v128, k1: v128, k2: v128, k3: v128): v128 {
  return v128.or(
    v128.or(k0, i32x4.shl(k1, 8)),
    v128.or(i32x4.shl(k2, 16), i32x4.shl(k3, 24)),
  );
}
