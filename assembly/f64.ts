/** Moving between four float32 lanes and two pairs of float64 lanes, and the float64 exponential behind it all. */

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
 * Constants lie in memory because V8 builds a splat anew at every use. 0, 1: bounds, where 2^n is exactly 0 (n = −1023)
 * and exactly infinity (n = 1024); 2: 1/ln 2; 3: 1.5·2^52, which leaves the rounded n in the low bits of the sum;
 * 4: ln 2; 5…10: (e^r − 1 − r)/r² on |r| <= ln 2 / 2, minimax of degree 5, relative error of e^r 5.2e-11; 11: 1.
 */
const C: usize = memory.data<f64>([
  -709.0895657128241, -709.0895657128241, 709.782712893384, 709.782712893384,
  1.4426950408889634, 1.4426950408889634, 6755399441055744.0, 6755399441055744.0,
  0.6931471805599453, 0.6931471805599453,
  0.500000006783825561, 0.500000006783825561, 0.166666658671601709, 0.166666658671601709,
  0.0416662943684959028, 0.0416662943684959028, 0.00833349730514461792, 0.00833349730514461792,
  0.00139447033533306884, 0.00139447033533306884, 0.000197903174409741153, 0.000197903174409741153,
  1.0, 1.0,
], 16);

// @ts-ignore: decorator
@inline
function constant(i: usize): v128 {
  return v128.load(C + (i << 4));
}

/** e^x, relative error 6e-11 where it is a normal float64; +Infinity above 709.5, 0 below −708.8; NaN stays NaN. */
// @ts-ignore: decorator
@inline
export function exp2d(x: v128): v128 {
  // pmin and pmax return their first operand where either is NaN.
  const bounded = f64x2.pmax(f64x2.pmin(x, constant(1)), constant(0));
  const shifted = f64x2.add(f64x2.mul(bounded, constant(2)), constant(3));
  const r = f64x2.sub(bounded, f64x2.mul(f64x2.sub(shifted, constant(3)), constant(4)));
  return f64x2.mul(f64x2.add(constant(11), smallExpm1(r)), power2(shifted));
}

/** e^x − 1 with the same relative error, near 0 too. */
// @ts-ignore: decorator
@inline
export function expm12d(x: v128): v128 {
  const bounded = f64x2.pmax(f64x2.pmin(x, constant(1)), constant(0));
  const shifted = f64x2.add(f64x2.mul(bounded, constant(2)), constant(3));
  const r = f64x2.sub(bounded, f64x2.mul(f64x2.sub(shifted, constant(3)), constant(4)));
  const scale = power2(shifted);
  return f64x2.add(f64x2.mul(smallExpm1(r), scale), f64x2.sub(scale, constant(11)));
}

/** e^r − 1 = r + r²·q(r) for |r| <= ln 2 / 2. */
// @ts-ignore: decorator
@inline
function smallExpm1(r: v128): v128 {
  let q = f64x2.add(f64x2.mul(constant(10), r), constant(9));
  q = f64x2.add(f64x2.mul(q, r), constant(8));
  q = f64x2.add(f64x2.mul(q, r), constant(7));
  q = f64x2.add(f64x2.mul(q, r), constant(6));
  q = f64x2.add(f64x2.mul(q, r), constant(5));
  return f64x2.add(r, f64x2.mul(f64x2.mul(r, r), q));
}

/** 2^n for the n in the low bits of n + 1.5·2^52: its exponent field is n + 1023. */
// @ts-ignore: decorator
@inline
function power2(shifted: v128): v128 {
  return i64x2.shl(i64x2.add(shifted, i64x2.splat(1023)), 52);
}
