import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PRODUCT_RMS, productBound } from '../tolerance.js';
import { area, checkGuards, floats, isRelaxed, normals, reset, sameBits, testBuilds } from './harness.js';
import { DTYPES, type Dtype, gemmOf, panels, type Stored, stored } from './panels.js';

interface Case {
  dtype: Dtype;
  M: number;
  N: number;
  K: number;
  panelK?: number;
  lda?: number;
  ldc?: number;
  bias?: boolean;
  accumulate?: boolean;
}

/** Runs one product and returns out `[M][ldc]` beside the operands, having looked at what must not be written. */
function run(c: Case, seed: number, a = normals(c.M * (c.lda ?? c.K), seed)) {
  reset();
  const { M, N, K, lda = c.K, ldc = c.N } = c;
  const w = stored(c.dtype, normals(N * K, seed + 1));
  const bias = normals(N, seed + 2);
  const present = normals(M * ldc, seed + 3);
  const out = area(M * ldc);
  out.f32.set(present);
  gemmOf(c.dtype)(
    out.ptr,
    floats(a).ptr,
    panels(c.dtype, w, N, K, c.panelK).ptr,
    c.bias ? floats(bias).ptr : 0,
    M,
    N,
    K,
    c.panelK ?? K,
    lda,
    ldc,
    c.accumulate ? 1 : 0,
  );
  const label = JSON.stringify(c);
  checkGuards(label);
  for (let i = 0; i < out.f32.length; i++) {
    if (i % ldc >= N)
      assert.is(out.f32[i], present[i], `${label}: column ${i % ldc} of row ${Math.floor(i / ldc)}`);
  }
  return {
    out: out.f32.slice(),
    a,
    w,
    bias: c.bias ? bias : undefined,
    present: c.accumulate ? present : undefined,
  };
}

interface Worst {
  ratio: number;
  text: string;
}

/** Compares with float64; the worst element's error over its bound. */
function compare(c: Case, r: ReturnType<typeof run>): Worst {
  const { M, N, K, lda = c.K, ldc = c.N } = c;
  const worst = { ratio: -1, text: '' };
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      const { sum, size } = dot(r.a, m * lda, r.w, n * K, K);
      const more = (r.bias?.[n] ?? 0) + (r.present?.[m * ldc + n] ?? 0);
      const error = Math.abs(r.out[m * ldc + n]! - (sum + more));
      const ratio = error / (productBound(K) * (size + Math.abs(more)) + 1e-30);
      if (!(ratio <= worst.ratio)) {
        worst.ratio = ratio;
        worst.text = `${JSON.stringify(c)} row ${m} column ${n}: expected ${sum + more}, got ${r.out[m * ldc + n]}`;
      }
    }
  }
  return worst;
}

function dot(a: Float32Array, at: number, w: Stored, from: number, K: number) {
  let sum = 0;
  let size = 0;
  for (let k = 0; k < K; k++) {
    const term = a[at + k]! * w.values[from + k]!;
    sum += term;
    size += Math.abs(term);
  }
  return { sum, size };
}

function sweep(cases: Case[]): void {
  assert.ok(cases.length > 0, 'no case ran');
  cases.forEach((c, i) => {
    const worst = compare(c, run(c, 1000 * i));
    assert.ok(worst.ratio <= 1, worst.text);
  });
}

for (const dtype of DTYPES) {
  testBuilds(`${dtype} weights: every row and column remainder within K·eps·Σ|a||b| of float64`, () => {
    const cases: Case[] = [];
    for (const M of [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13]) {
      for (const N of [1, 2, 7, 8, 9, 15, 16, 17, 20, 23, 24, 27]) {
        cases.push({
          dtype,
          M,
          N,
          K: 19,
          bias: (M + N) % 2 === 0,
          accumulate: (M + N) % 2 === 1 && N % 3 === 0,
        });
      }
    }
    sweep(cases);
  });

  testBuilds(`${dtype} weights: k below, at, above and multiples of the blocks of 32 and 128`, () => {
    const cases: Case[] = [];
    for (const K of [
      1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 33, 63, 64, 65, 127, 128, 129, 131, 255, 256, 257, 384,
    ]) {
      for (const M of [1, 3, 9])
        cases.push({ dtype, M, N: 21, K, bias: K % 2 === 0, accumulate: K % 4 === 1 });
    }
    sweep(cases);
  });

  testBuilds(
    `${dtype} weights: strides and panels larger than the product, and more rows or k than one block`,
    () => {
      sweep([
        { dtype, M: 9, N: 19, K: 130, lda: 139, ldc: 23, panelK: 151 },
        { dtype, M: 1, N: 19, K: 130, lda: 139, ldc: 23, panelK: 151, bias: true },
        { dtype, M: 3, N: 24, K: 5, lda: 7, ldc: 29, panelK: 11, accumulate: true },
        { dtype, M: 123, N: 9, K: 33, lda: 37, ldc: 13, bias: true },
        { dtype, M: 263, N: 17, K: 130, accumulate: true },
        // 12 rows leave room for ten blocks of 128 k, 68 rows for one.
        { dtype, M: 9, N: 17, K: 1413, bias: true },
        { dtype, M: 66, N: 9, K: 290, panelK: 301, accumulate: true },
      ]);
    },
  );

  testBuilds(`${dtype} weights: a row has the same bits whatever rows are computed beside it`, () => {
    for (const [N, K] of [
      [29, 300],
      [64, 128],
      [7, 77],
    ] as const) {
      const M = 135;
      const c = { dtype, M, N, K, bias: true };
      const all = run(c, 7);
      for (const m of [0, 3, 4, 119, 127, 128, 131, 132, 134]) {
        const alone = run({ ...c, M: 1 }, 7, all.a.slice(m * K, (m + 1) * K));
        // The weights follow from the seed, not from the rows.
        sameBits(alone.out, all.out.slice(m * N, (m + 1) * N), `row ${m} alone, N ${N}, K ${K}`);
      }
    }
  });

  testBuilds(`${dtype} weights: no terms give the bias, zero, or what was there`, () => {
    for (const M of [1, 5]) {
      const biased = run({ dtype, M, N: 9, K: 0, panelK: 3, bias: true }, 5);
      for (let i = 0; i < M * 9; i++) assert.is(biased.out[i], biased.bias![i % 9]);
      assert.ok(run({ dtype, M, N: 9, K: 0, panelK: 3 }, 5).out.every((v) => v === 0));
      const kept = run({ dtype, M, N: 9, K: 0, panelK: 3, accumulate: true }, 5);
      sameBits(kept.out, kept.present!, 'accumulating nothing');
    }
  });
}

testBuilds('f32 weights: relative RMS error under 3e-7 at K = 768, 1536 and 3072', () => {
  for (const K of [768, 1536, 3072]) {
    for (const M of [1, 8]) {
      const c: Case = { dtype: 'f32', M, N: 64, K };
      const r = run(c, K);
      assert.ok(compare(c, r).ratio <= 1, compare(c, r).text);
      let error = 0;
      let power = 0;
      for (let i = 0; i < M * 64; i++) {
        const { sum } = dot(r.a, Math.floor(i / 64) * K, r.w, (i % 64) * K, K);
        error += (r.out[i]! - sum) ** 2;
        power += sum ** 2;
      }
      const rms = Math.sqrt(error / power);
      assert.ok(rms < PRODUCT_RMS, `K ${K}, M ${M}: relative RMS ${rms}`);
      assert.ok(rms > 1e-9, 'an error of zero would mean that nothing was compared');
    }
  }
});

testBuilds('sums are taken in blocks of 32: the bits are those of the written order', () => {
  const K = 300;
  const c: Case = { dtype: 'f32', M: 13, N: 9, K, bias: true };
  const r = run(c, 11);
  const written = (term: (sum: number, a: number, w: number) => number) =>
    Float32Array.from({ length: 13 * 9 }, (_, i) => {
      let total = 0;
      for (let k0 = 0; k0 < K; k0 += 32) {
        let sum = 0;
        for (let k = k0; k < Math.min(K, k0 + 32); k++) {
          sum = term(sum, r.a[Math.floor(i / 9) * K + k]!, r.w.values[(i % 9) * K + k]!);
        }
        total = Math.fround(total + sum);
      }
      return total + r.bias![i % 9]!;
    });
  const twice = written((sum, a, w) => Math.fround(sum + Math.fround(a * w)));
  // A product of two float32 is exact in float64. The relaxed instruction may fuse or not, but always the same way.
  const fused = written((sum, a, w) => Math.fround(sum + a * w));
  const want = isRelaxed() && r.out[0] === fused[0] ? fused : twice;
  sameBits(r.out, want, 'the written order');
});

testBuilds('infinities and NaN in a row stay in that row, in weights in that column', () => {
  for (const dtype of DTYPES) {
    for (const M of [1, 5]) {
      reset();
      const [N, K] = [17, 140];
      const a = new Float32Array(M * K).fill(1);
      a[(M - 1) * K + 130] = Number.POSITIVE_INFINITY;
      const values = new Float32Array(N * K).fill(1);
      values[3 * K + 5] = Number.NaN;
      values[16 * K + 130] = Number.NEGATIVE_INFINITY;
      const out = area(M * N);
      gemmOf(dtype)(
        out.ptr,
        floats(a).ptr,
        panels(dtype, stored(dtype, values), N, K).ptr,
        0,
        M,
        N,
        K,
        K,
        K,
        N,
        0,
      );
      for (let i = 0; i < M * N; i++) {
        const special = Math.floor(i / N) === M - 1;
        const want = special ? Number.POSITIVE_INFINITY : K;
        const expected = [want, Number.NaN, special ? Number.NEGATIVE_INFINITY : Number.NEGATIVE_INFINITY];
        const column = i % N;
        assert.equal(
          out.f32[i],
          expected[column === 3 ? 1 : column === 16 ? 2 : 0],
          `${dtype}, M ${M}, element ${i}`,
        );
      }
    }
  }
});

test.run();
