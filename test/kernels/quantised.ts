/**
 * The quantiser in plain TypeScript: one row's block at a time, every operation rounded to float32 as the kernels round
 * theirs, so that panels can be compared bit for bit.
 */
import * as assert from 'uvu/assert';
import { type Area, area, kernels, reset } from './harness.js';

export type QuantisedBits = 8 | 4;
export const RECORD_BYTES = { 8: 528, 4: 160 };
export const HEAD_BYTES = { 8: 16, 4: 32 };
export const BLOCKS = { 8: 64, 4: 32 };

export const PACK = {
  8: { f32: kernels.i8_f32_pack, bf16: kernels.i8_bf16_pack, f16: kernels.i8_f16_pack },
  4: { f32: kernels.i4_f32_pack, bf16: kernels.i4_bf16_pack, f16: kernels.i4_f16_pack },
};

export interface QuantisedRow {
  /** bfloat16 bits, one a block. */
  scales: Uint16Array;
  /** Likewise; zeros in 8 bits. */
  minimums: Uint16Array;
  /** Values of whole blocks. */
  q: Int8Array;
}

const f = Math.fround;
const word = new Uint32Array(1);
const asFloat = new Float32Array(word.buffer);

/** A row of float32 values (those of a narrower dtype widened). */
export function quantiseRow(bits: QuantisedBits, row: ArrayLike<number>): QuantisedRow {
  const size = BLOCKS[bits];
  const blocks = Math.ceil(row.length / size);
  const scales = new Uint16Array(blocks);
  const minimums = new Uint16Array(blocks);
  const q = new Int8Array(blocks * size);
  for (let b = 0; b < blocks; b++) {
    // What the last block lacks is zero, in 4 bits the last value again.
    const past = bits === 8 ? 0 : row[row.length - 1]!;
    const w = Float32Array.from({ length: size }, (_, k) => row[b * size + k] ?? past);
    const peak = w.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    if (peak < 2 ** -100) continue;
    const exponent = Math.floor(Math.log2(peak));
    const scaled = w.map((x) => x * 2 ** -exponent);
    const found = bits === 8 ? quantise8(scaled) : quantise4(scaled);
    q.set(found.q, b * size);
    scales[b] = bitsOf(found.scale * 2 ** exponent) >>> 16;
    minimums[b] = bitsOf(found.minimum * 2 ** exponent) >>> 16;
  }
  q.fill(0, row.length);
  return { scales, minimums, q };
}

/** scale · q + minimum as float64. */
export function dequantise({ scales, minimums, q }: QuantisedRow, K: number): Float64Array {
  const size = q.length / scales.length;
  return Float64Array.from({ length: K }, (_, k) => {
    const block = Math.floor(k / size);
    return q[k]! * bf16Value(scales[block]!) + bf16Value(minimums[block]!);
  });
}

/** Panels of rows, [ceil(N/8)][blocks] records. */
export function quantisedPanels(bits: QuantisedBits, rows: QuantisedRow[]): Area {
  const blocks = rows[0]!.scales.length;
  const bytes = RECORD_BYTES[bits];
  const panels = Math.ceil(rows.length / 8);
  const out = area((panels * blocks * bytes) / 4, 0);
  const view = new DataView(out.u32.buffer, out.ptr, panels * blocks * bytes);
  for (let n = 0; n < panels * 8; n++) {
    const row = rows[n];
    for (let b = 0; b < blocks; b++) {
      const record = ((n >> 3) * blocks + b) * bytes;
      view.setUint16(record + 2 * (n & 7), row ? row.scales[b]! : 0, true);
      if (bits === 4) view.setUint16(record + 16 + 2 * (n & 7), row ? row.minimums[b]! : 0, true);
      for (let k = 0; k < BLOCKS[bits]; k++) {
        const q = row ? row.q[b * BLOCKS[bits] + k]! : 0;
        const place = record + HEAD_BYTES[bits] + (k >> 2) * (bits === 8 ? 32 : 16) + (n & 3) * 4 + (k & 3);
        if (bits === 8) view.setInt8(place + (n & 4) * 4, q);
        else view.setUint8(place, view.getUint8(place) | (q << (n & 4)));
      }
    }
  }
  return out;
}

export function panelArea(bits: QuantisedBits, K: number): Area {
  return area((Math.ceil(K / BLOCKS[bits]) * RECORD_BYTES[bits]) / 4);
}

/** One row through the packing kernel and back. */
export function packed(bits: QuantisedBits, values: Float32Array): QuantisedRow {
  reset();
  const K = values.length;
  const src = area(K);
  src.f32.set(values);
  const panel = panelArea(bits, K);
  assert.is(PACK[bits].f32(panel.ptr, src.ptr, 1, K, K), -1);
  const size = BLOCKS[bits];
  const blocks = Math.ceil(K / size);
  const scales = new Uint16Array(blocks);
  const minimums = new Uint16Array(blocks);
  const q = new Int8Array(blocks * size);
  const view = new DataView(panel.u32.buffer, panel.ptr, 4 * panel.u32.length);
  for (let b = 0; b < blocks; b++) {
    const record = b * RECORD_BYTES[bits];
    scales[b] = view.getUint16(record, true);
    if (bits === 4) minimums[b] = view.getUint16(record + 16, true);
    for (let k = 0; k < size; k++) {
      const group = record + HEAD_BYTES[bits] + (k >> 2) * (bits === 8 ? 32 : 16) + (k & 3);
      q[b * size + k] = bits === 8 ? view.getInt8(group) : view.getUint8(group) & 15;
    }
  }
  return { scales, minimums, q };
}

/** A row's q as a file holds them. */
export function fileBytes(bits: QuantisedBits, { q }: QuantisedRow, K: number): Uint8Array {
  if (bits === 8) return Uint8Array.from(q.subarray(0, K), (x) => x & 255);
  return Uint8Array.from({ length: Math.ceil(K / 2) }, (_, i) => {
    const odd = 2 * i + 1 < K ? q[2 * i + 1]! : 0;
    return q[2 * i]! | (odd << 4);
  });
}

interface Block {
  scale: number;
  minimum: number;
  q: number[];
}

/** The first of four bfloat16 scales, from peak/127 up, with the least Σ(w − s·q)². */
function quantise8(w: Float32Array): Block {
  const peak = w.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const first = (bitsOf(f(peak / 127)) + 0xffff) & 0xffff0000;
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 4; i++) {
    const s = floatOf(first + i * 0x10000);
    const inverse = f(1 / s);
    let error = 0;
    for (const x of w) {
      const d = f(x - f(nearest(f(x * inverse)) * s));
      error = f(error + f(d * d));
    }
    if (error < least) {
      least = error;
      best = s;
    }
  }
  const inverse = f(1 / best);
  return { scale: best, minimum: 0, q: Array.from(w, (x) => nearest(f(x * inverse))) };
}

/** Of six roundings the one that least squares fit best; its scale in bfloat16, the minimum that is best for that. */
function quantise4(w: Float32Array): Block {
  const least = Math.min(...w);
  const range = f(Math.max(...w) - least);
  const xs = w.map((x) => x - least);
  const sum = xs.reduce((total, x) => f(total + x), 0);
  let best = { scale: 0, qs: 0, gain: 0 };
  const trials = [15, 14.5, 15.25, 15, 15.5, 15.5];
  for (const [i, levels] of trials.entries()) {
    const inverse = f(f(1 / range) * levels);
    const shift = i % 2 ? -0.25 : 0;
    let [qs, xq, qq] = [0, 0, 0];
    for (const x of xs) {
      const q = nearest(Math.min(15, f(f(x * inverse) + shift)));
      qs += q;
      xq = f(xq + f(x * q));
      qq += q * q;
    }
    const covariance = f(f(32 * xq) - f(sum * qs));
    const scale = f(covariance / (32 * qq - qs * qs));
    const gain = f(covariance * scale);
    if (gain > best.gain) best = { scale, qs, gain };
  }
  const scale = best.scale >= 2 ** -20 ? toBf16(best.scale) : 0;
  const minimum = toBf16(f(least + f(f(sum - f(scale * best.qs)) / 32)));
  const shift = f(minimum - least);
  const inverse = scale > 0 ? f(1 / scale) : 0;
  const level = (x: number) => Math.min(15, Math.max(0, nearest(f(f(x - shift) * inverse))));
  return { scale, minimum, q: Array.from(xs, level) };
}

/** Ties to even. */
function toBf16(x: number): number {
  const bits = bitsOf(x);
  return floatOf((bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000);
}

/** The nearest integer, ties to even. */
function nearest(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest === 0.5) return below % 2 === 0 ? below : below + 1;
  return rest < 0.5 ? below : below + 1;
}

export function bf16Value(bits: number): number {
  return floatOf(bits << 16);
}

function bitsOf(x: number): number {
  asFloat[0] = x;
  return word[0]!;
}

function floatOf(bits: number): number {
  word[0] = bits;
  return asFloat[0]!;
}
