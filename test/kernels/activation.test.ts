import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ACTIVATION_ULPS, SILU_MUL_ULPS } from '../tolerance.js';
import { area, checkGuards, floats, kernels, random, reset, sameBits, ulps } from './harness.js';

/** The reference formulas in float64, in forms that do not cancel where the float64 formula as written would. */
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const reference = {
  f32_gelu_tanh: (x: number) => x * sigmoid(2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)),
  f32_gelu_erf: (x: number) => 0.5 * x * erfc(-x / Math.SQRT2),
  f32_gelu_quick: (x: number) => x * sigmoid(1.702 * x),
  f32_silu: (x: number) => x * sigmoid(x),
  f32_selu: (x: number) =>
    x < 0 ? 1.0507009873554805 * 1.6732632423543772 * Math.expm1(x) : 1.0507009873554805 * x,
};
type Name = keyof typeof reference;

/** Where the function changes: a dense grid, its tails to where the result leaves float32, powers of two, both signs. */
function usefulRange(): Float32Array {
  const values: number[] = [];
  for (let i = -4000; i <= 4000; i++) values.push(i / 400, i / 37);
  for (let e = -149; e <= 127; e++) values.push(2 ** e, -(2 ** e), 1.37 * 2 ** e, -1.93 * 2 ** e);
  const next = random(3);
  for (let i = 0; i < 20000; i++) values.push((next() - 0.5) * 12, (next() - 0.5) * 210);
  return Float32Array.from(values);
}

const titles: Record<Name, string> = {
  f32_gelu_tanh: 'GELU-tanh',
  f32_gelu_erf: 'GELU-erf',
  f32_gelu_quick: 'quick-GELU',
  f32_silu: 'SiLU',
  f32_selu: 'SELU',
};

for (const name of Object.keys(reference) as Name[]) {
  test(`${titles[name]}: at most ${ACTIVATION_ULPS} ulp from float64 over all of float32`, () => {
    reset();
    const x = usefulRange();
    const out = area(x.length);
    kernels[name](out.ptr, floats(x).ptr, x.length);
    let worst = 0;
    let at = 0;
    x.forEach((value, i) => {
      const error = ulps(out.f32[i]!, reference[name](value));
      if (!(error <= worst)) [worst, at] = [error, i];
    });
    const text = `worst ${worst} ulp at ${x[at]}: expected ${reference[name](x[at]!)}, got ${out.f32[at]}`;
    if (process.env.SHOW_ERRORS) console.log(name, text);
    assert.ok(worst <= ACTIVATION_ULPS, text);
    checkGuards(name);
  });

  test(`${titles[name]}: infinities, NaN and zeros as the float64 reference formula`, () => {
    reset();
    const x = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, Number.NaN, 0, -0];
    const out = area(x.length);
    kernels[name](out.ptr, floats(x).ptr, x.length);
    // −Infinity times a probability of 0 is NaN in PyTorch too (x·σ(x) and 0.5·x·(1 + erf) alike); SELU has a floor.
    const floor = name === 'f32_selu' ? Math.fround(-1.7580993408473766) : Number.NaN;
    assert.equal([...out.f32], [floor, Number.POSITIVE_INFINITY, Number.NaN, 0, -0]);
  });

  test(`${titles[name]}: every length from 0 to 13, in place too, gives the same bits`, () => {
    const all = usefulRange().slice(100, 113);
    reset();
    const whole = area(13);
    kernels[name](whole.ptr, floats(all).ptr, 13);
    const want = whole.f32.slice();
    for (let n = 0; n <= 13; n++) {
      reset();
      const out = area(n);
      const x = floats(all.slice(0, n));
      kernels[name](out.ptr, x.ptr, n);
      sameBits(out.f32, want.slice(0, n), `n ${n}`);
      kernels[name](x.ptr, x.ptr, n);
      sameBits(x.f32, want.slice(0, n), `n ${n} in place`);
      checkGuards(`n ${n}`);
    }
  });
}

test(`SiLU·up: the bits of SiLU and a product, at most ${SILU_MUL_ULPS} ulp from float64`, () => {
  for (const n of [0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 4099]) {
    reset();
    const gate = usefulRange().slice(0, n);
    const up = Float32Array.from(gate, (v, i) => Math.cos(i) * 3 + v / 100);
    const [out, two, g, u] = [area(n), area(n), floats(gate), floats(up)];
    kernels.f32_silu_mul(out.ptr, g.ptr, u.ptr, n);
    kernels.f32_silu(two.ptr, g.ptr, n);
    kernels.f32_mul(two.ptr, two.ptr, u.ptr, n);
    sameBits(out.f32, two.f32, `n ${n}`);
    gate.forEach((value, i) => {
      const truth = reference.f32_silu(value) * up[i]!;
      // A subnormal SiLU has lost digits that the product cannot bring back.
      if (Math.abs(reference.f32_silu(value)) < 2 ** -120) return;
      assert.ok(ulps(out.f32[i]!, truth) <= SILU_MUL_ULPS, `${value}, ${up[i]}: ${truth}, got ${out.f32[i]}`);
    });
    kernels.f32_silu_mul(g.ptr, g.ptr, u.ptr, n);
    sameBits(g.f32, out.f32, `in place, n ${n}`);
    checkGuards(`n ${n}`);
  }
});

/**
 * erfc to about 1e-15: its series for small z, else its continued fraction from the inside out (Abramowitz & Stegun
 * 7.1.6 and 7.1.14).
 */
function erfc(z: number): number {
  if (z < 0) return 2 - erfc(-z);
  if (z < 2) {
    let term = z;
    let sum = z;
    for (let n = 1; n < 60; n++) {
      term *= (2 * z * z) / (2 * n + 1);
      sum += term;
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * Math.exp(-z * z) * sum;
  }
  if (z > 40) return 0;
  let fraction = z;
  for (let n = 200; n > 0; n--) fraction = z + n / 2 / fraction;
  return Math.exp(-z * z) / Math.sqrt(Math.PI) / fraction;
}

test.run();
