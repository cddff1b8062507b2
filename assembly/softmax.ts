/**
 * Softmax: e^(x − max), the sum in float64 in four lanes (value i in lane i mod 4), rounded, and each value divided by
 * it.
 */
import { high2, lanes4, low2 } from './f64';
import { multiplyAdd, multiplySubtract } from './multiply_add';

/**
 * 0: −104, where e^x rounds to 0; 1: 1/ln 2; 2: 1.5·2^23 + 64, which leaves the rounded n + 64 in the low bits of the
 * sum; 3, 4: ln 2 in two parts, the first with so few bits that its product with n is exact; 5…9: (e^r − 1 − r)/r² on
 * |r| <= ln 2 / 2, minimax of degree 4, relative error of e^r 3.1e-9; 10: 1; 11: 2^−64; 12: −Infinity.
 */
const C: usize = memory.data<f32>([
  -104.0, -104.0, -104.0, -104.0, 1.44269504, 1.44269504, 1.44269504, 1.44269504,
  12582976.0, 12582976.0, 12582976.0, 12582976.0, 0.693359375, 0.693359375, 0.693359375, 0.693359375,
  -2.12194440e-4, -2.12194440e-4, -2.12194440e-4, -2.12194440e-4,
  0.499999934325380415, 0.499999934325380415, 0.499999934325380415, 0.499999934325380415,
  0.166665203968171066, 0.166665203968171066, 0.166665203968171066, 0.166665203968171066,
  0.0416683906771057764, 0.0416683906771057764, 0.0416683906771057764, 0.0416683906771057764,
  0.00836874531465461522, 0.00836874531465461522, 0.00836874531465461522, 0.00836874531465461522,
  0.00138145464494940949, 0.00138145464494940949, 0.00138145464494940949, 0.00138145464494940949, 1.0, 1.0, 1.0, 1.0,
  5.42101086242752217e-20, 5.42101086242752217e-20, 5.42101086242752217e-20, 5.42101086242752217e-20,
  -Infinity, -Infinity, -Infinity, -Infinity,
], 16);

// @ts-ignore: decorator
@inline
function constant(i: usize): v128 {
  return v128.load(C + (i << 4));
}

/** e^x for x <= 0 to within 1 ulp, subnormal results included; NaN stays NaN. */
// @ts-ignore: decorator
@inline
function exp4(x: v128): v128 {
  // pmax returns its first operand where either is NaN.
  const bounded = f32x4.pmax(x, constant(0));
  const shifted = multiplyAdd(constant(2), bounded, constant(1));
  const n = f32x4.sub(shifted, constant(2));
  const r = multiplySubtract(multiplySubtract(bounded, n, constant(3)), n, constant(4));
  const r2 = f32x4.mul(r, r);
  const q12 = multiplyAdd(constant(6), constant(7), r);
  const q34 = multiplyAdd(constant(8), constant(9), r);
  const q = multiplyAdd(constant(5), r, multiplyAdd(q12, r2, q34));
  const p = f32x4.add(constant(10), multiplyAdd(r, r2, q));
  // n + 64 added to the exponent, which cannot overflow it, and 2^−64 multiplied: a subnormal result is rounded once.
  return f32x4.mul(i32x4.add(p, i32x4.shl(shifted, 23)), constant(11));
}

/** In place: softmax over the first n of each row's ld values. */
export function f32_softmax(x: usize, rows: usize, n: usize, ld: usize): void {
  for (let r: usize = 0; r < rows; r++) {
    const row = x + ((r * ld) << 2);
    divideRow(row, n, exponentials(row, n, 1));
  }
}

/**
 * One row of n > 0 values to e^(scale·x − max), scale >= 0, and their sum rounded to float32, which the caller divides
 * by.
 */
export function exponentials(x: usize, n: usize, scale: f32): f32 {
  const factor = f32x4.splat(scale);
  const whole = x + (n << 2 & ~15);
  const rest = n & 3;
  // What is left over shares a vector with −Infinity, whose exponential is 0.
  let tail = constant(12);
  if (rest) tail = lanesAfter(tail, f32x4.mul(loadLanes(whole, rest), factor), rest);
  const top = largest(x, whole, factor, tail);

  let low = f64x2.splat(0), high = f64x2.splat(0);
  for (let p = x; p < whole; p += 16) {
    const e = exp4(f32x4.sub(f32x4.mul(v128.load(p), factor), top));
    v128.store(p, e);
    low = f64x2.add(low, low2(e));
    high = f64x2.add(high, high2(e));
  }
  if (rest) {
    tail = exp4(f32x4.sub(tail, top));
    low = f64x2.add(low, low2(tail));
    high = f64x2.add(high, high2(tail));
    storeLanes(whole, rest, tail);
  }
  return <f32>lanes4(low, high);
}

/**
 * factor · the largest value of whole vectors, or the largest lane of `tail`, in all lanes. Rounding keeps the order,
 * so the product of the largest is the largest product. A NaN is passed over here and makes the sum NaN.
 */
// @ts-ignore: decorator
@inline
function largest(x: usize, whole: usize, factor: v128, tail: v128): v128 {
  // Four at a time, because each waits for the one before.
  let a = constant(12), b = constant(12), c = constant(12), d = constant(12);
  let p = x;
  for (; p + 64 <= whole; p += 64) {
    a = f32x4.pmax(a, v128.load(p));
    b = f32x4.pmax(b, v128.load(p, 16));
    c = f32x4.pmax(c, v128.load(p, 32));
    d = f32x4.pmax(d, v128.load(p, 48));
  }
  for (; p < whole; p += 16) a = f32x4.pmax(a, v128.load(p));
  a = f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d));
  // Nothing seen is left as −Infinity, which a factor of 0 would make NaN.
  let top = f32x4.pmax(constant(12), f32x4.mul(a, factor));
  top = f32x4.pmax(tail, top);
  top = f32x4.pmax(top, v128.shuffle<i32>(top, top, 2, 3, 0, 1));
  return f32x4.pmax(top, v128.shuffle<i32>(top, top, 1, 0, 3, 2));
}

/** In place: n values divided by `divisor`. */
export function divideRow(x: usize, n: usize, divisor: f32): void {
  const sum = f32x4.splat(divisor);
  const whole = x + (n << 2 & ~15);
  for (; x < whole; x += 16) v128.store(x, f32x4.div(v128.load(x), sum));
  const rest = n & 3;
  if (rest) storeLanes(x, rest, f32x4.div(loadLanes(x, rest), sum));
}

/** 1..3 lanes from memory, the others 0. */
// @ts-ignore: decorator
@inline
function loadLanes(ptr: usize, count: usize): v128 {
  let lanes = v128.load32_zero(ptr);
  if (count > 1) lanes = v128.load_lane<f32>(ptr, lanes, 1, 4);
  if (count > 2) lanes = v128.load_lane<f32>(ptr, lanes, 2, 8);
  return lanes;
}

/** The first 1..3 lanes of `values`, the others of `fill`. */
// @ts-ignore: decorator
@inline
function lanesAfter(fill: v128, values: v128, count: usize): v128 {
  const taken = i32x4.lt_u(i32x4(0, 1, 2, 3), i32x4.splat(<i32>count));
  return v128.bitselect(values, fill, taken);
}

// @ts-ignore: decorator
@inline
function storeLanes(ptr: usize, count: usize, value: v128): void {
  v128.store_lane<f32>(ptr, value, 0);
  if (count > 1) v128.store_lane<f32>(ptr, value, 1, 4);
  if (count > 2) v128.store_lane<f32>(ptr, value, 2, 8);
}
