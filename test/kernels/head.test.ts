import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CROSS_ENTROPY_RELATIVE } from '../tolerance.js';
import { floats, kernels, normals, reset } from './harness.js';

const LENGTHS = [1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 4099];

function argmax(values: ArrayLike<number>): number {
  reset();
  return kernels.f32_argmax(floats(values).ptr, values.length);
}

test('argmax: the largest value at any place of any length', () => {
  for (const n of LENGTHS) {
    const x = normals(n, n).map((v) => v - 100);
    for (const at of n < 20 ? x.keys() : [0, 1, 2047, 2048, 4095, 4096, 4098]) {
      const changed = x.slice();
      changed[at] = -1;
      assert.is(argmax(changed), at, `n ${n}`);
    }
  }
});

test('argmax: the lowest index on ties, the two zeros and infinities included', () => {
  for (const n of LENGTHS.filter((length) => length > 1 && length < 20)) {
    for (let first = 0; first < n - 1; first++) {
      const x = new Float32Array(n).fill(-3);
      for (let i = first; i < n; i++) x[i] = 2;
      assert.is(argmax(x), first, `n ${n}`);
    }
  }
  assert.is(argmax([-1, -0, 0, -5, 0]), 1);
  assert.is(argmax(new Float32Array(9).fill(Number.NEGATIVE_INFINITY)), 0);
  assert.is(argmax([1, Number.POSITIVE_INFINITY, 3, 3, 3, Number.POSITIVE_INFINITY]), 1);
});

test('argmax: −1 for a NaN at any place, and for nothing', () => {
  for (const n of LENGTHS.filter((length) => length < 20)) {
    for (let at = 0; at < n; at++) {
      const x = normals(n, 1);
      x[at] = Number.NaN;
      assert.is(argmax(x), -1, `n ${n}, NaN at ${at}`);
    }
  }
  assert.is(argmax([]), -1);
});

test('cross_entropy: within 1e-12 of float64 log-sum-exp, every label, up to a vocabulary of 49280', () => {
  for (const n of [1, 2, 5, 49280]) {
    for (const scale of [1, 40]) {
      reset();
      const x = normals(n, n, scale);
      const area = floats(x);
      const top = x.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
      const sum = x.reduce((s, v) => s + Math.exp(v - top), 0);
      for (const label of new Set([0, n >> 1, n - 1])) {
        const want = Math.log(sum) + top - x[label]!;
        const got = kernels.f64_cross_entropy(area.ptr, n, label);
        const bound = CROSS_ENTROPY_RELATIVE * Math.max(1, Math.abs(top), Math.abs(x[label]!));
        assert.ok(Math.abs(got - want) <= bound, `n ${n}, label ${label}: expected ${want}, got ${got}`);
      }
    }
  }
});

test('cross_entropy: masked classes count nothing, a masked label is infinite, NaN is NaN', () => {
  reset();
  const x = floats([1, Number.NEGATIVE_INFINITY, 1]);
  assert.ok(Math.abs(kernels.f64_cross_entropy(x.ptr, 3, 0) - Math.LN2) < CROSS_ENTROPY_RELATIVE);
  assert.is(kernels.f64_cross_entropy(x.ptr, 3, 1), Number.POSITIVE_INFINITY);
  x.f32[1] = Number.NaN;
  assert.ok(Number.isNaN(kernels.f64_cross_entropy(x.ptr, 3, 0)));
});

test.run();
