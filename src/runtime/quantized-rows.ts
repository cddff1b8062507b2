import { QUANT_BLOCK } from './weight.js';

const HEAD_BYTES = 16;

/**
 * Bytes of one row of K activations as q_rows_i8w and q_rows_i4w write it: per block of 32 a head and 32 values, 16-bit in the
 * plain build of the kernels, bytes in the relaxed one. A buffer of M rows takes M times as much, 16-byte aligned.
 */
export function quantizedRowBytes(K: number, relaxed: boolean): number {
  return Math.ceil(K / QUANT_BLOCK) * (HEAD_BYTES + QUANT_BLOCK * (relaxed ? 1 : 2));
}
