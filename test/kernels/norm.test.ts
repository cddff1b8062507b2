import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { NORM_ULPS } from '../tolerance.js';
import { area, checkGuards, floats, kernels, normals, reset, sameBits, ulps } from './harness.js';

const SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 64, 67, 768, 1152, 3072];
const EPS = 1e-6;

type Norm = 'f32_layer_norm' | 'f32_rms_norm';
const NORMS: Norm[] = ['f32_layer_norm', 'f32_rms_norm'];

function call(
  name: Norm,
  out: number,
  x: number,
  weight: number,
  bias: number,
  rows: number,
  n: number,
  branch = 0,
): void {
  if (name === 'f32_layer_norm') kernels.f32_layer_norm(out, x, weight, bias, rows, n, EPS, branch);
  else kernels.f32_rms_norm(out, x, weight, rows, n, EPS, branch);
}

/** One row in float64, and the size of what is added up at each place (where x·weight and bias cancel). */
function reference(name: Norm, x: Float32Array, weight: Float32Array, bias: Float32Array) {
  const n = x.length;
  const mean = name === 'f32_layer_norm' ? x.reduce((s, v) => s + v, 0) / n : 0;
  let variance = 0;
  for (const v of x) variance += (v - mean) ** 2 / n;
  const scale = 1 / Math.sqrt(variance + EPS);
  return Array.from(
    x,
    (v, i) => (v - mean) * scale * weight[i]! + (name === 'f32_layer_norm' ? bias[i]! : 0),
  );
}

function run(name: Norm, x: Float32Array, rows: number, n: number, inPlace: boolean) {
  reset();
  const weight = normals(n, 21).map((v) => 1 + v / 4);
  const bias = normals(n, 22);
  const source = floats(x);
  const out = inPlace ? source : area(rows * n);
  call(name, out.ptr, source.ptr, floats(weight).ptr, floats(bias).ptr, rows, n);
  checkGuards(`${name}, n ${n}`);
  return { out: out.f32.slice(), weight, bias };
}

for (const name of NORMS) {
  test(`${name}: at most ${NORM_ULPS} ulp from float64 for rows of 1 to 3072, in place too`, () => {
    let cases = 0;
    for (const n of SIZES) {
      for (const [scale, shift] of [
        [1, 0],
        [1e-4, 0],
        [50, 1000],
      ] as const) {
        const rows = 5;
        const x = normals(rows * n, n).map((v) => v * scale + shift);
        const { out, weight, bias } = run(name, x, rows, n, false);
        sameBits(run(name, x, rows, n, true).out, out, `in place, n ${n}`);
        for (let r = 0; r < rows; r++) {
          const want = reference(name, x.slice(r * n, (r + 1) * n), weight, bias);
          want.forEach((truth, i) => {
            const got = out[r * n + i]!;
            // Where x·weight + bias cancels, float64's own rounding shows: allow 1e-13 of the terms beside the ulps.
            const close =
              ulps(got, truth) <= NORM_ULPS || Math.abs(got - truth) <= 1e-11 * Math.abs(bias[i]!);
            assert.ok(close, `n ${n}, row ${r}, ${i}: expected ${truth}, got ${got}`);
            cases++;
          });
        }
      }
    }
    assert.ok(cases > 10000, 'no case ran');
  });

  test(`${name}: a row has the same bits alone and among others`, () => {
    for (const n of [13, 64, 770]) {
      const x = normals(7 * n, 3);
      const all = run(name, x, 7, n, false).out;
      for (let r = 0; r < 7; r++) {
        const alone = run(name, x.slice(r * n, (r + 1) * n), 1, n, false).out;
        sameBits(alone, all.slice(r * n, (r + 1) * n), `row ${r}, n ${n}`);
      }
    }
  });

  test(`${name}: with a branch the bits of f32_add and then the norm, in the branch's place too`, () => {
    for (const n of SIZES) {
      const rows = 3;
      const x = normals(rows * n, n);
      const branch = normals(rows * n, n + 1);
      const sums = x.map((v, i) => Math.fround(v + branch[i]!));
      const want = run(name, sums, rows, n, false);
      for (const inPlace of [false, true]) {
        reset();
        const source = floats(x);
        const added = floats(branch);
        const out = inPlace ? added : area(rows * n);
        const weight = floats(want.weight).ptr;
        call(name, out.ptr, source.ptr, weight, floats(want.bias).ptr, rows, n, added.ptr);
        checkGuards(`${name}, n ${n}, in place ${inPlace}`);
        sameBits(out.f32, want.out, `n ${n}, in place ${inPlace}`);
        sameBits(source.f32, sums, `x, n ${n}`);
      }
    }
  });

  test(`${name}: a row of equal values or zeros is finite, NaN stays in its row, no rows do nothing`, () => {
    const n = 11;
    const x = new Float32Array(3 * n).fill(2.5, 0, n);
    x[n + 10] = Number.NaN;
    const { out, bias } = run(name, x, 3, n, false);
    assert.ok(out.slice(0, n).every(Number.isFinite));
    if (name === 'f32_layer_norm') sameBits(out.slice(0, n), bias, 'a row without variance is the bias');
    assert.ok(out.slice(n, 2 * n).every(Number.isNaN));
    assert.ok(out.slice(2 * n).every((v, i) => v === (name === 'f32_layer_norm' ? bias[i] : 0)));
    assert.is(run(name, new Float32Array(0), 0, n, false).out.length, 0);
  });
}

test.run();
