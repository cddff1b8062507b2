import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ROPE_EPS, ROPE_GOLDEN_ULPS, ROPE_INV_FREQ_ULPS, ROPE_TABLE_ULPS } from '../tolerance.js';
import { area, checkGuards, floats, ints, kernels, normals, reset, sameBits, ulps } from './harness.js';

interface Golden {
  tables: {
    theta: number;
    dim: number;
    inv_freq: number[];
    inv_freq_stepwise: number[];
    rows: { position: number; cos: number[]; sin: number[]; cos_exact: number[]; sin_exact: number[] }[];
  }[];
}
// The compiled test lies in build/test/kernels.
const golden: Golden = JSON.parse(readFileSync('test/goldens/rotary.json', 'utf8'));
const fromBits = (words: number[]) => new Float32Array(Uint32Array.from(words).buffer);

test('inv_freq: bit for bit what three float32 steps give, at most 2 ulp from PyTorch’s own', () => {
  assert.ok(golden.tables.length > 0, 'no case ran');
  for (const { theta, dim, inv_freq, inv_freq_stepwise } of golden.tables) {
    reset();
    const out = area(dim / 2);
    kernels.f32_rope_inv_freq(out.ptr, dim, theta);
    checkGuards(`theta ${theta}, dim ${dim}`);
    sameBits(out.f32, fromBits(inv_freq_stepwise), `theta ${theta}, dim ${dim}`);
    fromBits(inv_freq).forEach((want, i) => {
      const error = ulps(out.f32[i]!, want);
      assert.ok(error <= ROPE_INV_FREQ_ULPS, `theta ${theta}, dim ${dim}, ${i}: ${want}, got ${out.f32[i]}`);
    });
  }
});

test(`cos and sin: the correctly rounded values, at most ${ROPE_GOLDEN_ULPS} ulp from PyTorch’s own`, () => {
  let cases = 0;
  for (const { theta, dim, inv_freq, rows } of golden.tables) {
    reset();
    const positions = rows.map((row) => row.position);
    const [cos, sin] = [area(rows.length * dim), area(rows.length * dim)];
    const frequencies = floats(fromBits(inv_freq));
    kernels.f32_rope_table(cos.ptr, sin.ptr, ints(positions).ptr, frequencies.ptr, rows.length, dim);
    checkGuards(`theta ${theta}, dim ${dim}`);
    rows.forEach((row, r) => {
      const context = `theta ${theta}, dim ${dim}, position ${row.position}`;
      for (const [got, exact, own] of [
        [cos, row.cos_exact, row.cos],
        [sin, row.sin_exact, row.sin],
      ] as const) {
        const halves = [
          got.f32.slice(r * dim, r * dim + dim / 2),
          got.f32.slice(r * dim + dim / 2, (r + 1) * dim),
        ];
        sameBits(halves[0]!, fromBits(exact), context);
        sameBits(halves[1]!, halves[0]!, `${context}, second half`);
        fromBits(own).forEach((want, i) => {
          assert.ok(
            ulps(halves[0]![i]!, want) <= ROPE_GOLDEN_ULPS,
            `${context}, ${i}: ${want}, got ${halves[0]![i]}`,
          );
          cases++;
        });
      }
    });
  }
  assert.ok(cases > 1000, 'no case ran');
});

test(`cos and sin: at most ${ROPE_TABLE_ULPS} ulp from float64, positions to 2²⁰ and negative ones`, () => {
  const dim = 10;
  const invFreq = Float32Array.of(1, 0.3, 0.01, 1e-3, 1e-5);
  const positions = Array.from({ length: 4000 }, (_, i) => (i < 2000 ? i : i * 262)).concat([-1, -77]);
  reset();
  const [cos, sin] = [area(positions.length * dim), area(positions.length * dim)];
  kernels.f32_rope_table(cos.ptr, sin.ptr, ints(positions).ptr, floats(invFreq).ptr, positions.length, dim);
  positions.forEach((position, t) => {
    invFreq.forEach((frequency, i) => {
      const angle = Math.fround(position * frequency);
      for (const at of [t * dim + i, t * dim + 5 + i]) {
        assert.ok(ulps(cos.f32[at]!, Math.cos(angle)) <= ROPE_TABLE_ULPS, `cos ${angle}: ${cos.f32[at]}`);
        assert.ok(ulps(sin.f32[at]!, Math.sin(angle)) <= ROPE_TABLE_ULPS, `sin ${angle}: ${sin.f32[at]}`);
      }
    });
  });
  checkGuards();
});

test('rope: rotates halves within 2·eps·Σ|terms| of float64, every remainder of dim, strides beyond the heads', () => {
  let cases = 0;
  for (const dim of [2, 4, 6, 8, 10, 12, 16, 18, 22, 24, 64, 72]) {
    for (const [tokens, heads, gap] of [
      [1, 1, 0],
      [3, 1, 5],
      [5, 3, 7],
      [2, 9, 0],
    ] as const) {
      reset();
      const ld = heads * dim + gap;
      const before = normals(tokens * ld, dim);
      const x = floats(before);
      const [cos, sin] = [normals(tokens * dim, 2), normals(tokens * dim, 3)];
      kernels.f32_rope(x.ptr, floats(cos).ptr, floats(sin).ptr, tokens, heads, dim, ld);
      const label = `dim ${dim}, tokens ${tokens}, heads ${heads}`;
      checkGuards(label);
      before.forEach((value, at) => {
        const [t, inRow] = [Math.floor(at / ld), at % ld];
        if (inRow >= heads * dim) {
          assert.is(x.f32[at], value, `${label}: written beyond the heads`);
          return;
        }
        const i = inRow % dim;
        const other = i < dim / 2 ? -before[at + dim / 2]! : before[at - dim / 2]!;
        const [a, b] = [value * cos[t * dim + i]!, other * sin[t * dim + i]!];
        const bound = ROPE_EPS * (Math.abs(a) + Math.abs(b));
        assert.ok(Math.abs(x.f32[at]! - (a + b)) <= bound, `${label}: expected ${a + b}, got ${x.f32[at]}`);
        cases++;
      });
    }
  }
  assert.ok(cases > 1000, 'no case ran');
});

test.run();
