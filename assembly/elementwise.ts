/** Elementwise kernels without a transcendental; n values, in place allowed. */

export function f32_add(out: usize, a: usize, b: usize, n: usize): void {
  let i: usize = 0;
  for (; i + 4 <= n; i += 4, out += 16, a += 16, b += 16) v128.store(out, f32x4.add(v128.load(a), v128.load(b)));
  for (; i < n; i++, out += 4, a += 4, b += 4) store<f32>(out, load<f32>(a) + load<f32>(b));
}

export function f32_mul(out: usize, a: usize, b: usize, n: usize): void {
  let i: usize = 0;
  for (; i + 4 <= n; i += 4, out += 16, a += 16, b += 16) v128.store(out, f32x4.mul(v128.load(a), v128.load(b)));
  for (; i < n; i++, out += 4, a += 4, b += 4) store<f32>(out, load<f32>(a) * load<f32>(b));
}

/** max(x, 0); NaN stays NaN, as in the reference. */
export function f32_relu(out: usize, x: usize, n: usize): void {
  const zero = f32x4.splat(0);
  let i: usize = 0;
  for (; i + 4 <= n; i += 4, out += 16, x += 16) v128.store(out, f32x4.pmax(v128.load(x), zero));
  for (; i < n; i++, out += 4, x += 4) {
    const value = load<f32>(x);
    store<f32>(out, value < 0 ? 0 : value);
  }
}
