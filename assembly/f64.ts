/** Between four float32 lanes and two pairs of float64 lanes, and the power of two behind the activations. */

/** Two float32 values at ptr as float64. */
// @ts-ignore: decorator
@inline
export function lowF64(ptr: usize): v128 {
  return f64x2.promote_low_f32x4(v128.load64_zero(ptr));
}

/** Lanes 0, 1 of x as float64. */
// @ts-ignore: decorator
@inline
export function low2(x: v128): v128 {
  return f64x2.promote_low_f32x4(x);
}

/** Lanes 2, 3 of x as float64. */
// @ts-ignore: decorator
@inline
export function high2(x: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<i32>(x, x, 2, 3, 2, 3));
}

/** Two pairs rounded to four float32 lanes. */
// @ts-ignore: decorator
@inline
export function pack4(low: v128, high: v128): v128 {
  return v128.shuffle<i32>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 1, 4, 5);
}

/** The four lanes of two pairs added in order. */
// @ts-ignore: decorator
@inline
export function lanes4(low: v128, high: v128): f64 {
  return f64x2.extract_lane(low, 0) + f64x2.extract_lane(low, 1) + f64x2.extract_lane(high, 0)
    + f64x2.extract_lane(high, 1);
}

/**
 * Constants lie in memory because V8 builds a splat anew at every use. 0, 1: bounds, where 2^n is exactly 0 and exactly
 * infinity; 2: 1.5·2^52, which leaves the rounded n in the low bits of the sum; 3: ln 2; 4…9: (2^r − 1 − r·ln 2)/r² on
 * |r| <= 1/2, minimax of degree 5, relative error of 2^r 5.2e-11; 10: 1.
 */
const C: usize = memory.data<f64>([
  -1023.0, -1023.0, 1024.0, 1024.0, 6755399441055744.0, 6755399441055744.0,
  0.693147180559945309, 0.693147180559945309, 0.240226510218410149, 0.240226510218410149,
  0.0555041060022678548, 0.0555041060022678548, 0.00961804316814352658, 0.00961804316814352658,
  0.001333382050575006, 0.001333382050575006, 0.000154654316589398194, 0.000154654316589398194,
  0.0000152135647687810544, 0.0000152135647687810544, 1.0, 1.0,
], 16);

// @ts-ignore: decorator
@inline
function constant(i: usize): v128 {
  return v128.load(C + (i << 4));
}

/** 2^x, relative error 6e-11 where it is a normal float64; +Infinity from 1023.5, 0 up to −1022.5; NaN stays NaN. */
// @ts-ignore: decorator
@inline
export function exp2(x: v128): v128 {
  const bounded = bound(x);
  const shifted = f64x2.add(bounded, constant(2));
  const fraction = f64x2.sub(bounded, f64x2.sub(shifted, constant(2)));
  return f64x2.mul(f64x2.add(constant(10), smallExp2m1(fraction)), power2(shifted));
}

/** 2^x − 1 with nearly the same relative error, near 0 too. */
// @ts-ignore: decorator
@inline
export function exp2m1(x: v128): v128 {
  const bounded = bound(x);
  const shifted = f64x2.add(bounded, constant(2));
  const fraction = f64x2.sub(bounded, f64x2.sub(shifted, constant(2)));
  const scale = power2(shifted);
  return f64x2.add(f64x2.mul(smallExp2m1(fraction), scale), f64x2.sub(scale, constant(10)));
}

/** pmin and pmax return their first operand where either is NaN. */
// @ts-ignore: decorator
@inline
function bound(x: v128): v128 {
  return f64x2.pmax(f64x2.pmin(x, constant(1)), constant(0));
}

/** 2^r − 1 = r·(ln 2 + r·q(r)) for |r| <= 1/2; q by pairs, because the chain of additions is what takes the time. */
// @ts-ignore: decorator
@inline
function smallExp2m1(r: v128): v128 {
  const r2 = f64x2.mul(r, r);
  const q01 = f64x2.add(constant(4), f64x2.mul(constant(5), r));
  const q23 = f64x2.add(constant(6), f64x2.mul(constant(7), r));
  const q45 = f64x2.add(constant(8), f64x2.mul(constant(9), r));
  const q = f64x2.add(q01, f64x2.mul(r2, f64x2.add(q23, f64x2.mul(r2, q45))));
  return f64x2.add(f64x2.mul(r, constant(3)), f64x2.mul(r2, q));
}

/** 2^n for the n in the low bits of n + 1.5·2^52: its exponent field is n + 1023. */
// @ts-ignore: decorator
@inline
function power2(shifted: v128): v128 {
  return i64x2.shl(i64x2.add(shifted, i64x2.splat(1023)), 52);
}
