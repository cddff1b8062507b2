import { QUANT_BLOCK } from '../runtime/weight.js';
import type { ConfigFields } from './config-fields.js';

/** The `quant_method` of checkpoints that this library quantised. */
export const QUANT_METHOD = 'smolvlm-wasm';
/** 1 had blocks of 32 in 8 bits too. */
const FORMAT = 2;
/** Columns that share a scale. */
const BLOCK_SIZES = { int8: QUANT_BLOCK.I8, int4: QUANT_BLOCK.I4 };

/** config.json's `quantization_config`, as far as loading depends on it; which tensors are quantised, their dtypes say. */
export interface Quantization {
  readonly quant_method: typeof QUANT_METHOD;
  /** Which layout of tensors: see src/checkpoint/quantized.ts. */
  readonly format: number;
  readonly block_sizes: Readonly<typeof BLOCK_SIZES>;
}

/** The field of a checkpoint that is being written; `dtypes` are for people. */
export function quantizationConfig(
  dtypes: Readonly<Record<string, string>>,
): Quantization & { dtypes: object } {
  return { quant_method: QUANT_METHOD, format: FORMAT, block_sizes: BLOCK_SIZES, dtypes };
}

/** @throws ConfigError for weights quantised in any other way */
export function parseQuantization(fields: ConfigFields): Quantization | null {
  const value = fields.value('quantization_config');
  if (value === undefined || value === null) return null;
  const isOwn = (value as { quant_method?: unknown }).quant_method === QUANT_METHOD;
  if (!isOwn) {
    const expected = `absent, or with the quant_method ${QUANT_METHOD}`;
    throw fields.error('quantization_config', expected, 'quantised weights of this kind are not implemented');
  }
  const own = fields.object('quantization_config') as ConfigFields;
  const check = (where: ConfigFields, field: string, known: number) => {
    if (where.value(field) === known) return;
    throw where.error(field, String(known), 'weights quantised in another way: quantise the original again');
  };
  check(own, 'format', FORMAT);
  const blockSizes = own.object('block_sizes') as ConfigFields;
  for (const [dtype, size] of Object.entries(BLOCK_SIZES)) check(blockSizes, dtype, size);
  return { quant_method: QUANT_METHOD, format: FORMAT, block_sizes: BLOCK_SIZES };
}
