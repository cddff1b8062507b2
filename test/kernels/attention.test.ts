import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { productBound } from '../tolerance.js';
import { area, checkGuards, floats, ints, kernels, normals, reset, sameBits, testBuilds } from './harness.js';

const PAGE = 128;

interface Case {
  rows: number;
  keys: number;
  headDim: number;
  causalStart: number;
  /** Elements beyond headDim in the rows of q, k, v and out. */
  gap?: number;
  scale?: number;
}

interface Inputs {
  q: Float32Array;
  k: Float32Array;
  v: Float32Array;
}

function inputs(c: Case, seed = 1): Inputs {
  const ld = c.headDim + (c.gap ?? 0);
  return {
    q: normals(c.rows * ld, seed),
    k: normals(c.keys * ld, seed + 1),
    v: normals(c.keys * ld, seed + 2),
  };
}

/** Pages full of NaN, out of order, then keys written in two parts. */
function writePages(c: Case, { k, v }: Inputs): number {
  const ld = c.headDim + (c.gap ?? 0);
  const channels = Math.ceil(c.headDim / 8) * 8;
  const count = Math.ceil(c.keys / PAGE);
  const pages = Array.from({ length: count }, () => area(PAGE * (c.headDim + channels)).ptr).reverse();
  const table = ints(pages).ptr;
  const [kp, vp] = [floats(k).ptr, floats(v).ptr];
  const first = Math.floor(c.keys / 3);
  kernels.f32_kv_write(table, kp, vp, 0, first, 0, c.headDim, ld, ld, 1, 0);
  const rest = ints(Array.from({ length: c.keys - first }, (_, j) => first + j));
  kernels.f32_kv_write(table, kp, vp, rest.ptr, c.keys - first, first, c.headDim, ld, ld, 1, 0);
  return table;
}

function run(c: Case, data: Inputs) {
  reset();
  const ld = c.headDim + (c.gap ?? 0);
  const table = writePages(c, data);
  const out = area(c.rows * ld, 7);
  const ldp = Math.ceil(c.keys / PAGE) * PAGE;
  const probs = area(c.rows * ldp);
  const scale = c.scale ?? c.headDim ** -0.5;
  kernels.f32_attention(
    out.ptr,
    floats(data.q).ptr,
    table,
    probs.ptr,
    c.rows,
    c.keys,
    c.causalStart,
    c.headDim,
    ld,
    ld,
    scale,
    1,
    0,
  );
  checkGuards(JSON.stringify(c));
  for (let i = 0; i < out.f32.length; i++) {
    if (i % ld >= c.headDim)
      assert.is(out.f32[i], 7, `${JSON.stringify(c)}: written beyond the head at ${i}`);
  }
  return { out: out.f32.slice(), probs: probs.f32.slice(), ldp, ld };
}

function visible(c: Case, r: number): number {
  return c.causalStart < 0 ? c.keys : Math.min(c.keys, c.causalStart + r + 1);
}

function compare(c: Case): void {
  const data = inputs(c);
  const { out, probs, ldp, ld } = run(c, data);
  const label = JSON.stringify(c);
  for (let r = 0; r < c.rows; r++) {
    const n = visible(c, r);
    const scores: number[] = [];
    let size = 0;
    for (let j = 0; j < n; j++) {
      let sum = 0;
      let terms = 0;
      for (let d = 0; d < c.headDim; d++) {
        const term = data.q[r * ld + d]! * data.k[j * ld + d]!;
        sum += term;
        terms += Math.abs(term);
      }
      const scale = c.scale ?? c.headDim ** -0.5;
      scores.push(sum * scale);
      size = Math.max(size, terms * scale);
    }
    const top = Math.max(...scores);
    const e = scores.map((s) => Math.exp(s - top));
    const total = e.reduce((a, b) => a + b, 0);
    // A score that is off by δ scales its probability by e^δ; two scores and their difference enter.
    const relative = 3 * productBound(c.headDim) * size + 4 * 2 ** -24 * (1 + Math.abs(top));
    e.forEach((value, j) => {
      const p = value / total;
      const got = probs[r * ldp + j]!;
      assert.ok(
        Math.abs(got - p) <= relative * p + 1e-40,
        `${label}: p[${r}][${j}] expected ${p}, got ${got}`,
      );
    });
    for (let j = n; j < Math.ceil(c.keys / 8) * 8; j++)
      assert.is(probs[r * ldp + j], 0, `${label}: p[${r}][${j}]`);
    for (let d = 0; d < c.headDim; d++) {
      let sum = 0;
      let terms = 0;
      e.forEach((value, j) => {
        sum += (value / total) * data.v[j * ld + d]!;
        terms += Math.abs((value / total) * data.v[j * ld + d]!);
      });
      const bound = (relative + productBound(n)) * terms;
      const got = out[r * ld + d]!;
      assert.ok(Math.abs(got - sum) <= bound, `${label}: out[${r}][${d}] expected ${sum}, got ${got}`);
    }
  }
}

testBuilds(
  'attention: float64 within the products’ bounds, bidirectional, every remainder of keys, rows and channels',
  () => {
    for (const headDim of [1, 2, 6, 8, 9, 16, 18, 72]) {
      for (const keys of [1, 7, 8, 9, 127, 128, 129, 261]) {
        compare({ rows: 1 + ((keys + headDim) % 11), keys, headDim, causalStart: -1, gap: keys % 2 ? 5 : 0 });
      }
    }
  },
);

testBuilds(
  'attention: float64 within the products’ bounds, causal, from any start, more rows than one group',
  () => {
    for (const [rows, keys, causalStart] of [
      [9, 9, 0],
      [1, 140, 139],
      [5, 140, 135],
      [70, 70, 0],
      [70, 261, 191],
      [33, 129, 96],
      [12, 8, 0],
    ] as const) {
      for (const headDim of [5, 16]) compare({ rows, keys, headDim, causalStart, gap: 3 });
    }
  },
);

testBuilds('attention: a scale other than 1/√d', () =>
  compare({ rows: 5, keys: 20, headDim: 8, causalStart: -1, scale: 0.7 }),
);

testBuilds('attention: a scale of 0 averages the values, every remainder of keys', () => {
  for (let keys = 1; keys <= 9; keys++) compare({ rows: 3, keys, headDim: 12, causalStart: -1, scale: 0 });
});

testBuilds('attention: each causal row has the same bits alone, with only the keys that it sees', () => {
  const c: Case = { rows: 141, keys: 141, headDim: 18, causalStart: 0 };
  const data = inputs(c);
  const all = run(c, data).out;
  for (const r of [0, 1, 7, 8, 30, 31, 32, 126, 127, 128, 129, 140]) {
    const seen = (r + 1) * 18;
    const part = { q: data.q.slice(r * 18, seen), k: data.k.slice(0, seen), v: data.v.slice(0, seen) };
    const alone = run({ rows: 1, keys: r + 1, headDim: 18, causalStart: r }, part).out;
    sameBits(alone, all.slice(r * 18, seen), `row ${r}`);
    const bidirectional = run({ rows: 1, keys: r + 1, headDim: 18, causalStart: -1 }, part).out;
    sameBits(bidirectional, alone, `row ${r} without a mask`);
  }
});

testBuilds('attention: later keys of any size leave earlier rows as they are', () => {
  const c: Case = { rows: 40, keys: 40, headDim: 12, causalStart: 0 };
  const data = inputs(c);
  const before = run(c, data).out;
  data.k.fill(1e30, 20 * 12);
  data.v.fill(-1e30, 20 * 12);
  sameBits(run(c, data).out.slice(0, 20 * 12), before.slice(0, 20 * 12), 'rows 0 to 19');
});

testBuilds('attention: no keys give zeros', () => {
  const { out } = run(
    { rows: 6, keys: 0, headDim: 9, causalStart: -1 },
    inputs({ rows: 6, keys: 0, headDim: 9, causalStart: -1 }),
  );
  assert.ok(out.every((v) => v === 0));
});

testBuilds(
  'kv_write: keys as panels over keys, values as panels over channels, channels past the head as 0',
  () => {
    const [headDim, keys] = [11, 133];
    reset();
    const c: Case = { rows: 1, keys, headDim, causalStart: -1, gap: 4 };
    const data = inputs(c);
    const table = writePages(c, data);
    checkGuards();
    const ld = headDim + 4;
    const memory = area(0).f32.buffer;
    for (let j = 0; j < keys; j++) {
      const page = new Int32Array(memory, table, 2)[j >> 7]!;
      const slot = j & 127;
      const words = new Float32Array(memory, page, PAGE * (headDim + 16));
      for (let d = 0; d < headDim; d++) {
        assert.is(words[((slot >> 3) * headDim + d) * 8 + (slot & 7)], data.k[j * ld + d], `key ${j}, ${d}`);
      }
      for (let d = 0; d < 16; d++) {
        const got = words[PAGE * headDim + ((d >> 3) * PAGE + slot) * 8 + (d & 7)];
        assert.is(got, d < headDim ? data.v[j * ld + d] : 0, `value ${j}, ${d}`);
      }
    }
  },
);

test.run();
