/** Attention over smoothed pages as the tests call it, its pages read by the documented layout, and float64 beside it. */
import { pageBytes } from '../../src/runtime/pages.js';
import { area, checkGuards, ints, kernels, memory, normals, reset } from './harness.js';

export const PAGE = 128;

export interface Case {
  rows: number;
  keys: number;
  headDim: number;
  /** −1: every row sees all keys. */
  causalStart?: number;
  scale?: number;
}

export interface Inputs {
  q: Float32Array;
  k: Float32Array;
  v: Float32Array;
}

export function inputs({ rows, keys, headDim }: Case, size = 1, seed = 1): Inputs {
  return {
    q: normals(rows * headDim, seed, size),
    k: normals(keys * headDim, seed + 1),
    v: normals(keys * headDim, seed + 2),
  };
}

export interface Result {
  out: Float32Array;
  /** [rows, ldp]; undefined where none were asked for. */
  probs: Float32Array | undefined;
  ldp: number;
  pages: number[];
}

/** Pages full of −1, out of order; keys and values in rows 3 values apart, taken through indices if asked. */
export function run(c: Case, { q, k, v }: Inputs, watched = true, indexed = false): Result {
  reset();
  const { rows, keys, headDim, causalStart = -1, scale = headDim ** -0.5 } = c;
  const words = pageBytes(headDim, 'smooth8') / 4;
  const pages = Array.from({ length: Math.ceil(keys / PAGE) }, () => area(words)).reverse();
  for (const page of pages) page.i32.fill(-1);
  const table = ints(pages.map(({ ptr }) => ptr)).ptr;
  const ld = headDim + 3;
  const order = Array.from({ length: keys }, (_, j) => (indexed ? keys - 1 - j : j));
  const spread = (x: Float32Array) => {
    const to = area(keys * ld);
    for (const [j, row] of order.entries())
      to.f32.set(x.subarray(j * headDim, j * headDim + headDim), row * ld);
    return to.ptr;
  };
  const [kp, vp] = [spread(k), spread(v)];
  kernels.s8_kv_write(table, kp, vp, indexed ? ints(order).ptr : 0, keys, 0, headDim, ld, ld, 1, 0);
  checkGuards(`written: ${JSON.stringify(c)}`);
  const ldp = Math.ceil(keys / PAGE) * PAGE;
  const out = area(rows * ld, 7);
  const probs = area(rows * ldp * (watched ? 2 : 1));
  const from = area(rows * ld);
  for (let r = 0; r < rows; r++) from.f32.set(q.subarray(r * headDim, (r + 1) * headDim), r * ld);
  const kernel = watched ? kernels.f32_s8kv_attention_probs : kernels.f32_s8kv_attention;
  kernel(out.ptr, from.ptr, table, probs.ptr, rows, keys, causalStart, headDim, ld, ld, scale, 1, 0);
  checkGuards(JSON.stringify(c));
  const narrow = new Float32Array(rows * headDim);
  for (let r = 0; r < rows; r++) {
    narrow.set(out.f32.subarray(r * ld, r * ld + headDim), r * headDim);
    const gap = out.f32.subarray(r * ld + headDim, (r + 1) * ld);
    if (!gap.every((value) => value === 7)) throw new Error(`${JSON.stringify(c)}: written beyond row ${r}`);
  }
  return {
    out: narrow,
    probs: watched ? probs.f32.slice(0, rows * ldp) : undefined,
    ldp,
    pages: pages.map(({ ptr }) => ptr),
  };
}

export interface Stored {
  /** Keys and values less their means. */
  k: Float64Array;
  v: Float64Array;
  keyScales: Float32Array;
  /** −64 times the sum of each key's integers. */
  starts: Int32Array;
  /** [pages, channels of the head]. */
  valueScales: Float32Array[];
  means: Float32Array;
  keySize: number;
}

/** What pages hold, read by the layout that kernels.ts documents. */
export function stored(pages: number[], keys: number, headDim: number): Stored {
  const quads = Math.ceil(headDim / 4);
  const channels = Math.ceil(headDim / 8) * 8;
  const { buffer } = memory;
  const k = new Float64Array(keys * headDim);
  const v = new Float64Array(keys * headDim);
  const keyScales = new Float32Array(keys);
  const starts = new Int32Array(keys);
  const valuesAt = PAGE * 4 * quads;
  const scalesAt = valuesAt + PAGE * channels;
  const channelsAt = scalesAt + 8 * PAGE;
  const valueScales = pages.map((page) => new Float32Array(buffer, page + channelsAt, headDim).slice());
  for (let j = 0; j < keys; j++) {
    const page = pages[j >> 7]!;
    const slot = j & 127;
    const bytes = new Int8Array(buffer, page, scalesAt);
    keyScales[j] = new Float32Array(buffer, page + scalesAt, PAGE)[slot]!;
    starts[j] = new Int32Array(buffer, page + scalesAt + 4 * PAGE, PAGE)[slot]!;
    for (let d = 0; d < headDim; d++) {
      k[j * headDim + d] =
        keyScales[j]! * bytes[(((slot >> 3) * quads + (d >> 2)) * 8 + (slot & 7)) * 4 + (d & 3)]!;
      v[j * headDim + d] =
        valueScales[j >> 7]![d]! *
        bytes[valuesAt + (((d >> 3) * 32 + (slot >> 2)) * 8 + (d & 7)) * 4 + (slot & 3)]!;
    }
  }
  const means = new Float32Array(buffer, pages[0]! + channelsAt + 4 * channels, headDim).slice();
  const [keySize] = new Float32Array(buffer, pages[0]! + channelsAt + 8 * channels, 1);
  return { k, v, keyScales, starts, valueScales, means, keySize: keySize! };
}

/** Attention in float64, over all keys. */
export function attention64({ rows, keys, headDim, scale = headDim ** -0.5 }: Case, { q, k, v }: Inputs) {
  const out = new Float64Array(rows * headDim);
  for (let r = 0; r < rows; r++) {
    const scores = Array.from({ length: keys }, (_, j) => {
      let sum = 0;
      for (let d = 0; d < headDim; d++) sum += q[r * headDim + d]! * k[j * headDim + d]!;
      return sum * scale;
    });
    const top = Math.max(...scores);
    const e = scores.map((score) => Math.exp(score - top));
    const total = e.reduce((a, b) => a + b, 0);
    for (const [j, weight] of e.entries()) {
      for (let d = 0; d < headDim; d++) {
        out[r * headDim + d] = out[r * headDim + d]! + (weight / total) * v[j * headDim + d]!;
      }
    }
  }
  return out;
}

export function nmse(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let error = 0;
  let size = 0;
  for (let i = 0; i < want.length; i++) {
    error += (got[i]! - want[i]!) ** 2;
    size += want[i]! ** 2;
  }
  return error / size;
}
