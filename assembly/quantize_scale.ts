/**
 * The search for the scale that leaves the least Σ(w − scale·q)² over a block, q being the nearest integers, ties to
 * even; four rows at a time, a lane a row. The block is first brought to a largest magnitude in [1, 2) by a power of
 * two, so that a block and its multiples by powers of two get the same q. A row whose largest magnitude is under 2^−100
 * becomes zeros: its scale would leave the normal numbers.
 */
import { Q_BLOCK } from './quant';
import { column, largest, peakBits } from './quantize_source';

/** Scales tried in 8 bits: the least bfloat16 one without clipping and the next larger ones. */
const I8_SCALES: i32 = 4;
/** Scales tried in 4 bits: the value of largest magnitude lands on −7, −7.40625, … −9.03125. */
const I4_SCALES: i32 = 6;
const I4_FIRST: f32 = 7;
const I4_STEP: f32 = 0.40625;

/** −8 and 7 in all lanes: in memory, because V8 builds a splat anew at every use. */
const LIMITS: usize = memory.data<f32>([-8, -8, -8, -8, 7, 7, 7, 7], 16);

/** Exponent field of 2^−100. */
const LEAST_EXPONENT: i32 = 27;
/** 1.5·2^23: added to |x| < 2^22, the sum's low bits are x rounded to the nearest integer, ties to even. */
const ROUNDER: f32 = 12582912;

/** 4 scales to `scales`, 8 groups `[4 rows][4 k]` of int8 to `out`, 32 bytes apart. */
export function i8Half(scales: usize, out: usize): void {
  const exponent = i32x4.shr_u(peakBits(), 23);
  const live = i32x4.ge_s(exponent, i32x4.splat(LEAST_EXPONENT));
  const peak = f32x4.mul(peakBits(), normalise(exponent, live));
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
    for (let k: usize = 0; k < Q_BLOCK; k++) {
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
  storeScales(scales, best, exponent, live);
  const inverse = f32x4.div(f32x4.splat(1), best);
  for (let k: usize = 0; k < Q_BLOCK; k += 4, out += 32) {
    v128.store(out, bytes4(
      i8Bits(column(k), inverse), i8Bits(column(k + 1), inverse),
      i8Bits(column(k + 2), inverse), i8Bits(column(k + 3), inverse),
    ));
  }
}

/** 4 scales to `scales`, 8 groups `[4 rows][4 k]` of nibbles to the low or high halves of the 128 bytes at `out`. */
export function i4Half(scales: usize, out: usize, high: bool): void {
  const exponent = i32x4.shr_u(peakBits(), 23);
  const live = i32x4.ge_s(exponent, i32x4.splat(LEAST_EXPONENT));
  const isTop = i32x4.eq(largest(), peakBits());
  const factor = normalise(exponent, live);
  const peak = v128.bitselect(f32x4.mul(peakBits(), factor), f32x4.splat(1), live);
  // 1 / −(the value of largest magnitude): that value lands on a negative q, of which there is one more.
  const unit = f32x4.div(v128.bitselect(f32x4.splat(-1), f32x4.splat(1), isTop), peak);
  let best = f32x4.splat(1);
  let most = f32x4.splat(0);
  for (let i = 0; i < I4_SCALES; i += 2) {
    const inverse0 = f32x4.mul(unit, f32x4.splat(I4_FIRST + I4_STEP * <f32>i));
    const inverse1 = f32x4.mul(unit, f32x4.splat(I4_FIRST + I4_STEP * <f32>(i + 1)));
    let wq0 = f32x4.splat(0);
    let wq1 = f32x4.splat(0);
    let qq0 = f32x4.splat(0);
    let qq1 = f32x4.splat(0);
    for (let k: usize = 0; k < Q_BLOCK; k++) {
      const w = v128.load(column(k));
      const q0 = f32x4.nearest(clamp4(f32x4.mul(w, inverse0)));
      const q1 = f32x4.nearest(clamp4(f32x4.mul(w, inverse1)));
      wq0 = f32x4.add(wq0, f32x4.mul(w, q0));
      wq1 = f32x4.add(wq1, f32x4.mul(w, q1));
      qq0 = f32x4.add(qq0, f32x4.mul(q0, q0));
      qq1 = f32x4.add(qq1, f32x4.mul(q1, q1));
    }
    // For given q the best scale is Σwq/Σq², and it leaves Σw² − (Σwq)²/Σq².
    const scale0 = f32x4.div(wq0, qq0);
    const gain0 = f32x4.mul(wq0, scale0);
    const more0 = f32x4.gt(gain0, most);
    best = v128.bitselect(scale0, best, more0);
    most = v128.bitselect(gain0, most, more0);
    const scale1 = f32x4.div(wq1, qq1);
    const gain1 = f32x4.mul(wq1, scale1);
    const more1 = f32x4.gt(gain1, most);
    best = v128.bitselect(scale1, best, more1);
    most = v128.bitselect(gain1, most, more1);
  }
  best = toBf16(best);
  storeScales(scales, best, exponent, live);
  const inverse = f32x4.div(f32x4.splat(1), best);
  for (let k: usize = 0; k < Q_BLOCK; k += 4, out += 16) {
    const nibbles = bytes4(
      i4Bits(column(k), inverse), i4Bits(column(k + 1), inverse),
      i4Bits(column(k + 2), inverse), i4Bits(column(k + 3), inverse),
    );
    v128.store(out, high ? v128.or(v128.load(out), i32x4.shl(nibbles, 4)) : nibbles);
  }
}

/** Multiplies the columns by the power of two that brings the peak to [1, 2), or by 0 where a row is not live. */
// @ts-ignore: decorator
@inline
function normalise(exponent: v128, live: v128): v128 {
  const factor = v128.and(i32x4.shl(i32x4.sub(i32x4.splat(254), exponent), 23), live);
  for (let k: usize = 0; k < Q_BLOCK; k++) v128.store(column(k), f32x4.mul(v128.load(column(k)), factor));
  return factor;
}

/** bfloat16 values times the power of two that normalise took out (exact); +0 where a row is not live. */
// @ts-ignore: decorator
@inline
function storeScales(to: usize, scale: v128, exponent: v128, live: v128): void {
  const scaled = v128.and(f32x4.mul(scale, i32x4.shl(exponent, 23)), live);
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
function i4Bits(column: usize, inverse: v128): v128 {
  const rounded = f32x4.add(clamp4(f32x4.mul(v128.load(column), inverse)), f32x4.splat(ROUNDER + 8));
  return v128.and(rounded, i32x4.splat(0xf));
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
