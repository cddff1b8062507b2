/**
 * LayerNorm and RMSNorm in two passes. Sums run in four float64 lanes, added up in order, then what is left over. With
 * a `branch` each row of x first becomes x + branch, as f32_add has it, while it is in the first-level cache anyway.
 */
import { f32_add } from './elementwise';
import { lowF64, lanes4, pack4 } from './f64';

/** rows of n: (x − mean) / √(var + eps) · weight + bias. */
export function f32_layer_norm(
  out: usize, x: usize, weight: usize, bias: usize, rows: usize, n: usize, eps: f64, branch: usize,
): void {
  const rowBytes = n << 2;
  const whole = rowBytes & ~15;
  for (let r: usize = 0; r < rows; r++) {
    if (branch) f32_add(x, x, branch + r * rowBytes, n);
    const mean = rowSum(x, n) / <f64>n;
    const inverse = 1 / sqrt<f64>(squaredDistance(x, n, mean) / <f64>n + eps);
    const mean2 = f64x2.splat(mean);
    const inverse2 = f64x2.splat(inverse);
    let i: usize = 0;
    for (; i < whole; i += 16) {
      const low = f64x2.add(
        f64x2.mul(f64x2.mul(f64x2.sub(lowF64(x + i), mean2), inverse2), lowF64(weight + i)), lowF64(bias + i));
      const high = f64x2.add(
        f64x2.mul(f64x2.mul(f64x2.sub(lowF64(x + i + 8), mean2), inverse2), lowF64(weight + i + 8)),
        lowF64(bias + i + 8));
      v128.store(out + i, pack4(low, high));
    }
    for (; i < rowBytes; i += 4) {
      const centred = (<f64>load<f32>(x + i) - mean) * inverse;
      store<f32>(out + i, <f32>(centred * <f64>load<f32>(weight + i) + <f64>load<f32>(bias + i)));
    }
    x += rowBytes;
    out += rowBytes;
  }
}

/** rows of n: x / √(mean(x²) + eps) · weight. */
export function f32_rms_norm(
  out: usize, x: usize, weight: usize, rows: usize, n: usize, eps: f64, branch: usize,
): void {
  const rowBytes = n << 2;
  const whole = rowBytes & ~15;
  for (let r: usize = 0; r < rows; r++) {
    if (branch) f32_add(x, x, branch + r * rowBytes, n);
    const inverse = 1 / sqrt<f64>(squaredDistance(x, n, 0) / <f64>n + eps);
    const inverse2 = f64x2.splat(inverse);
    let i: usize = 0;
    for (; i < whole; i += 16) {
      const low = f64x2.mul(f64x2.mul(lowF64(x + i), inverse2), lowF64(weight + i));
      const high = f64x2.mul(f64x2.mul(lowF64(x + i + 8), inverse2), lowF64(weight + i + 8));
      v128.store(out + i, pack4(low, high));
    }
    for (; i < rowBytes; i += 4) {
      store<f32>(out + i, <f32>(<f64>load<f32>(x + i) * inverse * <f64>load<f32>(weight + i)));
    }
    x += rowBytes;
    out += rowBytes;
  }
}

function rowSum(x: usize, n: usize): f64 {
  let low = f64x2.splat(0), high = f64x2.splat(0);
  let i: usize = 0;
  for (; i + 4 <= n; i += 4) {
    low = f64x2.add(low, lowF64(x + (i << 2)));
    high = f64x2.add(high, lowF64(x + (i << 2) + 8));
  }
  let sum = lanes4(low, high);
  for (; i < n; i++) sum += <f64>load<f32>(x + (i << 2));
  return sum;
}

/** Σ (x − centre)². */
function squaredDistance(x: usize, n: usize, centre: f64): f64 {
  let low = f64x2.splat(0), high = f64x2.splat(0);
  const centre2 = f64x2.splat(centre);
  let i: usize = 0;
  for (; i + 4 <= n; i += 4) {
    const d0 = f64x2.sub(lowF64(x + (i << 2)), centre2);
    const d1 = f64x2.sub(lowF64(x + (i << 2) + 8), centre2);
    low = f64x2.add(low, f64x2.mul(d0, d0));
    high = f64x2.add(high, f64x2.mul(d1, d1));
  }
  let sum = lanes4(low, high);
  for (; i < n; i++) {
    const d = <f64>load<f32>(x + (i << 2)) - centre;
    sum += d * d;
  }
  return sum;
}
