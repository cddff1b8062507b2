import { type PanelDtype, type QuantizedDtype, type Weight, weightBytes } from '../runtime/weight.js';
import type { ExpectedTensor } from './manifest.js';
import type { Job } from './pack.js';
import { storedAs } from './quantized.js';
import type { Shards } from './shards.js';
import {
  type LoadOptions as ReadOptions,
  stagingBytes,
  type WeightMemory,
  WeightReader,
} from './weight-reader.js';

export type { ReadProgress, WeightMemory } from './weight-reader.js';

export interface LoadOptions extends ReadOptions {
  /** Matrices to quantise while they are read, by name. */
  quantize?: ReadonlyMap<string, QuantizedDtype>;
}

const ALIGNMENT = 64;

/** What a tensor becomes in memory. */
type Dtypes = (name: string) => PanelDtype;

/** The dtypes that tensors have in memory: what they are quantised to, or as they are stored (F32 where there is none). */
export function memoryDtypes(
  tensors: ReadonlyMap<string, { readonly dtype: string; readonly scale?: unknown }>,
  quantize?: ReadonlyMap<string, QuantizedDtype>,
): Dtypes {
  return (name) => quantize?.get(name) ?? storedAs(tensors.get(name) ?? { dtype: 'F32' });
}

/** Bytes of wasm memory that these tensors take once loaded; while loading, about three mebibytes more. */
export function weightMemoryBytes(
  expected: readonly ExpectedTensor[],
  tensors: ReadonlyMap<string, { readonly dtype: string; readonly scale?: unknown }>,
  quantize?: ReadonlyMap<string, QuantizedDtype>,
): number {
  const dtypeOf = memoryDtypes(tensors, quantize);
  return expected.reduce((sum, { name, layout, N, K }) => {
    return sum + align(weightBytes(layout, dtypeOf(name), N, K));
  }, 0);
}

/**
 * Reads a checkpoint's weights into wasm memory: matrices packed into panels of 8 rows (and quantised, where that is asked
 * for) while they are read, vectors widened to float32. Files are read front to back, so streams serve as well as disks, and
 * no more than a few pieces of about a mebibyte are held outside their final place.
 * @param shards checked by `checkTensors` against the same `expected`
 * @returns weights by state-dict name, in the order of `expected`
 * @throws MemoryError, with numbers, before anything is read, if they do not fit
 * @throws CheckpointError for a truncated file, or values that cannot be quantised; AbortError (the signal's reason). The
 * memory is free again then.
 * @throws DisposedError if the engine is disposed of meanwhile.
 */
export async function loadWeights(
  shards: Shards,
  expected: readonly ExpectedTensor[],
  engine: WeightMemory,
  options: LoadOptions = {},
): Promise<Map<string, Weight>> {
  const dtypeOf = memoryDtypes(shards.tensors, options.quantize);
  const bytes = weightMemoryBytes(expected, shards.tensors, options.quantize);
  const stagedBytes = stagingBytes(jobsOf(placeWeights(expected, dtypeOf, 0), shards));
  engine.heap.check(bytes + stagedBytes, 'weights');
  const block = engine.allocateWeights(bytes);
  try {
    const weights = placeWeights(expected, dtypeOf, block);
    await readWeights(shards, weights, engine, options);
    return new Map(weights.map((weight) => [weight.name, weight]));
  } catch (error) {
    engine.heap?.free(block);
    throw error;
  }
}

/**
 * Reads weights into the places that they have; files are closed behind it.
 * @throws MemoryError for the staging area, CheckpointError; AbortError; DisposedError
 */
export async function readWeights(
  shards: Shards,
  weights: readonly Weight[],
  engine: WeightMemory,
  options: ReadOptions = {},
): Promise<void> {
  const jobs = jobsOf(weights, shards);
  const staging = engine.heap.allocate(stagingBytes(jobs), 'weights being read');
  try {
    const reader = new WeightReader(engine, staging, jobs, options);
    for (const file of shards.files) {
      if (!jobs.some(({ tensor }) => tensor.file === file)) continue;
      await reader.readFile(file);
      await reader.checkEnd(file);
      await file.close();
    }
  } finally {
    engine.heap?.free(staging);
  }
}

/** Gives every tensor its place, one after the other from `block` on. */
export function placeWeights(expected: readonly ExpectedTensor[], dtypeOf: Dtypes, block: number): Weight[] {
  let pointer = block;
  return expected.map(({ name, shape, layout, N, K }) => {
    const dtype = dtypeOf(name);
    const weight: Weight = { name, dtype, layout, shape, N, K, pointer };
    pointer += align(weightBytes(layout, dtype, N, K));
    return weight;
  });
}

/** The tensors that fill these weights. */
export function jobsOf(weights: readonly Weight[], { tensors }: Pick<Shards, 'tensors'>): Job[] {
  return weights.flatMap((weight): Job[] => {
    const tensor = tensors.get(weight.name)!;
    const values: Job = { weight, tensor, role: 'values' };
    const jobs = [values];
    if (tensor.scale) jobs.push({ weight, tensor: tensor.scale, role: 'scales' });
    if (tensor.minimum) jobs.push({ weight, tensor: tensor.minimum, role: 'minimums' });
    return jobs;
  });
}

function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
