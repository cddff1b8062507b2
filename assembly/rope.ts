/** Rotary embedding, rotate-half convention. The set-up is scalar: it runs once per model and once per forward. */

/** inv_freq[i] = 1 / theta^(2i/dim): the ratio, the power and the reciprocal each rounded to float32, as torch does. */
export function f32_rope_inv_freq(out: usize, dim: usize, theta: f64): void {
  for (let i: usize = 0; i < dim >> 1; i++) {
    const exponent = <f32>(i << 1) / <f32>dim;
    const power = <f32>NativeMath.pow(<f64><f32>theta, <f64>exponent);
    store<f32>(out + (i << 2), <f32>1 / power);
  }
}

/** cos and sin `[tokens][dim]` of the float32 product position·inv_freq; both halves of a row are equal. */
export function f32_rope_table(
  cos: usize, sin: usize, positions: usize, invFreq: usize, tokens: usize, dim: usize,
): void {
  const half = dim >> 1;
  for (let t: usize = 0; t < tokens; t++) {
    const position = <f32>load<i32>(positions + (t << 2));
    for (let i: usize = 0; i < half; i++) {
      NativeMath.sincos(<f64>(position * load<f32>(invFreq + (i << 2))));
      const at = (t * dim + i) << 2;
      store<f32>(cos + at, <f32>NativeMath.sincos_cos);
      store<f32>(cos + at + (half << 2), <f32>NativeMath.sincos_cos);
      store<f32>(sin + at, <f32>NativeMath.sincos_sin);
      store<f32>(sin + at + (half << 2), <f32>NativeMath.sincos_sin);
    }
  }
}

/** In place: x `[tokens][heads][dim]`, ld elements from token to token; x·cos + rotate_half(x)·sin. */
export function f32_rope(
  x: usize, cos: usize, sin: usize, tokens: usize, heads: usize, dim: usize, ld: usize,
): void {
  const half = (dim >> 1) << 2;
  for (let t: usize = 0; t < tokens; t++) {
    for (let h: usize = 0; h < heads; h++) rotate(x + ((t * ld + h * dim) << 2), cos, sin, half);
    cos += dim << 2;
    sin += dim << 2;
  }
}

/** One head's vector; `half` in bytes. */
// @ts-ignore: decorator
@inline
function rotate(x: usize, cos: usize, sin: usize, half: usize): void {
  let i: usize = 0;
  for (; i + 16 <= half; i += 16) {
    const a = v128.load(x + i);
    const b = v128.load(x + half + i);
    const a1 = f32x4.sub(f32x4.mul(a, v128.load(cos + i)), f32x4.mul(b, v128.load(sin + i)));
    const b1 = f32x4.add(f32x4.mul(b, v128.load(cos + half + i)), f32x4.mul(a, v128.load(sin + half + i)));
    v128.store(x + i, a1);
    v128.store(x + half + i, b1);
  }
  for (; i < half; i += 4) {
    const a = load<f32>(x + i);
    const b = load<f32>(x + half + i);
    store<f32>(x + i, a * load<f32>(cos + i) - b * load<f32>(sin + i));
    store<f32>(x + half + i, b * load<f32>(cos + half + i) + a * load<f32>(sin + half + i));
  }
}
