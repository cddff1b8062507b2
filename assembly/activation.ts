/**
 * Activations with a transcendental in them. Each is computed in float64 lanes and rounded once, so that nothing
 * cancels: the error is half a unit in the last place of the result, and a trifle.
 */
import { exp2, exp2m1, high2, low2, pack4 } from './f64';

/**
 * Factors with log2(e) in them, because the exponential is a power of two. 0: 1; 1: −2·√(2/π)·log2(e); 2: 0.044715;
 * 3: −1.702·log2(e); 4: −log2(e); 5: log2(e); 6: SELU's scale; 7: SELU's scale · alpha; 8: −log2(e)/2.
 */
const C: usize = memory.data<f64>([
  1.0, 1.0, -2.30220819814432489, -2.30220819814432489, 0.044715, 0.044715,
  -2.45546695959301572, -2.45546695959301572, -1.44269504088896341, -1.44269504088896341,
  1.44269504088896341, 1.44269504088896341, 1.05070098735548049, 1.05070098735548049,
  1.75809934084737686, 1.75809934084737686, -0.721347520444481704, -0.721347520444481704,
], 16);

/**
 * 0: 0.4/√2; 1: 0.5; 2: 2; 3…15: erfc(z)·e^(z²)/t with t = 1/(1 + 0.4·z) for 0 <= z <= 11, minimax of degree 12 in t,
 * relative error 6.8e-11.
 */
const E: usize = memory.data<f64>([
  0.282842712474619, 0.282842712474619, 0.5, 0.5, 2.0, 2.0,
  0.225673973965817392, 0.225673973965817392, 0.225731662678699573, 0.225731662678699573,
  0.206877830547522724, 0.206877830547522724, 0.177320438367128214, 0.177320438367128214,
  0.0922016906049231237, 0.0922016906049231237, 0.16884170666601551, 0.16884170666601551,
  -0.226273813977863722, -0.226273813977863722, 0.385863488888367748, 0.385863488888367748,
  -0.446574053109757022, -0.446574053109757022, 0.228217924738707016, 0.228217924738707016,
  -0.0221438855078165568, -0.0221438855078165568, -0.0219959922348948019, -0.0219959922348948019,
  0.00625902844093934038, 0.00625902844093934038,
], 16);

// @ts-ignore: decorator
@inline
function constant(table: usize, i: usize): v128 {
  return v128.load(table + (i << 4));
}

/** x·σ(y) = x / (1 + 2^t) with t = −y·log2(e). */
// @ts-ignore: decorator
@inline
function timesSigmoid(x: v128, t: v128): v128 {
  return f64x2.div(x, f64x2.add(constant(C, 0), exp2(t)));
}

/** 0.5·x·(1 + tanh(u)) = x·σ(2u), u = √(2/π)·(x + 0.044715·x³). */
// @ts-ignore: decorator
@inline
function geluTanh(x: v128): v128 {
  const cubic = f64x2.mul(f64x2.mul(f64x2.mul(x, x), x), constant(C, 2));
  return timesSigmoid(x, f64x2.mul(f64x2.add(x, cubic), constant(C, 1)));
}

/** 0.5·x·(1 + erf(x/√2)): with c = erfc(|x|/√2), 0.5·x·c below zero and 0.5·x·(2 − c) above. */
// @ts-ignore: decorator
@inline
function geluErf(x: v128): v128 {
  const t = f64x2.div(constant(C, 0), f64x2.add(constant(C, 0), f64x2.mul(f64x2.abs(x), constant(E, 0))));
  const t2 = f64x2.mul(t, t);
  const t4 = f64x2.mul(t2, t2);
  const low = f64x2.add(pair(3, t), f64x2.mul(t2, pair(5, t)));
  const middle = f64x2.add(pair(7, t), f64x2.mul(t2, pair(9, t)));
  const high = f64x2.add(f64x2.add(pair(11, t), f64x2.mul(t2, pair(13, t))), f64x2.mul(t4, constant(E, 15)));
  const p = f64x2.add(low, f64x2.mul(t4, f64x2.add(middle, f64x2.mul(t4, high))));
  const half = f64x2.mul(x, constant(E, 1));
  const c = f64x2.mul(f64x2.mul(p, t), exp2(f64x2.mul(f64x2.mul(x, x), constant(C, 8))));
  const positive = f64x2.sub(constant(E, 2), c);
  return f64x2.mul(half, v128.bitselect(c, positive, f64x2.lt(x, f64x2.splat(0))));
}

/** Coefficients i and i + 1 of geluErf's polynomial. */
// @ts-ignore: decorator
@inline
function pair(i: usize, t: v128): v128 {
  return f64x2.add(constant(E, i), f64x2.mul(constant(E, i + 1), t));
}

/** x·σ(1.702·x). */
// @ts-ignore: decorator
@inline
function geluQuick(x: v128): v128 {
  return timesSigmoid(x, f64x2.mul(x, constant(C, 3)));
}

/** scale·x above zero, scale·alpha·(e^x − 1) below. */
// @ts-ignore: decorator
@inline
function selu(x: v128): v128 {
  const below = f64x2.mul(exp2m1(f64x2.mul(x, constant(C, 5))), constant(C, 7));
  return v128.bitselect(below, f64x2.mul(x, constant(C, 6)), f64x2.lt(x, f64x2.splat(0)));
}

// @ts-ignore: decorator
@inline
function silu(x: v128): v128 {
  return timesSigmoid(x, f64x2.mul(x, constant(C, 4)));
}

const GELU_TANH: i32 = 0;
const GELU_ERF: i32 = 1;
const GELU_QUICK: i32 = 2;
const SELU: i32 = 3;
const SILU: i32 = 4;

/** Two values; `kind` is a constant wherever this is called, so that one branch remains. */
// @ts-ignore: decorator
@inline
function activate(kind: i32, x: v128): v128 {
  if (kind == GELU_TANH) return geluTanh(x);
  if (kind == GELU_ERF) return geluErf(x);
  if (kind == GELU_QUICK) return geluQuick(x);
  if (kind == SELU) return selu(x);
  return silu(x);
}

// @ts-ignore: decorator
@inline
function activate4(kind: i32, x: v128): v128 {
  return pack4(activate(kind, low2(x)), activate(kind, high2(x)));
}

/** out = f(x), n values, in place allowed. */
// @ts-ignore: decorator
@inline
function apply(kind: i32, out: usize, x: usize, n: usize): void {
  const whole = x + (n << 2 & ~15);
  for (; x < whole; out += 16, x += 16) v128.store(out, activate4(kind, v128.load(x)));
  const rest = n & 3;
  for (let i: usize = 0; i < rest; i++, out += 4, x += 4) {
    v128.store_lane<f32>(out, activate4(kind, v128.load_splat<f32>(x)), 0);
  }
}

export function f32_gelu_tanh(out: usize, x: usize, n: usize): void {
  apply(GELU_TANH, out, x, n);
}

export function f32_gelu_erf(out: usize, x: usize, n: usize): void {
  apply(GELU_ERF, out, x, n);
}

export function f32_gelu_quick(out: usize, x: usize, n: usize): void {
  apply(GELU_QUICK, out, x, n);
}

export function f32_selu(out: usize, x: usize, n: usize): void {
  apply(SELU, out, x, n);
}

export function f32_silu(out: usize, x: usize, n: usize): void {
  apply(SILU, out, x, n);
}

/** silu(gate)·up, the same bits as the two kernels one after the other. */
export function f32_silu_mul(out: usize, gate: usize, up: usize, n: usize): void {
  const whole = gate + (n << 2 & ~15);
  for (; gate < whole; out += 16, gate += 16, up += 16) {
    v128.store(out, f32x4.mul(activate4(SILU, v128.load(gate)), v128.load(up)));
  }
  const rest = n & 3;
  for (let i: usize = 0; i < rest; i++, out += 4, gate += 4, up += 4) {
    const product = f32x4.mul(activate4(SILU, v128.load_splat<f32>(gate)), v128.load_splat<f32>(up));
    v128.store_lane<f32>(out, product, 0);
  }
}
