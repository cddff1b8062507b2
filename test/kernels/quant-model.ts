/** Quantised operands and their products in plain TypeScript: the same arithmetic as the kernels', bit for bit. */
import { QUANT_BLOCK, type QuantizedDtype, quantBlocks, weightBytes } from '../../src/runtime/weight.js';

const { fround } = Math;

/** A matrix `[N][K]` of integers with a scale, in 4 bits also a minimum, for each row and block. */
export interface QuantizedMatrix {
  dtype: QuantizedDtype;
  N: number;
  K: number;
  q: Int8Array;
  scales: Float32Array;
  /** Zeros in 8 bits. */
  minimums: Float32Array;
}

/** Truncated to bfloat16. */
export function bf16(value: number): number {
  const word = new Uint32Array(Float32Array.of(value).buffer);
  word[0]! &= 0xffff0000;
  return new Float32Array(word.buffer)[0]!;
}

/** A matrix whose every integer, scale and minimum the caller's functions give (the latter are truncated to bfloat16). */
export function matrix(
  dtype: QuantizedDtype,
  N: number,
  K: number,
  q: (n: number, k: number) => number,
  scale: (n: number, block: number) => number,
  minimum: (n: number, block: number) => number = () => 0,
): QuantizedMatrix {
  const blocks = quantBlocks(dtype, K);
  const perBlock = (of: typeof scale) =>
    Float32Array.from({ length: N * blocks }, (_, i) => bf16(of(Math.floor(i / blocks), i % blocks)));
  return {
    dtype,
    N,
    K,
    q: Int8Array.from({ length: N * K }, (_, i) => q(Math.floor(i / K), i % K)),
    scales: perBlock(scale),
    minimums: perBlock(minimum),
  };
}

/** The panels of a matrix as bytes. */
export function packed({ dtype, N, K, q, scales, minimums }: QuantizedMatrix): Uint8Array {
  const blocks = quantBlocks(dtype, K);
  const size = QUANT_BLOCK[dtype];
  const out = new Uint8Array(weightBytes('panel', dtype, N, K));
  const view = new DataView(out.buffer);
  const record = out.length / Math.ceil(N / 8) / blocks;
  const head = dtype === 'I4' ? 32 : 16;
  const word = (x: number) => new Uint32Array(Float32Array.of(x).buffer)[0]! >>> 16;
  for (let n = 0; n < N; n++) {
    const o = n % 8;
    for (let block = 0; block < blocks; block++) {
      const at = ((n >> 3) * blocks + block) * record;
      view.setUint16(at + 2 * o, word(scales[n * blocks + block]!), true);
      if (dtype === 'I4') view.setUint16(at + 16 + 2 * o, word(minimums[n * blocks + block]!), true);
      for (let j = 0; j < size && block * size + j < K; j++) {
        const value = q[n * K + block * size + j]!;
        const group = j >> 2;
        if (dtype === 'I8') {
          out[at + head + group * 32 + (o >> 2) * 16 + (o & 3) * 4 + (j & 3)] = value;
        } else {
          out[at + head + group * 16 + (o & 3) * 4 + (j & 3)]! |= value << (o < 4 ? 0 : 4);
        }
      }
    }
  }
  return out;
}

/** Rows quantised: integers to be multiplied (the zero already taken off), and scales `[M][blocks]`. */
export interface QuantizedRows {
  v: Int32Array;
  scales: Float32Array;
}

/**
 * x `[M][K]`. `int16`: int8 weights, plain build. `offset`: int8 weights, relaxed build; `fine`: the same with 14 bits
 * throughout. `int8`: int4 weights.
 */
export function quantizedRows(
  kind: 'int16' | 'offset' | 'fine' | 'int8',
  x: Float32Array,
  M: number,
  K: number,
): QuantizedRows {
  const dtype = kind === 'int8' ? 'I4' : 'I8';
  const blocks = quantBlocks(dtype, K);
  const size = QUANT_BLOCK[dtype];
  const v = new Int32Array(M * K);
  const scales = new Float32Array(M * blocks);
  for (let m = 0; m < M; m++) {
    const row = Array.from({ length: blocks }, (_, block) => {
      const values = new Float32Array(size);
      values.set(x.subarray(m * K + block * size, Math.min(m * K + (block + 1) * size, (m + 1) * K)));
      return values;
    });
    const noises = row.map((values) => widerHalf(values) ** 2);
    const most = 0.5 * noises.reduce((sum, noise) => sum + noise, 0);
    for (const [block, values] of row.entries()) {
      const b =
        kind === 'int16'
          ? symmetric(values, 32767)
          : kind === 'int8'
            ? symmetric(values, 127)
            : asymmetric(values, kind === 'fine' || noises[block]! > most);
      v.set(b.v.subarray(0, K - block * size), m * K + block * size);
      scales[m * blocks + block] = b.scale;
    }
  }
  return { v, scales };
}

function symmetric(values: Float32Array, levels: number) {
  const top = values.reduce((t, value) => Math.max(t, Math.abs(value)), 0);
  if (top < 2 ** -100) return { v: new Int32Array(values.length), scale: 0 };
  const scale = fround(fround(top / levels) + (top - top));
  const inverse = fround(levels / top);
  return { v: Int32Array.from(values, (value) => nearest(fround(value * inverse))), scale };
}

/** k mod 4 is 0 or 1; 2 or 3. */
const halves = (values: Float32Array) => [0, 2].map((r) => values.filter((_, k) => (k & 2) === r));
const widerHalf = (values: Float32Array) =>
  Math.max(...halves(values).map((half) => fround(Math.max(...half) - Math.min(...half))));

function asymmetric(values: Float32Array, fine: boolean) {
  const top = values.reduce((t, value) => Math.max(t, Math.abs(value)), 0);
  if (top < 2 ** -100) return { v: new Int32Array(values.length), scale: 0 };
  const scale = Math.max(fround(widerHalf(values) / (fine ? 16250 : 127)), fround(top / 16384));
  const inverse = fround(1 / scale);
  const lows = halves(values).map((half) => nearest(fround(Math.min(...half) * inverse)));
  const offsets = fine ? lows.map((low) => 128 * Math.floor(low / 128)) : lows;
  const v = Int32Array.from(values, (value, k) => {
    const offset = offsets[(k & 2) >> 1]!;
    return Math.min(fine ? 16383 : 127, nearest(fround(value * inverse)) - offset) + offset;
  });
  return { v, scale: fround(scale + (scale - scale)) };
}

/** Half to even; NaN to 0. */
function nearest(value: number): number {
  if (Number.isNaN(value)) return 0;
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** out `[M][N]`: blocks in order, every operation rounded to float32. */
export function product(
  rows: QuantizedRows,
  w: QuantizedMatrix,
  M: number,
  bias?: ArrayLike<number>,
): Float32Array {
  const { N, K } = w;
  const blocks = quantBlocks(w.dtype, K);
  const size = QUANT_BLOCK[w.dtype];
  const out = new Float32Array(M * N);
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let total = 0;
      for (let block = 0; block < blocks; block++) {
        let [sum, rowSum] = [0, 0];
        for (let k = block * size; k < Math.min(K, (block + 1) * size); k++) {
          sum += rows.v[m * K + k]! * w.q[n * K + k]!;
          rowSum += rows.v[m * K + k]!;
        }
        const scale = rows.scales[m * blocks + block]!;
        let value = fround(fround(sum) * fround(w.scales[n * blocks + block]! * scale));
        if (w.dtype === 'I4') {
          const term = fround(scale * fround(rowSum));
          value = fround(value + fround(w.minimums[n * blocks + block]! * term));
        }
        total = fround(total + value);
      }
      out[m * N + n] = bias ? fround(total + bias[n]!) : total;
    }
  }
  return out;
}
