/**
 * The quantiser in plain TypeScript: one row's block at a time, every operation rounded to float32 as the kernels round
 * theirs, so that panels can be compared bit for bit.
 */
import { type Area, area } from './harness.js';

export type QuantisedBits = 8 | 4;
export const RECORD_BYTES = { 8: 272, 4: 144 };
const BLOCK = 32;

export interface QuantisedRow {
  /** bfloat16 bits, one a block. */
  scales: Uint16Array;
  /** ceil(K/32)·32 values. */
  q: Int8Array;
}

const f = Math.fround;
const word = new Uint32Array(1);
const asFloat = new Float32Array(word.buffer);

/** A row of float32 values (those of a narrower dtype widened). */
export function quantiseRow(bits: QuantisedBits, row: ArrayLike<number>): QuantisedRow {
  const blocks = Math.ceil(row.length / BLOCK);
  const scales = new Uint16Array(blocks);
  const q = new Int8Array(blocks * BLOCK);
  for (let b = 0; b < blocks; b++) {
    const w = Float32Array.from({ length: BLOCK }, (_, k) => row[b * BLOCK + k] ?? 0);
    const peak = w.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    if (peak < 2 ** -100) continue;
    const exponent = Math.floor(Math.log2(peak));
    const scaled = w.map((x) => x * 2 ** -exponent);
    const scale = bits === 8 ? scale8(scaled) : scale4(scaled);
    q.set(levels(bits, scaled, scale), b * BLOCK);
    scales[b] = bitsOf(scale * 2 ** exponent) >>> 16;
  }
  return { scales, q };
}

/** scale · q as float64. */
export function dequantise({ scales, q }: QuantisedRow, K: number): Float64Array {
  return Float64Array.from({ length: K }, (_, k) => q[k]! * bf16Value(scales[k >> 5]!));
}

/** Panels of rows, [ceil(N/8)] × ceil(K/32) records. */
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
      for (let k = 0; k < BLOCK; k++) {
        const q = row ? row.q[b * BLOCK + k]! : 0;
        const place = record + 16 + (k >> 2) * (bits === 8 ? 32 : 16) + (n & 3) * 4 + (k & 3);
        if (bits === 8) view.setInt8(place + (n & 4) * 4, q);
        else view.setUint8(place, view.getUint8(place) | ((q + 8) << (n & 4)));
      }
    }
  }
  return out;
}

/** A row's q as a file holds them. */
export function fileBytes(bits: QuantisedBits, { q }: QuantisedRow, K: number): Uint8Array {
  if (bits === 8) return Uint8Array.from(q.subarray(0, K), (x) => x & 255);
  return Uint8Array.from({ length: Math.ceil(K / 2) }, (_, i) => {
    const odd = 2 * i + 1 < K ? q[2 * i + 1]! : 0;
    return (q[2 * i]! + 8) | ((odd + 8) << 4);
  });
}

/** The first of four bfloat16 values, from peak/127 up, with the least Σ(w − s·q)². */
function scale8(w: Float32Array): number {
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
  return best;
}

/** Of six roundings the one with the largest (Σwq)²/Σq²; its Σwq/Σq², rounded to bfloat16. */
function scale4(w: Float32Array): number {
  const peak = w.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const unit = f((w.includes(peak) ? -1 : 1) / peak);
  let best = 1;
  let most = 0;
  for (let i = 0; i < 6; i++) {
    const inverse = f(unit * (7 + 0.40625 * i));
    let wq = 0;
    let qq = 0;
    for (const x of w) {
      const q = Math.min(7, Math.max(-8, nearest(f(x * inverse))));
      wq = f(wq + f(x * q));
      qq += q * q;
    }
    const scale = f(wq / qq);
    const gain = f(wq * scale);
    if (gain > most) {
      most = gain;
      best = scale;
    }
  }
  const bits = bitsOf(best);
  return floatOf((bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000);
}

function levels(bits: QuantisedBits, w: Float32Array, scale: number): number[] {
  const inverse = f(1 / scale);
  const [low, high] = bits === 8 ? [-127, 127] : [-8, 7];
  return Array.from(w, (x) => Math.min(high, Math.max(low, nearest(f(x * inverse)))));
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
