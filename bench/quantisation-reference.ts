/** What bench/quantisation.ts compares with: drawn weights, and ggml's Q4_1. */
import { float16Bits, toFloat16 } from '../src/checkpoint/dtypes.js';

const { fround } = Math;
const BLOCK = 32;

/** Student's t with so many degrees of freedom, the normal distribution for Infinity; n float32 values by a fixed seed. */
export function studentT(n: number, degrees: number, seed: number): Float32Array {
  const normal = normals(seed);
  return Float32Array.from({ length: n }, () => {
    const x = normal();
    if (degrees === Number.POSITIVE_INFINITY) return x;
    let square = 0;
    for (let i = 0; i < degrees; i++) square += normal() ** 2;
    return x / Math.sqrt(square / degrees);
  });
}

/** Box and Muller's normal deviates over a small generator (mulberry32). */
function normals(seed: number): () => number {
  const uniform = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/**
 * Blocks of 32 as `quantize_row_q4_1_ref` leaves them: 16 levels from the least value up, step and least value in float16,
 * float32 arithmetic in its order.
 */
export function roundQ41(rows: Float32Array): Float32Array {
  const out = new Float32Array(rows.length);
  for (let at = 0; at < rows.length; at += BLOCK) {
    const block = rows.subarray(at, at + BLOCK);
    const least = block.reduce((low, w) => Math.min(low, w), Number.POSITIVE_INFINITY);
    const most = block.reduce((high, w) => Math.max(high, w), Number.NEGATIVE_INFINITY);
    const step = fround(fround(most - least) / 15);
    const inverse = step ? fround(1 / step) : 0;
    const [d, m] = [half(step), half(least)];
    for (const [i, w] of block.entries()) {
      const level = Math.min(15, Math.trunc(fround(fround(fround(w - least) * inverse) + 0.5)));
      out[at + i] = fround(fround(level * d) + m);
    }
  }
  return out;
}

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** The nearest float16's value. */
function half(x: number): number {
  word[0] = float16Bits(toFloat16(x));
  return float[0]!;
}
