/**
 * ggml's block formats as far as these tools need them: rows in blocks of 32, each with a float16 scale. Arithmetic is
 * float32 in the order of ggml's reference (`quantize_row_q4_0_ref`, `quantize_row_q8_0_ref`), so the bytes are its own.
 */
import { float16Bits, toFloat16 } from '../../../src/checkpoint/dtypes.js';

export const GGML_F32 = 0;
export const GGML_F16 = 1;
export const GGML_Q4_0 = 2;
export const GGML_Q4_1 = 3;
export const GGML_Q8_0 = 8;

const BLOCK = 32;
const BLOCK_BYTES: Readonly<Record<number, number>> = {
  [GGML_F32]: 4 * BLOCK,
  [GGML_F16]: 2 * BLOCK,
  [GGML_Q4_0]: 2 + 16,
  [GGML_Q4_1]: 2 + 2 + 16,
  [GGML_Q8_0]: 2 + 32,
};

/** Bytes of so many elements. @throws Error for a type that is not known here */
export function ggmlBytes(type: number, count: number): number {
  const bytes = BLOCK_BYTES[type];
  if (bytes === undefined) throw new Error(`ggml type ${type} is not known to this tool`);
  return (count / BLOCK) * bytes;
}

const { fround } = Math;
const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** The value of a float16's bits. */
function half(bits: number): number {
  scratchBits[0] = float16Bits(bits);
  return scratch[0];
}

/** @returns `count` float32 values */
export function dequantize(type: number, data: Uint8Array, count: number): Float32Array {
  const out = new Float32Array(count);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (type === GGML_F32) for (let i = 0; i < count; i++) out[i] = view.getFloat32(4 * i, true);
  else if (type === GGML_F16) for (let i = 0; i < count; i++) out[i] = half(view.getUint16(2 * i, true));
  else dequantizeBlocks(type, data, view, out);
  return out;
}

function dequantizeBlocks(type: number, data: Uint8Array, view: DataView, out: Float32Array): void {
  const bytes = ggmlBytes(type, BLOCK);
  for (let block = 0; block * BLOCK < out.length; block++) {
    const at = block * bytes;
    const to = block * BLOCK;
    const d = half(view.getUint16(at, true));
    if (type === GGML_Q8_0) {
      for (let i = 0; i < BLOCK; i++) out[to + i] = view.getInt8(at + 2 + i) * d;
      continue;
    }
    // The low halves of the 16 bytes are the block's first 16 values, the high halves its last 16.
    const [offset, minimum, start] =
      type === GGML_Q4_1 ? [0, half(view.getUint16(at + 2, true)), at + 4] : [8, 0, at + 2];
    for (let i = 0; i < BLOCK / 2; i++) {
      const byte = data[start + i];
      out[to + i] = fround(((byte & 15) - offset) * d) + minimum;
      out[to + i + BLOCK / 2] = fround(((byte >> 4) - offset) * d) + minimum;
    }
  }
}

/** As ggml rounds: `quantize_row_q4_0_ref` or `quantize_row_q8_0_ref`. The values are whole blocks. */
export function quantize(type: typeof GGML_Q4_0 | typeof GGML_Q8_0, values: Float32Array): Uint8Array {
  const bytes = ggmlBytes(type, BLOCK);
  const out = new Uint8Array(ggmlBytes(type, values.length));
  const view = new DataView(out.buffer);
  for (let block = 0; block * BLOCK < values.length; block++) {
    const part = values.subarray(block * BLOCK, (block + 1) * BLOCK);
    if (type === GGML_Q8_0) quantizeQ8(part, view, block * bytes);
    else quantizeQ4(part, view, block * bytes);
  }
  return out;
}

/** The largest magnitude becomes ±127. */
function quantizeQ8(values: Float32Array, view: DataView, at: number): void {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, Math.abs(value));
  const d = fround(largest / 127);
  const inverse = d ? fround(1 / d) : 0;
  view.setUint16(at, toFloat16(d), true);
  values.forEach((value, i) => {
    const scaled = fround(value * inverse);
    // C's roundf: halves go away from zero.
    view.setInt8(at + 2 + i, Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5));
  });
}

/** The value of the largest magnitude becomes −8. */
function quantizeQ4(values: Float32Array, view: DataView, at: number): void {
  let extreme = 0;
  for (const value of values) if (Math.abs(value) > Math.abs(extreme)) extreme = value;
  const d = fround(extreme / -8);
  const inverse = d ? fround(1 / d) : 0;
  view.setUint16(at, toFloat16(d), true);
  const level = (value: number) => Math.min(15, Math.trunc(fround(fround(value * inverse) + 8.5)));
  for (let i = 0; i < BLOCK / 2; i++) {
    view.setUint8(at + 2 + i, level(values[i]) | (level(values[i + BLOCK / 2]) << 4));
  }
}
