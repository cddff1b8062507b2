import { QUANT_BLOCK } from '../runtime/weight.js';
import type { ConfigFields } from './config-fields.js';

/** The `quant_method` of checkpoints that this library quantised. */
export const QUANT_METHOD = 'smolvlm-wasm';
const FORMAT = 1;

/** config.json's `quantization_config`, as far as loading depends on it; which tensors are quantised, their dtypes say. */
export interface Quantization {
  readonly quant_method: typeof QUANT_METHOD;
  /** Which layout of tensors: see src/checkpoint/quantized.ts. */
  readonly format: number;
  /** Columns that share a scale. */
  readonly block_size: number;
}

/** The field of a checkpoint that is being written; `dtypes` are for people. */
export function quantizationConfig(
  dtypes: Readonly<Record<string, string>>,
): Quantization & { dtypes: object } {
  return { quant_method: QUANT_METHOD, format: FORMAT, block_size: QUANT_BLOCK, dtypes };
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
  const read = (field: string, known: number) => {
    if (own.value(field) === known) return known;
    throw own.error(field, String(known), 'quantised weights of this kind are not implemented');
  };
  return {
    quant_method: QUANT_METHOD,
    format: read('format', FORMAT),
    block_size: read('block_size', QUANT_BLOCK),
  };
}
