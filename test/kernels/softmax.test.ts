import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SOFTMAX_ULPS } from '../tolerance.js';
import { checkGuards, floats, kernels, normals, reset, sameBits, testBuilds, ulps } from './harness.js';

function run(x: Float32Array, rows: number, n: number, ld: number): Float32Array {
  reset();
  const data = floats(x);
  kernels.f32_softmax(data.ptr, rows, n, ld);
  checkGuards(`rows ${rows}, n ${n}, ld ${ld}`);
  return data.f32.slice();
}

/** In float64 over the float32 differences x − max, which the kernel forms too. */
function reference(x: Float32Array): number[] {
  const top = x.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const e = Array.from(x, (v) => Math.exp(Math.fround(v - top)));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / sum);
}

testBuilds(
  `softmax: at most ${SOFTMAX_ULPS} ulp from float64, every remainder, strides larger than the row`,
  () => {
    let worst = 0;
    let cases = 0;
    for (const n of [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 127, 128, 129, 1024, 1031]) {
      for (const ld of [n, n + 7]) {
        for (const scale of [1, 30]) {
          const rows = 5;
          const x = normals(rows * ld, n + ld, scale);
          const out = run(x, rows, n, ld);
          for (let r = 0; r < rows; r++) {
            const want = reference(x.slice(r * ld, r * ld + n));
            want.forEach((truth, i) => {
              const error = ulps(out[r * ld + i]!, truth);
              if (error > worst) worst = error;
              assert.ok(
                error <= SOFTMAX_ULPS,
                `n ${n}, row ${r}, ${i}: expected ${truth}, got ${out[r * ld + i]}`,
              );
              cases++;
            });
            sameBits(
              out.slice(r * ld + n, (r + 1) * ld),
              x.slice(r * ld + n, (r + 1) * ld),
              'behind the row',
            );
          }
        }
      }
    }
    assert.ok(cases > 10000 && worst > 0, 'no case ran');
    if (process.env.SHOW_ERRORS) console.log('softmax worst', worst);
  },
);

testBuilds(
  `exp within softmax: at most ${SOFTMAX_ULPS} ulp from 0 down to the last subnormal, then 0`,
  () => {
    // A row of two, the larger 0: the smaller one's probability is e^x / (1 + e^x).
    let worst = 0;
    for (let i = 0; i <= 106000; i++) {
      const x = Math.fround(-i / 1000);
      const got =
        i % 5 === 0 ? run(Float32Array.of(0, x), 1, 2, 2)[1]! : run(Float32Array.of(x, 0), 1, 2, 2)[0]!;
      const error = ulps(got, Math.exp(x) / (1 + Math.exp(x)));
      if (error > worst) worst = error;
      assert.ok(error <= SOFTMAX_ULPS, `${x}: expected ${Math.exp(x) / (1 + Math.exp(x))}, got ${got}`);
    }
    if (process.env.SHOW_ERRORS) console.log('exp worst', worst);
    assert.is(run(Float32Array.of(-110, 0), 1, 2, 2)[0], 0);
  },
);

testBuilds('softmax: masked values are exactly 0, large values do not overflow, NaN stays in its row', () => {
  const inf = Number.NEGATIVE_INFINITY;
  const out = run(Float32Array.of(inf, 3, 3, inf, inf, 3e38, -3e38, inf, 3e38, inf), 2, 5, 5);
  assert.equal([...out], [0, 0.5, 0.5, 0, 0, 0.5, 0, 0, 0.5, 0]);
  const nan = run(Float32Array.of(1, 1, 1, 1, 1, Number.NaN, 2, 2, 2, 2), 2, 5, 5);
  assert.ok(nan.slice(0, 5).every((v) => v === Math.fround(0.2)));
  assert.ok(nan.slice(5).every(Number.isNaN));
});

testBuilds(
  'softmax: a row has the same bits alone and among others, and adding masked values changes none',
  () => {
    const n = 53;
    const x = normals(9 * n, 6, 4);
    const all = run(x, 9, n, n);
    for (let r = 0; r < 9; r++) {
      const row = x.slice(r * n, (r + 1) * n);
      sameBits(run(row, 1, n, n), all.slice(r * n, (r + 1) * n), `row ${r}`);
      const longer = new Float32Array(n + 6).fill(Number.NEGATIVE_INFINITY);
      longer.set(row);
      sameBits(
        run(longer, 1, n + 6, n + 6).slice(0, n),
        all.slice(r * n, (r + 1) * n),
        `row ${r} with masked values`,
      );
    }
  },
);

test.run();
