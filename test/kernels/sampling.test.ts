import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SAMPLING_RELATIVE } from '../tolerance.js';
import { area, checkGuards, floats, kernels, normals, random, reset } from './harness.js';

const LENGTHS = [1, 2, 3, 4, 5, 7, 8, 131, 49280];
const NONE = Number.NEGATIVE_INFINITY;

function logSumExp(x: Float32Array): number {
  const top = x.reduce((a, b) => Math.max(a, b), NONE);
  return top + Math.log(x.reduce((sum, value) => sum + Math.exp(value - top), 0));
}

test('log_sum_exp, log_softmax and softmax: within 1e-12 of float64, up to a vocabulary of 49280, filtered scores left out', () => {
  for (const n of LENGTHS) {
    for (const scale of [1, 40]) {
      reset();
      const x = normals(n, n, scale);
      for (let i = 1; i < n; i += 3) x[i] = NONE;
      const input = floats(x);
      const logs = area(n);
      const shares = area(2 * n);
      const want = logSumExp(x);
      const bound = SAMPLING_RELATIVE * Math.max(1, Math.abs(want));
      assert.ok(Math.abs(kernels.f64_log_sum_exp(input.ptr, n) - want) <= bound, `n ${n}`);
      kernels.f32_log_softmax(logs.ptr, input.ptr, n);
      kernels.f64_softmax(shares.ptr, input.ptr, n);
      const doubles = new Float64Array(shares.f32.buffer, shares.ptr, n);
      for (let i = 0; i < n; i++) {
        const log = x[i] - want;
        if (x[i] === NONE) assert.is(logs.f32[i], NONE);
        else assert.ok(Math.abs(logs.f32[i] - log) <= 2 ** -24 * Math.abs(log) + bound, `n ${n}, index ${i}`);
        assert.ok(Math.abs(doubles[i] - Math.exp(log)) <= 4 * bound * Math.exp(log), `n ${n}, index ${i}`);
      }
      checkGuards(`n ${n}`);
      kernels.f32_log_softmax(input.ptr, input.ptr, n);
      assert.equal(input.f32.slice(), logs.f32.slice(), 'in place');
    }
  }
});

test('log_sum_exp: −Infinity of nothing, NaN of NaN', () => {
  reset();
  assert.is(kernels.f64_log_sum_exp(floats([NONE, NONE]).ptr, 2), NONE);
  assert.is(kernels.f64_log_sum_exp(floats([1]).ptr, 0), NONE);
  assert.ok(Number.isNaN(kernels.f64_log_sum_exp(floats([1, Number.NaN, NONE]).ptr, 3)));
});

test('sample: the index whose share of the distribution function holds u, borders included', () => {
  reset();
  // Shares of exactly 1/4, 0, 1/4, 1/2 … of equal scores.
  const x = floats([0, NONE, 0, 0, 0]);
  const at = (u: number) => kernels.f32_sample(x.ptr, 5, u);
  assert.equal([0, 0.2499, 0.25, 0.4999, 0.5, 0.75, 1 - 2 ** -53].map(at), [0, 0, 2, 2, 3, 4, 4]);
});

test('sample: beside an inversion in float64, for any length and scale; filtered scores never come', () => {
  const next = random(3);
  for (const n of LENGTHS.filter((length) => length < 1000)) {
    for (let round = 0; round < 40; round++) {
      reset();
      const x = normals(n, 7 * n + round, round % 2 ? 1 : 20);
      for (let i = round % 3; i < n - 1; i += 3) x[i] = NONE;
      const total = logSumExp(x);
      const u = next();
      let sum = 0;
      const border = Array.from(x, (value) => (sum += Math.exp(value - total)));
      const want = border.findIndex((value) => value > u);
      const got = kernels.f32_sample(floats(x).ptr, n, u);
      if (Math.min(...border.map((value) => Math.abs(value - u))) > 1e-9)
        assert.is(got, want, `n ${n}, u ${u}`);
      assert.ok(x[got] > NONE);
    }
  }
});

test('sample: −1 for NaN, +Infinity, or nothing above −Infinity', () => {
  for (const values of [[Number.NaN], [1, Number.NaN, 2], [0, Number.POSITIVE_INFINITY], [NONE, NONE], []]) {
    reset();
    assert.is(kernels.f32_sample(floats(values).ptr, values.length, 0.5), -1, `[${values}]`);
  }
});

test('exp and pow: those of float64 to the last units', () => {
  for (const x of [-745, -100, -1.5, 0, 1e-9, 1, 10.25, 700]) {
    assert.ok(
      Math.abs(kernels.f64_exp(x) / Math.exp(x) - 1) <= SAMPLING_RELATIVE || Math.exp(x) < 1e-300,
      `exp ${x}`,
    );
  }
  for (const [x, y] of [
    [1, 2.5],
    [12, 1],
    [9, -1.5],
    [1.3, 40],
    [200, 0],
    [7, 0.5],
  ]) {
    assert.ok(Math.abs(kernels.f64_pow(x, y) / x ** y - 1) <= SAMPLING_RELATIVE, `pow ${x}, ${y}`);
  }
  assert.is(kernels.f64_pow(200, 0), 1);
  assert.is(kernels.f64_exp(NONE), 0);
});

test.run();
