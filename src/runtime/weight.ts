/** A weight as it lies in wasm memory. Its name is the Hugging Face state-dict name. */
export interface Weight {
  readonly name: string;
  /** The checkpoint's dtype, or what a matrix was quantised to. A vector is float32 in memory (widened exactly). */
  readonly dtype: PanelDtype;
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

/** How a checkpoint stores a weight. */
export type WeightDtype = 'F32' | 'F16' | 'BF16';

/** Quantised while loading: integers with a bfloat16 scale (I4: and minimum) per output and block of QUANT_BLOCK[dtype] k. */
export type QuantizedDtype = 'I8' | 'I4';

/** What a panel's elements may be. */
export type PanelDtype = WeightDtype | QuantizedDtype;

/** k that share a scale in quantised weights and activations. */
export const QUANT_BLOCK = { I8: 64, I4: 32 } as const;

/** Bytes that 8 scales, or 8 minimums, take in a block record. */
export const QUANT_SCALE_BYTES = 16;

/**
 * Bytes of one block record of a quantised panel `[ceil(N/8)][blocks]`: 8 scales, of I4 also 8 minimums, then the values of
 * 8 outputs (see Kernels).
 */
export const QUANT_RECORD_BYTES = {
  I8: QUANT_SCALE_BYTES + 8 * QUANT_BLOCK.I8,
  I4: 2 * QUANT_SCALE_BYTES + 4 * QUANT_BLOCK.I4,
} as const;

/** Blocks of a row of K. */
export function quantBlocks(dtype: QuantizedDtype, K: number): number {
  return Math.ceil(K / QUANT_BLOCK[dtype]);
}

/** Bytes that a weight takes in memory. */
export function weightBytes(layout: Weight['layout'], dtype: PanelDtype, N: number, K: number): number {
  if (layout === 'vector') return 4 * N;
  const panels = Math.ceil(N / 8);
  if (isQuantized(dtype)) return panels * quantBlocks(dtype, K) * QUANT_RECORD_BYTES[dtype];
  return panels * 8 * K * (dtype === 'F32' ? 4 : 2);
}

export function isQuantized(dtype: PanelDtype): dtype is QuantizedDtype {
  return dtype === 'I8' || dtype === 'I4';
}

/** Bytes of a panel of 8 outputs. */
export function panelBytes(dtype: PanelDtype, K: number): number {
  return weightBytes('panel', dtype, 8, K);
}
