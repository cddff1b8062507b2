/**
 * Probabilities over smoothed pages: 2^(score − the largest of the page), times 16317 rounded to integers of 14 bits,
 * two bytes of 7 each: 128 bytes of the higher ones, then 128 of the lower. Where 7 bits do, they are rounded to them.
 */
import { BYTE_ONES } from './quant_relaxed';
import { SMOOTH_LOW } from './smooth_tile';

/**
 * 0: 1.5·2^23 + 127, which leaves the exponent's bits of 2^n in the low bits of the sum; 1: −8, under which all is 0;
 * 2…5: 2^f on |f| <= 1/2, minimax of degree 3, relative error 7.5e-5; 6: 1.5·2^23, which leaves the nearest integer.
 */
const C: usize = memory.data<f32>([
  12583039.0, 12583039.0, 12583039.0, 12583039.0, -8.0, -8.0, -8.0, -8.0,
  0.9999280571937561, 0.9999280571937561, 0.9999280571937561, 0.9999280571937561,
  0.6932610273361206, 0.6932610273361206, 0.6932610273361206, 0.6932610273361206,
  0.2426113784313202, 0.2426113784313202, 0.2426113784313202, 0.2426113784313202,
  0.05517164617776871, 0.05517164617776871, 0.05517164617776871, 0.05517164617776871,
  12582912.0, 12582912.0, 12582912.0, 12582912.0,
], 16);

/** log2(16317): with the polynomial's error the largest stays under 127.5 · 128, and its higher byte rounds to 127. */
const LOG2_LARGEST: f32 = 13.994089;
export const LARGEST: f32 = 16317;
const LOW_MASK: i16 = 127;
const HALF: i8 = 63;

// @ts-ignore: decorator
@inline
function constant(i: usize): v128 {
  return v128.load(C + (i << 4));
}

/** The largest of n > 0 scores, which are filled up with −Infinity to a multiple of 16; NaN is passed over. */
export function pageTop(x: usize, n: usize): f32 {
  const end = (n + 15) & ~15;
  for (let i = n; i < end; i++) store<f32>(x + (i << 2), -Infinity);
  // Four at a time, because each waits for the one before.
  let a = f32x4.splat(-Infinity), b = a, c = a, d = a;
  for (const last = x + (end << 2); x < last; x += 64) {
    a = f32x4.pmax(a, v128.load(x));
    b = f32x4.pmax(b, v128.load(x, 16));
    c = f32x4.pmax(c, v128.load(x, 32));
    d = f32x4.pmax(d, v128.load(x, 48));
  }
  a = f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d));
  a = f32x4.pmax(a, v128.shuffle<i32>(a, a, 2, 3, 0, 1));
  return f32x4.extract_lane(f32x4.pmax(a, v128.shuffle<i32>(a, a, 1, 0, 3, 2)), 0);
}

/** round(2^x) in the low 16 bits, for x <= 14; of NaN some number. */
// @ts-ignore: decorator
@inline
function power(x: v128, c0: v128, c1: v128, c2: v128, c3: v128, c4: v128, c5: v128, c6: v128): v128 {
  x = f32x4.pmax(c1, x);
  const shifted = f32x4.add(x, c0);
  const f = f32x4.sub(x, f32x4.sub(shifted, c0));
  const p = f32x4.relaxed_madd(f32x4.relaxed_madd(f32x4.relaxed_madd(c5, f, c4), f, c3), f, c2);
  return f32x4.relaxed_madd(p, i32x4.shl(shifted, 23), c6);
}

/** n scores, filled up by pageTop, whose largest is `top`, to integers at `to`, 0 behind them; returns their sum. */
export function pageBytes(to: usize, x: usize, n: usize, top: f32): i32 {
  const less = f32x4.splat(top - LOG2_LARGEST);
  const c0 = constant(0), c1 = constant(1), c2 = constant(2), c3 = constant(3), c4 = constant(4), c5 = constant(5);
  const c6 = constant(6);
  const mask = i32x4.splat(0xffff), lowMask = i16x8.splat(LOW_MASK);
  const ones = v128.load(BYTE_ONES);
  let highs = i32x4.splat(0), lows = i32x4.splat(0);
  const end = to + SMOOTH_LOW;
  for (const last = to + n; to < last; to += 16, x += 64) {
    const e0 = power(f32x4.sub(v128.load(x), less), c0, c1, c2, c3, c4, c5, c6);
    const e1 = power(f32x4.sub(v128.load(x, 16), less), c0, c1, c2, c3, c4, c5, c6);
    const a = i16x8.narrow_i32x4_s(v128.and(e0, mask), v128.and(e1, mask));
    const e2 = power(f32x4.sub(v128.load(x, 32), less), c0, c1, c2, c3, c4, c5, c6);
    const e3 = power(f32x4.sub(v128.load(x, 48), less), c0, c1, c2, c3, c4, c5, c6);
    const b = i16x8.narrow_i32x4_s(v128.and(e2, mask), v128.and(e3, mask));
    const high = i8x16.narrow_i16x8_u(i16x8.shr_u(a, 7), i16x8.shr_u(b, 7));
    const low = i8x16.narrow_i16x8_u(v128.and(a, lowMask), v128.and(b, lowMask));
    v128.store(to, high);
    v128.store(to, low, SMOOTH_LOW);
    highs = i32x4.relaxed_dot_i8x16_i7x16_add_s(high, ones, highs);
    lows = i32x4.relaxed_dot_i8x16_i7x16_add_s(low, ones, lows);
  }
  clear(to, end);
  return lanes(i32x4.add(i32x4.shl(highs, 7), lows));
}

/** A row that sees none of a page's keys. */
// @ts-ignore: decorator
@inline
export function noBytes(to: usize): void {
  clear(to, to + SMOOTH_LOW);
}

// @ts-ignore: decorator
@inline
function clear(to: usize, end: usize): void {
  const zero = i32x4.splat(0);
  for (; to < end; to += 16) {
    v128.store(to, zero);
    v128.store(to, zero, SMOOTH_LOW);
  }
}

/** In place: a row's integers of a page rounded to multiples of 128; returns their sum. */
export function roundBytes(x: usize): i32 {
  const half = i8x16.splat(HALF), zero = i32x4.splat(0);
  const ones = v128.load(BYTE_ONES);
  let sum = zero;
  for (const end = x + SMOOTH_LOW; x < end; x += 16) {
    // Where the lower byte is 64 or more the comparison gives −1.
    const high = i8x16.sub(v128.load(x), i8x16.gt_s(v128.load(x, SMOOTH_LOW), half));
    v128.store(x, high);
    v128.store(x, zero, SMOOTH_LOW);
    sum = i32x4.relaxed_dot_i8x16_i7x16_add_s(high, ones, sum);
  }
  return lanes(sum) << 7;
}

// @ts-ignore: decorator
@inline
function lanes(x: v128): i32 {
  return i32x4.extract_lane(x, 0) + i32x4.extract_lane(x, 1) + i32x4.extract_lane(x, 2) + i32x4.extract_lane(x, 3);
}
