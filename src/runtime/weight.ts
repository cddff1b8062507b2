/** A weight as it lies in wasm memory. Its name is the Hugging Face state-dict name. */
export interface Weight {
  readonly name: string;
  /** The checkpoint's dtype. A panel keeps it; a vector is float32 in memory (widened exactly). */
  readonly dtype: WeightDtype;
  /** `panel`: matrices (convolutions flattened), `[ceil(N/8)][K][8]`. `vector`: N contiguous float32 values. */
  readonly layout: 'panel' | 'vector';
  /** The checkpoint's shape. */
  readonly shape: readonly number[];
  /** Rows (outputs) of a matrix; length of a vector. */
  readonly N: number;
  /** Columns (inputs) of a matrix; 1 for a vector. */
  readonly K: number;
  /** Byte offset in wasm memory. */
  readonly pointer: number;
}

export type WeightDtype = 'F32' | 'F16' | 'BF16';

/** Bytes that a weight takes in memory. */
export function weightBytes(layout: Weight['layout'], dtype: WeightDtype, N: number, K: number): number {
  if (layout === 'vector') return 4 * N;
  return Math.ceil(N / 8) * 8 * K * (dtype === 'F32' ? 4 : 2);
}
