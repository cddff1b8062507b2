import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { area, checkGuards, floats, kernels, normals, reset, sameBits } from './harness.js';

const LENGTHS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 1027];

const binary = {
  f32_add: (a: number, b: number) => Math.fround(a + b),
  f32_mul: (a: number, b: number) => Math.fround(a * b),
};

for (const name of Object.keys(binary) as (keyof typeof binary)[]) {
  test(`${name}: exactly IEEE float32 at every length, in place on either operand`, () => {
    for (const n of LENGTHS) {
      for (const mode of ['apart', 'on a', 'on b']) {
        reset();
        const values = [normals(n, 1, 3), normals(n, 2, 3)] as const;
        const want = values[0].map((a, i) => binary[name](a, values[1][i]!));
        const [a, b] = [floats(values[0]), floats(values[1])];
        const out = mode === 'apart' ? area(n) : mode === 'on a' ? a : b;
        kernels[name](out.ptr, a.ptr, b.ptr, n);
        sameBits(out.f32, want, `${mode}, n ${n}`);
        checkGuards(`${mode}, n ${n}`);
      }
    }
  });

  test(`${name}: infinities, NaN and overflow`, () => {
    reset();
    const [inf, max] = [Number.POSITIVE_INFINITY, 3e38];
    const a = [inf, inf, Number.NaN, max, -0, 1e-30];
    const b = [-inf, 0, 1, max, -0, 1e-30];
    const out = area(a.length);
    kernels[name](out.ptr, floats(a).ptr, floats(b).ptr, a.length);
    assert.equal(
      [...out.f32],
      a.map((v, i) => binary[name](Math.fround(v), Math.fround(b[i]!))),
    );
  });
}

test('f32_relu: exact at every length; NaN stays NaN, −Infinity becomes 0', () => {
  for (const n of LENGTHS) {
    reset();
    const values = normals(n, 4);
    const [x, out] = [floats(values), area(n)];
    kernels.f32_relu(out.ptr, x.ptr, n);
    sameBits(
      out.f32,
      values.map((v) => Math.max(v, 0)),
      `n ${n}`,
    );
    kernels.f32_relu(x.ptr, x.ptr, n);
    sameBits(x.f32, out.f32, `in place, n ${n}`);
    checkGuards(`n ${n}`);
  }
  // Once in a vector, once in the remainder.
  for (const pad of [0, 4]) {
    const special = [Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    reset();
    const values = [...new Array(pad + 4 - 3).fill(-1), ...special];
    const x = floats(pad ? values.slice(1) : values);
    kernels.f32_relu(x.ptr, x.ptr, x.f32.length);
    assert.equal([...x.f32].slice(-3), [Number.NaN, 0, Number.POSITIVE_INFINITY]);
  }
});

test.run();
