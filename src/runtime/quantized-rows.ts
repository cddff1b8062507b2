import { QUANT_BLOCK, type QuantizedDtype, quantBlocks } from './weight.js';

const HEAD_BYTES = 16;

/**
 * Bytes of one row of K activations as q_rows_i8w and q_rows_i4w write it: per block a head and room for its values in 16
 * bits each. A buffer of M rows takes M times as much, 16-byte aligned.
 */
export function quantizedRowBytes(dtype: QuantizedDtype, K: number): number {
  return quantBlocks(dtype, K) * (HEAD_BYTES + QUANT_BLOCK[dtype] * 2);
}
