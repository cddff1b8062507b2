/**
 * The arithmetic that decides which token is drawn, all of it in float64 and from this module's own exp, log and pow:
 * engines differ in theirs. Sums run in order of the index.
 */

/** log Σ e^x over n float32 values; −Infinity for nothing but −Infinity, NaN if any is NaN. */
export function f64_log_sum_exp(x: usize, n: usize): f64 {
  const top = largest(x, n);
  if (top == -Infinity) return top;
  return top + NativeMath.log(sumExp(x, n, top));
}

/** out[i] = x[i] − log Σ e^x, rounded to float32. In place allowed. */
export function f32_log_softmax(out: usize, x: usize, n: usize): void {
  const top = largest(x, n);
  const sum = NativeMath.log(sumExp(x, n, top));
  for (let i: usize = 0; i < n; i++) {
    store<f32>(out + (i << 2), <f32>(<f64>load<f32>(x + (i << 2)) - top - sum));
  }
}

/** out[i] = e^x[i] / Σ e^x: float32 in, float64 out. */
export function f64_softmax(out: usize, x: usize, n: usize): void {
  const top = largest(x, n);
  let sum: f64 = 0;
  for (let i: usize = 0; i < n; i++) {
    const value = weight(x, i, top);
    store<f64>(out + (i << 3), value);
    sum += value;
  }
  for (let i: usize = 0; i < n; i++) store<f64>(out + (i << 3), load<f64>(out + (i << 3)) / sum);
}

/**
 * A draw from softmax(x) by inverting its distribution function in order of the index: the first i with
 * Σ_{j <= i} e^x[j] > u · Σ e^x. u in [0, 1). −1 if x holds NaN or +Infinity, or nothing above −Infinity.
 */
export function f32_sample(x: usize, n: usize, u: f64): i32 {
  const top = largest(x, n);
  // Catches NaN as well: it is not below anything.
  if (!(top < Infinity) || top == -Infinity) return -1;
  const target = u * sumExp(x, n, top);
  let sum: f64 = 0;
  let last = -1;
  for (let i: usize = 0; i < n; i++) {
    const value = weight(x, i, top);
    if (value == 0) continue;
    sum += value;
    last = <i32>i;
    if (sum > target) return last;
  }
  return last;
}

export function f64_exp(x: f64): f64 {
  return NativeMath.exp(x);
}

export function f64_pow(x: f64, y: f64): f64 {
  return NativeMath.pow(x, y);
}

// @ts-ignore: decorator
@inline
function weight(x: usize, i: usize, top: f64): f64 {
  const value = <f64>load<f32>(x + (i << 2));
  // Filtered values are many, and their exponential is known.
  return value == -Infinity ? 0 : NativeMath.exp(value - top);
}

function sumExp(x: usize, n: usize, top: f64): f64 {
  let sum: f64 = 0;
  for (let i: usize = 0; i < n; i++) sum += weight(x, i, top);
  return sum;
}

/** The maximum, −Infinity for no values; NaN if any is NaN. */
function largest(x: usize, n: usize): f64 {
  let top: f32 = -Infinity;
  for (let i: usize = 0; i < n; i++) top = max(top, load<f32>(x + (i << 2)));
  return <f64>top;
}
