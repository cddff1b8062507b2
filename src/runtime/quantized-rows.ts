import { QUANT_BLOCK } from './weight.js';

const HEAD_BYTES = 16;

/**
 * Bytes of one row of K activations as q_rows_i8w and q_rows_i4w write it: per block of 32 a head and room for 32 values of
 * 16 bits. A buffer of M rows takes M times as much, 16-byte aligned.
 */
export function quantizedRowBytes(K: number): number {
  return Math.ceil(K / QUANT_BLOCK) * (HEAD_BYTES + QUANT_BLOCK * 2);
}
