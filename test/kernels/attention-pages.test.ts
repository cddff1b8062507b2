import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PAGE_KERNELS, type PageDtype, pageBytes } from '../../src/runtime/pages.js';
import { INT_EXP_RELATIVE, productBound, QUANTISED_KEY_STEP } from '../tolerance.js';
import {
  area,
  checkGuards,
  floats,
  ints,
  isRelaxed,
  kernels,
  memory,
  normals,
  reset,
  sameBits,
  testBuilds,
} from './harness.js';

const PAGE = 128;

interface Case {
  dtype: PageDtype;
  rows: number;
  keys: number;
  headDim: number;
  causalStart: number;
  scale?: number;
}

interface Inputs {
  q: Float32Array;
  k: Float32Array;
  v: Float32Array;
}

const inputs = ({ rows, keys, headDim }: Case, seed = 1, size = 1): Inputs => ({
  q: normals(rows * headDim, seed, size),
  k: normals(keys * headDim, seed + 1, size),
  v: normals(keys * headDim, seed + 2),
});

/** Pages full of NaN (or of −1 in integers), out of order, keys written in two parts. */
function run(c: Case, { q, k, v }: Inputs) {
  reset();
  const { dtype, rows, keys, headDim } = c;
  const words = pageBytes(headDim, dtype) / 4;
  const pages = Array.from({ length: Math.ceil(keys / PAGE) }, () => area(words)).reverse();
  for (const page of pages) page.i32.fill(-1);
  const table = ints(pages.map(({ ptr }) => ptr)).ptr;
  const write = kernels[PAGE_KERNELS[dtype].write];
  const [kp, vp] = [floats(k).ptr, floats(v).ptr];
  const first = Math.floor(keys / 3);
  write(table, kp, vp, 0, first, 0, headDim, headDim, headDim, 1, 0);
  const rest = ints(Array.from({ length: keys - first }, (_, j) => first + j));
  write(table, kp, vp, rest.ptr, keys - first, first, headDim, headDim, headDim, 1, 0);
  checkGuards(`written: ${JSON.stringify(c)}`);
  const ldp = Math.ceil(keys / PAGE) * PAGE;
  const out = area(rows * headDim);
  const probs = area(rows * ldp);
  const scale = c.scale ?? headDim ** -0.5;
  kernels[PAGE_KERNELS[dtype].attention](
    out.ptr,
    floats(q).ptr,
    table,
    probs.ptr,
    rows,
    keys,
    c.causalStart,
    headDim,
    headDim,
    headDim,
    scale,
    1,
    0,
  );
  checkGuards(JSON.stringify(c));
  return { out: out.f32.slice(), probs: probs.f32.slice(), ldp, pages: pages.map(({ ptr }) => ptr) };
}

/** The nearest bfloat16, ties to even, by comparing both neighbours. */
function toBf16(value: number): number {
  const word = new Uint32Array(1);
  const float = new Float32Array(word.buffer);
  float[0] = value;
  const low = word[0]! & 0xffff0000;
  const neighbours = [low, low + 0x10000].map((bits) => {
    word[0] = bits;
    return float[0]!;
  });
  const [below, above] = neighbours.map((x) => Math.abs(x - value));
  if (below !== above) return below! < above! ? neighbours[0]! : neighbours[1]!;
  return low & 0x10000 ? neighbours[1]! : neighbours[0]!;
}

const SHAPES = [
  [1, 1, 8, -1],
  [1, 300, 64, -1],
  [3, 141, 64, -1],
  [7, 129, 9, -1],
  [2, 20, 72, 18],
  [35, 261, 18, 226],
  [13, 7, 5, -1],
  [1, 133, 140, -1],
  [9, 133, 140, -1],
  [70, 70, 16, 0],
  [9, 0, 16, -1],
] as const;

testBuilds('bfloat16 pages: the bits of float32 pages of the rounded keys and values', () => {
  for (const [rows, keys, headDim, causalStart] of SHAPES) {
    const c: Case = { dtype: 'bfloat16', rows, keys, headDim, causalStart };
    const data = inputs(c);
    const got = run(c, data);
    const rounded = { ...data, k: data.k.map(toBf16), v: data.v.map(toBf16) };
    const want = run({ ...c, dtype: 'float32' }, rounded);
    sameBits(got.out, want.out, JSON.stringify(c));
    for (let r = 0; r < rows; r++) {
      const seen = r * got.ldp + Math.ceil(keys / 8) * 8;
      sameBits(
        got.probs.slice(r * got.ldp, seen),
        want.probs.slice(r * got.ldp, seen),
        `${JSON.stringify(c)} probabilities`,
      );
    }
  }
});

test('bfloat16 pages: ties go to even, the largest to infinity, NaN stays NaN', () => {
  const values = [1 + 2 ** -8, 1 + 3 * 2 ** -8, -(1 + 2 ** -8), 3.4028234e38, Number.NaN, -0, 1e-40, -1];
  const c: Case = { dtype: 'bfloat16', rows: 1, keys: 1, headDim: 8, causalStart: -1 };
  const { pages } = run(c, { q: new Float32Array(8), k: Float32Array.from(values), v: new Float32Array(8) });
  const stored = new Uint16Array(memory.buffer, pages[0]!, 64).filter((_, i) => i % 8 === 0);
  assert.equal([...stored.slice(0, 4)], [0x3f80, 0x3f82, 0xbf80, 0x7f80]);
  assert.ok((stored[4]! & 0x7fff) > 0x7f80, 'NaN');
  assert.equal([...stored.slice(5)], [0x8000, 0x0001, 0xbf80]);
});

type IntDtype = 'int8' | 'int16';

/** Keys and values as float64, read from the pages by the documented layout. */
function stored(dtype: IntDtype, pages: number[], keys: number, headDim: number) {
  const pairs = Math.ceil(headDim / 2);
  const channels = Math.ceil(headDim / 8) * 8;
  const k = new Float64Array(keys * headDim);
  const v = new Float64Array(keys * headDim);
  const scales = { k: new Float64Array(keys), v: new Float64Array(keys) };
  for (let j = 0; j < keys; j++) {
    const count = PAGE * (2 * pairs + channels);
    const page = pages[j >> 7]!;
    const values =
      dtype === 'int8'
        ? new Int8Array(memory.buffer, page, count)
        : new Int16Array(memory.buffer, page, count);
    const factors = new Float32Array(memory.buffer, page + count * values.BYTES_PER_ELEMENT, 2 * PAGE);
    const slot = j & 127;
    scales.k[j] = factors[slot]!;
    scales.v[j] = factors[PAGE + slot]!;
    for (let d = 0; d < headDim; d++) {
      k[j * headDim + d] =
        scales.k[j]! * values[(((slot >> 3) * pairs + (d >> 1)) * 8 + (slot & 7)) * 2 + (d & 1)]!;
      v[j * headDim + d] =
        scales.v[j]! *
        values[PAGE * 2 * pairs + ((d >> 3) * 64 + (slot >> 1)) * 16 + (d & 7) * 2 + (slot & 1)]!;
    }
  }
  return { k, v, scales };
}

/** Compares with float64 over the stored keys and values: what is left is the rounding of q and of the probabilities. */
function compare(c: Case & { dtype: IntDtype }, data: Inputs): number {
  const { rows, keys, headDim, dtype } = c;
  const { out, probs, ldp, pages } = run(c, data);
  const kv = stored(dtype, pages, keys, headDim);
  const label = JSON.stringify(c);
  const scale = c.scale ?? headDim ** -0.5;
  let compared = 0;
  for (let r = 0; r < rows; r++) {
    const n = c.causalStart < 0 ? keys : Math.min(keys, c.causalStart + r + 1);
    const q = Array.from(data.q.slice(r * headDim, (r + 1) * headDim));
    const norm = Math.hypot(...q);
    let error = 0;
    const scores = Array.from({ length: n }, (_, j) => {
      const key = kv.k.subarray(j * headDim, (j + 1) * headDim);
      const size = key.reduce((sum, x) => sum + Math.abs(x), 0);
      const sum = q.reduce((total, x, d) => total + x * key[d]!, 0);
      error = Math.max(error, scale * (size * norm * QUANTISED_KEY_STEP + 4 * 2 ** -24 * norm * size));
      return scale * sum;
    });
    const top = n ? Math.max(...scores) : 0;
    const e = scores.map((s) => Math.exp(s - top));
    const total = e.reduce((a, b) => a + b, 0);
    const spread = n ? top - Math.min(...scores) : 0;
    // Two scores and their difference enter; the exponential of float32 differences follows.
    const relative = Math.expm1(2 * error + 4 * 2 ** -24 * (1 + Math.abs(top) + spread)) + INT_EXP_RELATIVE;
    const p = e.map((x) => x / total);
    p.forEach((value, j) => {
      const got = probs[r * ldp + j]!;
      assert.ok(
        Math.abs(got - value) <= relative * value + 1e-30,
        `${label}: p[${r}][${j}] expected ${value}, got ${got}, bound ${relative * value}`,
      );
      compared++;
    });
    for (let j = n; j < Math.ceil(keys / 8) * 8; j++)
      assert.is(probs[r * ldp + j], 0, `${label}: p[${r}][${j}]`);
    const step = pageSteps(dtype, p, kv.scales.v);
    const limit = dtype === 'int8' ? 127 : 32767;
    for (let d = 0; d < headDim; d++) {
      let sum = 0;
      let terms = 0;
      p.forEach((value, j) => {
        sum += value * kv.v[j * headDim + d]!;
        terms += Math.abs(value * kv.v[j * headDim + d]!);
      });
      const bound = (relative + productBound(n)) * terms + 1.01 * step * limit + 1e-30;
      const got = out[r * headDim + d]!;
      assert.ok(
        Math.abs(got - sum) <= bound,
        `${label}: out[${r}][${d}] expected ${sum}, got ${got}, bound ${bound}`,
      );
      compared++;
    }
  }
  return compared;
}

/** Half a step of each page's integer probabilities, over all its keys. */
function pageSteps(dtype: IntDtype, p: number[], scales: Float64Array): number {
  let all = 0;
  for (let first = 0; first < p.length; first += PAGE) {
    const page = p.slice(first, first + PAGE).map((x, i) => x * scales[first + i]!);
    const sum = page.reduce((a, b) => a + b, 0);
    const largest = Math.max(...page);
    all += (page.length / 2) * Math.max(largest / 32767, dtype === 'int16' ? sum / 65471 : 0);
  }
  return all;
}

for (const dtype of ['int8', 'int16'] as const) {
  testBuilds(
    `${dtype} pages: float64 over the stored values within the documented steps, every remainder`,
    () => {
      let compared = 0;
      for (const [rows, keys, headDim, causalStart] of SHAPES) {
        const c = { dtype, rows, keys, headDim, causalStart };
        for (const size of [0.3, 2]) compared += compare(c, inputs(c, 1, size));
      }
      compared += compare(
        { dtype, rows: 3, keys: 20, headDim: 8, causalStart: -1, scale: 0 },
        inputs({ dtype, rows: 3, keys: 20, headDim: 8, causalStart: -1 }),
      );
      assert.ok(compared > 10000, `${compared} compared`);
    },
  );

  testBuilds(`${dtype} pages: nothing overflows where every term is as large as it can be`, () => {
    for (const headDim of [2, 64, 128]) {
      const c = { dtype, rows: 5, keys: 256, headDim, causalStart: -1 };
      const { q, k, v } = inputs(c);
      for (const sign of [1, -1]) {
        compare(c, { q: q.fill(3), k: k.fill(3 * sign), v: v.fill(-7 * sign) });
        // One channel has all of the norm, one key all of the probability.
        const one = (x: Float32Array, value: number) => x.map((_, i) => (i % headDim === 0 ? value : 0));
        compare(c, { q: one(q, 9), k: one(k, sign), v: one(v, 5) });
        k.fill(0, headDim);
        compare(c, { q, k, v });
      }
    }
  });

  test(`${dtype} pages: each key and value within half a step of its own`, () => {
    const [keys, headDim] = [133, 11];
    const c = { dtype, rows: 1, keys, headDim, causalStart: -1 };
    const data = inputs(c);
    data.k.fill(0, 5 * headDim, 6 * headDim);
    const { pages } = run(c, data);
    const kv = stored(dtype, pages, keys, headDim);
    const limit = dtype === 'int8' ? 127 : 32767;
    for (let j = 0; j < keys; j++) {
      const [k, v] = [data.k, data.v].map((x) => Array.from(x.slice(j * headDim, (j + 1) * headDim)));
      const size = dtype === 'int8' ? Math.max(...k!.map(Math.abs)) : Math.hypot(...k!);
      assert.ok(Math.abs(kv.scales.k[j]! - size / limit) <= (size / limit) * 2 ** -21, `scale of key ${j}`);
      const largest = Math.max(...v!.map(Math.abs)) / limit;
      assert.ok(Math.abs(kv.scales.v[j]! - largest) <= largest * 2 ** -22, `scale of value ${j}`);
      for (let d = 0; d < headDim; d++) {
        const [a, b] = [kv.k[j * headDim + d]! - k![d]!, kv.v[j * headDim + d]! - v![d]!];
        assert.ok(Math.abs(a) <= kv.scales.k[j]! * 0.502, `key ${j}, ${d}: off by ${a}`);
        assert.ok(Math.abs(b) <= kv.scales.v[j]! * 0.502, `value ${j}, ${d}: off by ${b}`);
      }
    }
  });

  testBuilds(
    `${dtype} pages: each causal row has the same bits alone, with only the keys that it sees`,
    () => {
      const c: Case = { dtype, rows: 141, keys: 141, headDim: 18, causalStart: 0 };
      const data = inputs(c);
      const all = run(c, data).out;
      for (const r of [0, 1, 7, 8, 30, 31, 32, 126, 127, 128, 129, 140]) {
        const seen = (r + 1) * 18;
        const part = { q: data.q.slice(r * 18, seen), k: data.k.slice(0, seen), v: data.v.slice(0, seen) };
        const alone = run({ ...c, rows: 1, keys: r + 1, causalStart: -1 }, part).out;
        sameBits(alone, all.slice(r * 18, seen), `row ${r}`);
      }
    },
  );

  testBuilds(
    `${dtype} pages: NaN and ±Infinity in a query are NaN in its row, in a key or a value in the rows that see it`,
    () => {
      const c: Case = { dtype, rows: 6, keys: 6, headDim: 8, causalStart: 0 };
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        for (const where of ['k', 'v'] as const) {
          const data = inputs(c);
          data.q[8 + 3] = bad;
          data[where][4 * 8 + 1] = bad;
          const { out } = run(c, data);
          for (let r = 0; r < 6; r++) {
            const row = out.slice(8 * r, 8 * r + 8);
            const want = r === 1 || r >= 4;
            assert.ok(
              row.every((x) => Number.isNaN(x) === want),
              `${bad} in ${where}, row ${r}: ${row}`,
            );
          }
        }
      }
    },
  );
}

/** Those that the build tested now has. */
function pageDtypes(): PageDtype[] {
  const all = Object.keys(PAGE_KERNELS) as PageDtype[];
  return isRelaxed() ? all : all.filter((dtype) => dtype !== 'smooth8');
}

testBuilds(
  'attention of 3 heads in one call: the bits of three calls, in every dtype, 1 and 3 rows each',
  () => {
    for (const dtype of pageDtypes()) {
      for (const rows of [1, 3]) {
        const [heads, keys, headDim, pageCount] = [3, 150, 24, 2];
        reset();
        const pages = Array.from({ length: heads * pageCount }, () => area(pageBytes(headDim, dtype) / 4));
        const table = ints(pages.map(({ ptr }) => ptr)).ptr;
        const ld = heads * headDim;
        const [k, v] = [floats(normals(keys * ld, 1)).ptr, floats(normals(keys * ld, 2)).ptr];
        kernels[PAGE_KERNELS[dtype].write](table, k, v, 0, keys, 0, headDim, ld, ld, heads, pageCount);
        const q = floats(normals(heads * rows * headDim, 3));
        const [together, alone] = [area(heads * rows * headDim), area(heads * rows * headDim)];
        const probs = area(rows * pageCount * PAGE).ptr;
        const attend = (out: number, from: number, list: number, count: number) => {
          const sizes = [rows, keys, -1, headDim, headDim, headDim, 0.2, count, pageCount] as const;
          kernels[PAGE_KERNELS[dtype].attention](out, from, list, probs, ...sizes);
        };
        attend(together.ptr, q.ptr, table, heads);
        for (let head = 0; head < heads; head++) {
          const offset = 4 * head * rows * headDim;
          attend(alone.ptr + offset, q.ptr + offset, table + 4 * head * pageCount, 1);
        }
        checkGuards(`${dtype}, ${rows} rows`);
        sameBits(together.f32, alone.f32, `${dtype}, ${rows} rows`);
        assert.ok(together.f32.every((value) => Number.isFinite(value) && value !== 0));
      }
    }
  },
);

testBuilds(
  'kv_write of 3 heads side by side: the pages of three calls, in every dtype, headDim 5, 16 and 24',
  () => {
    for (const dtype of pageDtypes()) {
      const start = dtype === 'smooth8' ? 0 : 7;
      for (const headDim of [5, 16, 24]) {
        const [heads, keys, pageCount] = [3, 150, 3];
        const ld = heads * headDim + 2;
        const [k, v] = [normals(keys * ld, 1), normals(keys * ld, 2)];
        const filled = (isOne: boolean) => {
          reset();
          const pages = Array.from({ length: heads * pageCount }, () => area(pageBytes(headDim, dtype) / 4));
          for (const page of pages) page.i32.fill(0);
          const table = ints(pages.map(({ ptr }) => ptr)).ptr;
          const [kp, vp] = [floats(k).ptr, floats(v).ptr];
          const write = kernels[PAGE_KERNELS[dtype].write];
          if (isOne) write(table, kp, vp, 0, keys, start, headDim, ld, ld, heads, pageCount);
          for (let head = 0; !isOne && head < heads; head++) {
            const offset = 4 * head * headDim;
            const list = table + 4 * head * pageCount;
            write(list, kp + offset, vp + offset, 0, keys, start, headDim, ld, ld, 1, 0);
          }
          checkGuards(`${dtype}, headDim ${headDim}`);
          return pages.map(({ i32 }) => Array.from(i32));
        };
        const together = filled(true);
        assert.equal(together, filled(false), `${dtype}, headDim ${headDim}`);
        assert.ok(together[0]!.some(Boolean) && together[heads * pageCount - 2]!.some(Boolean));
      }
    }
  },
);

test.run();
