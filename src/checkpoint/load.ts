import { type Weight, type WeightDtype, weightBytes } from '../runtime/weight.js';
import type { ExpectedTensor } from './manifest.js';
import type { Shards } from './shards.js';
import {
  type Job,
  type LoadOptions,
  stagingBytes,
  type WeightMemory,
  WeightReader,
} from './weight-reader.js';

export type { LoadOptions, LoadProgress, WeightMemory } from './weight-reader.js';

const ALIGNMENT = 64;

/** Bytes of wasm memory that these tensors take once loaded; while loading, about three mebibytes more. */
export function weightMemoryBytes(
  expected: readonly ExpectedTensor[],
  tensors: ReadonlyMap<string, { readonly dtype: string }>,
): number {
  return expected.reduce((sum, { name, layout, N, K }) => {
    const dtype = (tensors.get(name)?.dtype ?? 'F32') as WeightDtype;
    return sum + align(weightBytes(layout, dtype, N, K));
  }, 0);
}

/**
 * Reads a checkpoint's weights into wasm memory: matrices packed into panels of 8 rows while they are read, vectors
 * widened to float32. Files are read front to back, so streams serve as well as disks, and no more than a few pieces of
 * about a mebibyte are held outside their final place.
 * @param shards checked by `checkTensors` against the same `expected`
 * @returns weights by state-dict name, in the order of `expected`
 * @throws MemoryError, with numbers, before anything is read, if they do not fit
 * @throws CheckpointError for a truncated file; AbortError (the signal's reason). The memory is free again then.
 * @throws DisposedError if the engine is disposed of meanwhile.
 */
export async function loadWeights(
  shards: Shards,
  expected: readonly ExpectedTensor[],
  engine: WeightMemory,
  options: LoadOptions = {},
): Promise<Map<string, Weight>> {
  const bytes = weightMemoryBytes(expected, shards.tensors);
  const planned = place(expected, shards, 0);
  const stagedBytes = stagingBytes(planned);
  engine.heap.check(bytes + stagedBytes, 'weights');
  const block = engine.allocateWeights(bytes);
  let staging: number | undefined;
  try {
    staging = engine.heap.allocate(stagedBytes, 'weights being read');
    const jobs = place(expected, shards, block);
    const reader = new WeightReader(engine, staging, jobs, options);
    for (const file of shards.files) {
      await reader.readFile(file);
      await reader.checkEnd(file);
      await file.close();
    }
    return new Map(jobs.map(({ weight }) => [weight.name, weight]));
  } catch (error) {
    engine.heap?.free(block);
    throw error;
  } finally {
    if (staging !== undefined) engine.heap?.free(staging);
  }
}

/** Gives every tensor its place, one after the other from `block` on. */
function place(expected: readonly ExpectedTensor[], shards: Shards, block: number): Job[] {
  let pointer = block;
  return expected.map(({ name, shape, layout, N, K }) => {
    const tensor = shards.tensors.get(name)!;
    const dtype = tensor.dtype as WeightDtype;
    const weight: Weight = { name, dtype, layout, shape, N, K, pointer };
    pointer += align(weightBytes(layout, dtype, N, K));
    return { weight, tensor };
  });
}

function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
