import { weightMemoryBytes } from '../checkpoint/load.js';
import type { ExpectedTensor } from '../checkpoint/manifest.js';
import { MEMORY_LIMIT } from '../runtime/heap.js';
import type { SmolVLMConfig } from './config.js';
import { workingBytes } from './memory.js';
import { dtypeChanges, type PartDtypes, uniformDtypes } from './weight-dtypes.js';

type Tensors = ReadonlyMap<string, { readonly dtype: string; readonly scale?: unknown }>;

/** What reading takes beside the weights, and the module's own memory: 3 MiB each at most, but for very long rows. */
const OVERHEAD_BYTES = 6 << 20;

/**
 * The widest dtypes in which a model fits, with room for a run: as it is stored, in bfloat16, int8 or int4. Where none does,
 * or the checkpoint is quantised already, it stays as it is stored, and loading says by how much it is too large.
 */
export function fittingDtypes(
  expected: readonly ExpectedTensor[],
  tensors: Tensors,
  config: SmolVLMConfig,
  { maximumBytes = MEMORY_LIMIT }: { maximumBytes?: number },
): PartDtypes {
  const stored: PartDtypes = {};
  if (config.quantization) return stored;
  const narrower = (['BF16', 'I8', 'I4'] as const).map(uniformDtypes);
  const room = maximumBytes - OVERHEAD_BYTES - workingBytes(config);
  return [stored, ...narrower].find((parts) => memoryOf(expected, tensors, parts) <= room) ?? stored;
}

/** Bytes of wasm memory that a checkpoint's weights take in these dtypes. */
export function memoryOf(expected: readonly ExpectedTensor[], tensors: Tensors, parts: PartDtypes): number {
  const { convert, quantize } = dtypeChanges(expected, tensors, parts);
  const converted = new Map<string, { readonly dtype: string; readonly scale?: unknown }>(tensors);
  for (const [name, dtype] of convert) converted.set(name, { dtype });
  return weightMemoryBytes(expected, converted, quantize);
}
