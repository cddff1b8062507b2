/** Softmax: e^(x − max), its sum in float64 in four lanes (value i in lane i mod 4), each value divided by the sum. */
import { high2, lanes4, low2, pack4 } from './f64';

/**
 * 0: −104, where e^x rounds to 0; 1: 89, where it overflows; 2: 1/ln 2; 3, 4: ln 2 in two parts, the first with so few
 * bits that its product with n is exact; 5…9: (e^r − 1 − r)/r² on |r| <= ln 2 / 2, minimax of degree 4, relative error
 * of e^r 3.1e-9; 10: 1; 11: −Infinity.
 */
const C: usize = memory.data<f32>([
  -104.0, -104.0, -104.0, -104.0, 89.0, 89.0, 89.0, 89.0,
  1.44269504, 1.44269504, 1.44269504, 1.44269504, 0.693359375, 0.693359375, 0.693359375, 0.693359375,
  -2.12194440e-4, -2.12194440e-4, -2.12194440e-4, -2.12194440e-4,
  0.499999934325380415, 0.499999934325380415, 0.499999934325380415, 0.499999934325380415,
  0.166665203968171066, 0.166665203968171066, 0.166665203968171066, 0.166665203968171066,
  0.0416683906771057764, 0.0416683906771057764, 0.0416683906771057764, 0.0416683906771057764,
  0.00836874531465461522, 0.00836874531465461522, 0.00836874531465461522, 0.00836874531465461522,
  0.00138145464494940949, 0.00138145464494940949, 0.00138145464494940949, 0.00138145464494940949,
  1.0, 1.0, 1.0, 1.0, -Infinity, -Infinity, -Infinity, -Infinity,
], 16);

// @ts-ignore: decorator
@inline
function constant(i: usize): v128 {
  return v128.load(C + (i << 4));
}

/** e^x to within 1 ulp, subnormal results included; NaN stays NaN. */
// @ts-ignore: decorator
@inline
export function exp4f(x: v128): v128 {
  // pmin and pmax return their first operand where either is NaN.
  const bounded = f32x4.pmax(f32x4.pmin(x, constant(1)), constant(0));
  const n = f32x4.nearest(f32x4.mul(bounded, constant(2)));
  const r = f32x4.sub(f32x4.sub(bounded, f32x4.mul(n, constant(3))), f32x4.mul(n, constant(4)));
  let q = f32x4.add(f32x4.mul(constant(9), r), constant(8));
  q = f32x4.add(f32x4.mul(q, r), constant(7));
  q = f32x4.add(f32x4.mul(q, r), constant(6));
  q = f32x4.add(f32x4.mul(q, r), constant(5));
  const p = f32x4.add(constant(10), f32x4.add(r, f32x4.mul(f32x4.mul(r, r), q)));
  // 2^n in two factors, because n may be below −126 (a subnormal result) or 128.
  const exponent = i32x4.trunc_sat_f32x4_s(n);
  const half = i32x4.shr_s(exponent, 1);
  const scale1 = i32x4.shl(i32x4.add(half, i32x4.splat(127)), 23);
  const scale2 = i32x4.shl(i32x4.add(i32x4.sub(exponent, half), i32x4.splat(127)), 23);
  return f32x4.mul(f32x4.mul(p, scale1), scale2);
}

/** In place: softmax over the first n of each row's ld values. */
export function f32_softmax(x: usize, rows: usize, n: usize, ld: usize): void {
  for (let r: usize = 0; r < rows; r++) softmaxRow(x + ((r * ld) << 2), n, 1);
}

/** One row of n values, multiplied by `scale` first. */
export function softmaxRow(x: usize, n: usize, scale: f32): void {
  const factor = f32x4.splat(scale);
  const whole = x + (n << 2 & ~15);
  const rest = n & 3;

  let top = constant(11);
  for (let p = x; p < whole; p += 16) {
    const value = f32x4.mul(v128.load(p), factor);
    v128.store(p, value);
    top = f32x4.max(top, value);
  }
  // What is left over shares a vector with −Infinity, whose exponential is 0.
  let tail = constant(11);
  if (rest) {
    // Scaled before it is filled up: 0 · −Infinity would be NaN.
    const value = f32x4.mul(loadLanes(whole, rest, f32x4.splat(0)), factor);
    tail = onlyLanes(value, rest);
    top = f32x4.max(top, tail);
  }
  top = f32x4.max(top, v128.shuffle<i32>(top, top, 2, 3, 0, 1));
  top = f32x4.max(top, v128.shuffle<i32>(top, top, 1, 0, 3, 2));

  let low = f64x2.splat(0), high = f64x2.splat(0);
  for (let p = x; p < whole; p += 16) {
    const e = exp4f(f32x4.sub(v128.load(p), top));
    v128.store(p, e);
    low = f64x2.add(low, low2(e));
    high = f64x2.add(high, high2(e));
  }
  if (rest) {
    tail = exp4f(f32x4.sub(tail, top));
    low = f64x2.add(low, low2(tail));
    high = f64x2.add(high, high2(tail));
  }

  // The float64 reciprocal and product are off by 2 units in 2^53: rounded to float32 it is the quotient.
  const inverse = f64x2.splat(1 / lanes4(low, high));
  for (let p = x; p < whole; p += 16) {
    const e = v128.load(p);
    v128.store(p, pack4(f64x2.mul(low2(e), inverse), f64x2.mul(high2(e), inverse)));
  }
  if (rest) storeLanes(whole, rest, pack4(f64x2.mul(low2(tail), inverse), f64x2.mul(high2(tail), inverse)));
}

/** The first 1..3 lanes, −Infinity in the others. */
// @ts-ignore: decorator
@inline
function onlyLanes(value: v128, count: usize): v128 {
  value = f32x4.replace_lane(value, 3, -Infinity);
  if (count < 3) value = f32x4.replace_lane(value, 2, -Infinity);
  if (count < 2) value = f32x4.replace_lane(value, 1, -Infinity);
  return value;
}

/** The first 1..3 lanes from memory, the others from `fill`. */
// @ts-ignore: decorator
@inline
function loadLanes(ptr: usize, count: usize, fill: v128): v128 {
  fill = v128.load_lane<f32>(ptr, fill, 0);
  if (count > 1) fill = v128.load_lane<f32>(ptr, fill, 1, 4);
  if (count > 2) fill = v128.load_lane<f32>(ptr, fill, 2, 8);
  return fill;
}

// @ts-ignore: decorator
@inline
function storeLanes(ptr: usize, count: usize, value: v128): void {
  v128.store_lane<f32>(ptr, value, 0);
  if (count > 1) v128.store_lane<f32>(ptr, value, 1, 4);
  if (count > 2) v128.store_lane<f32>(ptr, value, 2, 8);
}
