/** Attention over smoothed pages: int8 keys and values less their means, the 7-bit dot product. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DOT_FORM_PAIRS, DOT_FORM_QUADS } from '../../src/runtime/dot-form.js';
import {
  SMOOTH_EXP_RELATIVE,
  SMOOTH_NMSE,
  SMOOTH_QUERY_NOISE,
  SMOOTH_QUERY_STEP,
  SMOOTH_STEP,
  SMOOTH_UNIT,
} from '../tolerance.js';
import { area, ints, kernels, normals, reset, sameBits, testRelaxed } from './harness.js';
import { attention64, type Case, type Inputs, inputs, nmse, PAGE, run, stored } from './smooth-pages.js';

const EPS = 2 ** -24;

/**
 * Compares with float64 over the stored keys and values: what is left is the rounding of q, of the probabilities, and of float32.
 * Returns how many values were compared, and how many rows and pages were in how many bits.
 */
function compare(c: Case, data: Inputs): { compared: number; bits: Set<string> } {
  const { rows, keys, headDim, causalStart = -1, scale = headDim ** -0.5 } = c;
  const { out, probs, ldp, pages } = run(c, data);
  const kv = stored(pages, keys, headDim);
  const label = JSON.stringify(c);
  const bits = new Set<string>();
  let compared = 0;
  for (let r = 0; r < rows; r++) {
    const n = causalStart < 0 ? keys : Math.min(keys, causalStart + r + 1);
    // A group of 60 rows passes by the pages that its last row sees.
    const last = Math.min(rows, (Math.floor(r / 60) + 1) * 60) - 1;
    const groupKeys = causalStart < 0 ? keys : Math.min(keys, causalStart + last + 1);
    const q = Array.from(data.q.slice(r * headDim, (r + 1) * headDim));
    const largest = Math.max(...q.map(Math.abs));
    const noise = ((largest / 63) * kv.keySize * scale * Math.LOG2E) / Math.sqrt(12);
    const isFine = noise > SMOOTH_QUERY_NOISE * 1.001;
    bits.add(isFine ? 'queries 14' : 'queries 7');
    const step = largest * SMOOTH_QUERY_STEP[isFine ? 'fine' : 'coarse'];
    let error = 0;
    const scores = Array.from({ length: n }, (_, j) => {
      const key = kv.k.subarray(j * headDim, (j + 1) * headDim);
      const size = key.reduce((sum, x) => sum + Math.abs(x), 0);
      error = Math.max(error, scale * size * (step + 8 * EPS * largest));
      return scale * q.reduce((total, x, d) => total + x * key[d]!, 0);
    });
    const top = n ? Math.max(...scores) : 0;
    const e = scores.map((s) => Math.exp(s - top));
    const relative =
      Math.expm1(2 * error + 8 * EPS * (1 + Math.max(...scores.map(Math.abs)))) + SMOOTH_EXP_RELATIVE;
    const steps = pageSteps(e, groupKeys, relative, bits);
    const total = e.reduce((a, b) => a + b, 0);
    const all = steps.reduce((a, b) => a + b, 0);
    // The sum that divides is of the rounded ones.
    const share = (relative * total + all) / total;
    for (let j = 0; j < n; j++) {
      const want = e[j]! / total;
      const bound = (relative * want + steps[j]! / total + share * want) * (1 + share) * 1.01 + 1e-30;
      const got = probs![r * ldp + j]!;
      assert.ok(Math.abs(got - want) <= bound, `${label}: p[${r}][${j}] ${want}, got ${got}, bound ${bound}`);
      compared++;
    }
    for (let j = n; j < ldp; j++) assert.is(probs![r * ldp + j], 0, `${label}: p[${r}][${j}]`);
    for (let d = 0; d < headDim; d++) {
      let sum = 0;
      let exact = 0;
      let size = 0;
      for (let j = 0; j < n; j++) {
        const used = probs![r * ldp + j]!;
        sum += used * kv.v[j * headDim + d]!;
        exact += (e[j]! / total) * kv.v[j * headDim + d]!;
        size += Math.abs(used * kv.v[j * headDim + d]!);
      }
      const mean = n ? kv.means[d]! : 0;
      const got = out[r * headDim + d]!;
      // With the probabilities as they were used only float32 is left: a factor, a scale and an addition for each page, the mean.
      const bound = (6 + pages.length) * EPS * (size + Math.abs(mean)) + 1e-30;
      assert.ok(
        Math.abs(got - sum - mean) <= bound,
        `${label}: out[${r}][${d}] ${sum + mean}, got ${got}, bound ${bound}`,
      );
      const largestValue = Math.max(
        0,
        ...Array.from({ length: n }, (_, j) => Math.abs(kv.v[j * headDim + d]!)),
      );
      const most = (2 * relative + (2 * all) / (total || 1)) * largestValue * 1.1 + bound;
      assert.ok(
        Math.abs(got - exact - mean) <= most,
        `${label}: out[${r}][${d}] ${exact + mean}, got ${got}`,
      );
      compared += 2;
    }
  }
  return { compared, bits };
}

/** Half a step of each key's probability, all in parts of the row's largest. */
function pageSteps(e: number[], groupKeys: number, relative: number, bits: Set<string>): number[] {
  const total = e.reduce((a, b) => a + b, 0);
  const pages = Math.ceil(groupKeys / PAGE);
  const limit = (SMOOTH_UNIT / pages) * Math.max(1, total ** 2 / groupKeys);
  return e.map((_, j) => {
    const page = e.slice(j & ~(PAGE - 1), (j & ~(PAGE - 1)) + PAGE);
    const unit = Math.max(...page);
    // Near the limit either is right.
    const isCoarse = unit ** 2 <= limit * (1 + 4 * relative + 0.01);
    bits.add(isCoarse ? 'probabilities 7' : 'probabilities 14');
    return unit * (1 + relative) * SMOOTH_STEP[isCoarse ? 'coarse' : 'fine'];
  });
}

const SHAPES: readonly (readonly [number, number, number, number])[] = [
  [1, 1, 8, -1],
  [1, 300, 64, -1],
  [2, 15, 64, -1],
  [3, 141, 64, -1],
  [4, 16, 3, -1],
  [5, 17, 1, -1],
  [7, 129, 9, -1],
  [13, 7, 5, -1],
  [6, 128, 128, -1],
  [11, 127, 72, -1],
  [61, 257, 16, -1],
  [2, 20, 72, 18],
  [35, 261, 18, 226],
  [130, 130, 16, 0],
  [9, 0, 16, -1],
];

testRelaxed(
  'smoothed pages: float64 over the stored values within the documented steps, every remainder',
  () => {
    let compared = 0;
    const bits = new Set<string>();
    for (const [rows, keys, headDim, causalStart] of SHAPES) {
      const c = { rows, keys, headDim, causalStart };
      for (const size of [0.3, 2, 8]) {
        const seen = compare(c, inputs(c, size));
        compared += seen.compared;
        for (const one of seen.bits) bits.add(one);
      }
    }
    const flat = { rows: 3, keys: 20, headDim: 8, scale: 0 };
    compared += compare(flat, inputs(flat)).compared;
    assert.ok(compared > 50000, `${compared} compared`);
    assert.equal([...bits].sort(), ['probabilities 14', 'probabilities 7', 'queries 14', 'queries 7']);
  },
);

testRelaxed(
  'smoothed pages: nothing overflows where every term is as large as it can be, in both forms',
  () => {
    for (const form of [DOT_FORM_QUADS, DOT_FORM_PAIRS]) {
      kernels.set_dot_form(form);
      for (const headDim of [4, 64, 128]) {
        const c = { rows: 7, keys: 256, headDim };
        const { q, k, v } = inputs(c);
        for (const size of [0.001, 3, 40]) {
          for (const sign of [1, -1]) {
            // All channels of a key at ±127, all of a query at the largest, keys of one page against those of the other.
            k.fill(sign, 0, PAGE * headDim).fill(-sign, PAGE * headDim);
            v.fill(7 * sign, 0, PAGE * headDim).fill(-7 * sign, PAGE * headDim);
            compare(c, { q: q.fill(size), k, v });
            compare({ ...c, scale: 0 }, { q, k, v });
          }
        }
      }
    }
  },
);

testRelaxed(
  'smoothed pages: the normalised squared error against float64 of the keys and values themselves',
  () => {
    for (const keys of [200, 1024]) {
      const c = { rows: 12, keys, headDim: 64 };
      const sharpness = [0.3, 1, 3, 6].map((size) => inputs(c, size, 11));
      const common = (data: Inputs, keysBy: number, queriesBy: number): Inputs => ({
        q: data.q.map((x, i) => x + ((i % 64) % 17 === 3 ? queriesBy : 0)),
        k: data.k.map((x, i) => x + ((i % 64) % 17 === 3 ? keysBy : 0)),
        v: data.v,
      });
      const [, normal] = sharpness;
      const cases = [...sharpness, common(normal!, 12, 0), common(normal!, 0, 8), common(normal!, 12, 6)];
      for (const [i, data] of cases.entries()) {
        const error = nmse(run(c, data).out, attention64(c, data));
        assert.ok(error <= SMOOTH_NMSE, `case ${i}, ${keys} keys: ${error}`);
        assert.ok(error > 1e-6, `case ${i}: int8 cannot be so exact: ${error}`);
      }
    }
  },
);

testRelaxed(
  'smoothed pages: a vector added to all keys changes next to nothing, one added to all values adds itself',
  () => {
    const c = { rows: 9, keys: 300, headDim: 32 };
    const data = inputs(c);
    const before = run(c, data).out;
    const shift = normals(32, 5, 64).map(Math.round);
    const k = data.k.map((x, i) => x + shift[i % 32]!);
    const v = data.v.map((x, i) => x + shift[i % 32]!);
    // Differences below are those of the same integers but for roundings of k − mean, whose size is the shift's.
    const same = run(c, { ...data, k }).out;
    assert.ok(nmse(same, before) < 1e-5, `keys: ${nmse(same, before)}`);
    const moved = run(c, { ...data, v }).out.map((x, i) => x - shift[i % 32]!);
    assert.ok(nmse(moved, before) < 1e-5, `values: ${nmse(moved, before)}`);
  },
);

testRelaxed(
  'smoothed pages: each key and value within half a step of itself less the mean, sums and sizes right',
  () => {
    const [keys, headDim] = [133, 11];
    const c = { rows: 1, keys, headDim };
    const data = inputs(c, 1, 21);
    data.k.fill(0, 5 * headDim, 6 * headDim);
    data.k = data.k.map((x, i) => x + (i % headDim));
    data.v = data.v.map((x, i) => x - 3 * (i % headDim));
    for (const indexed of [false, true]) {
      const kv = stored(run(c, data, false, indexed).pages, keys, headDim);
      const mean = (x: Float32Array, d: number) => {
        let sum = 0;
        for (let j = 0; j < keys; j++) sum += x[j * headDim + d]!;
        return sum / keys;
      };
      let squares = 0;
      for (let d = 0; d < headDim; d++)
        assert.ok(
          Math.abs(kv.means[d]! - mean(data.v, d)) <= 1e-5 * (1 + 3 * d),
          `mean of value channel ${d}`,
        );
      for (let j = 0; j < keys; j++) {
        let sum = 0;
        let largest = 0;
        for (let d = 0; d < headDim; d++) {
          const at = j * headDim + d;
          const key = data.k[at]! - mean(data.k, d);
          squares += key ** 2;
          largest = Math.max(largest, Math.abs(key));
          sum += Math.round(kv.k[at]! / kv.keyScales[j]!);
          const value = data.v[at]! - mean(data.v, d);
          const off = [kv.k[at]! - key, kv.v[at]! - value];
          assert.ok(Math.abs(off[0]!) <= kv.keyScales[j]! * 0.502, `key ${j}, ${d}: off by ${off[0]}`);
          const step = kv.valueScales[j >> 7]![d]!;
          assert.ok(Math.abs(off[1]!) <= step * 0.502, `value ${j}, ${d}: off by ${off[1]}`);
        }
        assert.ok(Math.abs(kv.keyScales[j]! * 127 - largest) <= 1e-5 * largest + 1e-5, `scale of key ${j}`);
        assert.is(kv.starts[j], -64 * sum, `sum of key ${j}`);
      }
      assert.ok(Math.abs(kv.keySize / Math.sqrt(squares / keys) - 1) < 1e-5, `size ${kv.keySize}`);
    }
  },
);

testRelaxed(
  'smoothed pages: each row has the same bits alone, in any company, watched or not, in both forms',
  () => {
    const c = { rows: 75, keys: 300, headDim: 18 };
    const data = inputs(c);
    // Rows of 7 and of 14 bits, of peaked and flat probabilities side by side.
    const q = data.q.map((x, i) => x * [0.2, 1, 6, 0, 20][Math.floor(i / 18) % 5]!);
    kernels.set_dot_form(DOT_FORM_QUADS);
    const all = run(c, { ...data, q });
    kernels.set_dot_form(DOT_FORM_PAIRS);
    sameBits(run(c, { ...data, q }).out, all.out, 'the other form');
    sameBits(run(c, { ...data, q }, false).out, all.out, 'the other form, not watched');
    kernels.set_dot_form(DOT_FORM_QUADS);
    sameBits(run(c, { ...data, q }, false).out, all.out, 'not watched');
    sameBits(run(c, { ...data, q }, true, true).out, all.out, 'keys through indices');
    for (const count of [1, 2, 3, 4, 5, 7, 60, 64]) {
      for (let r = 0; r + count <= 75; r += count < 8 ? 17 : 11) {
        const part = { ...data, q: q.slice(r * 18, (r + count) * 18) };
        const alone = run({ ...c, rows: count }, part);
        sameBits(alone.out, all.out.slice(r * 18, (r + count) * 18), `rows ${r} … ${r + count - 1}`);
        const strip = all.probs!.slice(r * all.ldp, (r + count) * all.ldp);
        sameBits(alone.probs!, strip, `probabilities of rows ${r} … ${r + count - 1}`);
      }
    }
  },
);

testRelaxed(
  'smoothed pages: what is not finite in a query stays in its row, in a value in its channel, in a key nowhere',
  () => {
    const c = { rows: 9, keys: 140, headDim: 12 };
    const finite = (out: Float32Array) => Array.from(out, (x) => Number.isFinite(x));
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const clean = inputs(c);
      const before = run(c, clean).out;
      const q = clean.q.slice();
      q[3 * 12 + 5] = bad;
      const { out } = run(c, { ...clean, q });
      for (let r = 0; r < 9; r++) {
        const row = out.slice(12 * r, 12 * r + 12);
        if (r === 3) assert.ok(row.every(Number.isNaN), `${bad} in the query: ${row}`);
        else sameBits(row, before.slice(12 * r, 12 * r + 12), `row ${r} beside a query of ${bad}`);
      }
      const k = clean.k.slice();
      k[130 * 12] = bad;
      assert.ok(run(c, { ...clean, k }).out.every(Number.isNaN), `${bad} in a key`);
      const v = clean.v.slice();
      v[7 * 12 + 2] = bad;
      const want = Array.from({ length: 9 * 12 }, (_, i) => i % 12 !== 2);
      assert.equal(finite(run(c, { ...clean, v }).out), want, `${bad} in a value`);
    }
    const huge = inputs(c);
    const { out } = run(c, { ...huge, q: huge.q.fill(3e38), k: huge.k.map((x) => x * 1e30) });
    assert.ok(out.every(Number.isNaN), 'scores beyond float32');
  },
);

testRelaxed(
  'smoothed pages: keys and queries from 1e-30 to 1e30, values from 1e-35 to 1e36 are taken as they are',
  () => {
    const c = { rows: 4, keys: 40, headDim: 8 };
    const data = inputs(c);
    for (const size of [1e36, 1e-35]) {
      const v = data.v.map((x) => x * size);
      const error = nmse(run(c, { ...data, v }).out, attention64(c, { ...data, v }));
      assert.ok(error <= SMOOTH_NMSE, `values of ${size}: ${error}`);
    }
    for (const size of [1e30, 1e-30]) {
      const moved = { ...data, k: data.k.map((x) => x * size), q: data.q.map((x) => x / size) };
      const error = nmse(run(c, moved).out, attention64(c, moved));
      assert.ok(error <= SMOOTH_NMSE, `keys of ${size}: ${error}`);
    }
    const zeros = run(c, { ...data, k: data.k.map(() => 5), v: data.v.map(() => -2) });
    assert.ok(
      zeros.out.every((x) => x === -2),
      `keys and values all alike: ${zeros.out}`,
    );
  },
);

testRelaxed('smoothed pages: keys that are added later are refused', () => {
  reset();
  const [table, rows] = [ints([area(4000).ptr]).ptr, area(64).ptr];
  assert.throws(() => kernels.s8_kv_write(table, rows, rows, 0, 1, 1, 8, 8, 8, 1, 1), /unreachable/);
});

test('smoothed pages: the plain build has none', () => {
  reset();
  const [table, rows] = [ints([area(4000).ptr]).ptr, area(64).ptr];
  assert.throws(() => kernels.s8_kv_write(table, rows, rows, 0, 1, 0, 8, 8, 8, 1, 1), /unreachable/);
  for (const name of ['f32_s8kv_attention', 'f32_s8kv_attention_probs'] as const) {
    assert.throws(() => kernels[name](rows, rows, table, rows, 1, 1, -1, 8, 8, 8, 1, 1, 1), /unreachable/);
  }
});

test.run();
