import { CheckpointError } from '../errors.js';
import type { Heap } from '../runtime/heap.js';
import type { Kernels } from '../runtime/kernels.js';
import { turn } from '../runtime/steps.js';
import { type Weight, type WeightDtype, weightBytes } from '../runtime/weight.js';
import { DTYPE_BYTES } from './dtypes.js';
import type { ExpectedTensor } from './manifest.js';
import type { CheckpointTensor, Shards } from './shards.js';
import { checkSignal } from './source.js';

/** As much of the engine as loading needs. */
export interface WeightMemory {
  readonly heap: Heap;
  readonly kernels: Pick<Kernels, 'panel8_pack_16' | 'panel8_pack_32' | 'f32_bf16_unpack' | 'f32_f16_unpack'>;
  allocateWeights(bytes: number): number;
  u8(pointer: number, length: number): Uint8Array;
}

export interface LoadProgress {
  /** Bytes of weights read so far, and in all. */
  readonly loaded: number;
  readonly total: number;
}

export interface LoadOptions {
  signal?: AbortSignal;
  onProgress?: (progress: LoadProgress) => void;
  /** Gives the event loop a turn. */
  yieldTurn?: () => Promise<void>;
}

/** Bytes read at once: large enough for a disk or a connection, small enough to pack within a few milliseconds. */
const PIECE_BYTES = 1 << 20;
const ALIGNMENT = 64;
/** The event loop has its turn at least every 20 ms; a piece takes a few. */
const SLICE_MS = 10;

/** A weight with its place in the checkpoint and in memory. */
interface Job {
  readonly weight: Weight;
  readonly tensor: CheckpointTensor;
}

/** Bytes of wasm memory that these tensors take once loaded; while loading, about a mebibyte more. */
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
 * widened to float32. Files are read front to back, so streams serve as well as disks, and no more than one piece of
 * about a mebibyte is held outside its final place.
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
  const stagingBytes = Math.max(...expected.map((tensor) => pieceBytes(tensor, shards)));
  engine.heap.check(bytes + stagingBytes, 'weights');
  const block = engine.allocateWeights(bytes);
  let staging: number | undefined;
  try {
    staging = engine.heap.allocate(stagingBytes, 'weights being read');
    const jobs = place(expected, shards, block);
    await new Loader(engine, staging, stagingBytes, jobs, options).run(shards);
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

/** A piece holds whole panels of a matrix: at least one, however long its rows are. */
function pieceBytes({ name, layout, K }: ExpectedTensor, shards: Shards): number {
  if (layout === 'vector') return PIECE_BYTES;
  return Math.max(PIECE_BYTES, 8 * K * DTYPE_BYTES[shards.tensors.get(name)!.dtype]);
}

class Loader {
  #engine: WeightMemory;
  #staging: number;
  /** Pieces are read here first: a view of wasm memory may go stale while a read is under way. */
  #piece: Uint8Array;
  #jobs: readonly Job[];
  #options: LoadOptions;
  #sliceEnd = 0;
  #loaded = 0;
  #total: number;

  constructor(
    engine: WeightMemory,
    staging: number,
    stagingBytes: number,
    jobs: readonly Job[],
    options: LoadOptions,
  ) {
    this.#engine = engine;
    this.#staging = staging;
    this.#piece = new Uint8Array(stagingBytes);
    this.#jobs = jobs;
    this.#options = options;
    this.#total = jobs.reduce((sum, { tensor }) => sum + tensor.end - tensor.begin, 0);
  }

  async run(shards: Shards): Promise<void> {
    this.#sliceEnd = performance.now() + SLICE_MS;
    for (const file of shards.files) {
      const jobs = this.#jobs.filter(({ tensor }) => tensor.file === file);
      jobs.sort((a, b) => a.tensor.begin - b.tensor.begin);
      for (const { weight, tensor } of jobs) {
        if (weight.layout === 'panel') await this.#matrix(weight, tensor);
        else await this.#vector(weight, tensor);
      }
      await this.#checkEnd(file);
      await file.close();
    }
  }

  async #matrix(weight: Weight, tensor: CheckpointTensor): Promise<void> {
    const { N, K, dtype } = weight;
    const elementBytes = DTYPE_BYTES[dtype];
    const rowBytes = K * elementBytes;
    const panelsAtOnce = Math.max(1, Math.floor(PIECE_BYTES / (8 * rowBytes)));
    for (let row = 0; row < N; row += 8 * panelsAtOnce) {
      const rows = Math.min(8 * panelsAtOnce, N - row);
      await this.#read(tensor, row * rowBytes, rows * rowBytes);
      const { panel8_pack_16, panel8_pack_32 } = this.#engine.kernels;
      const pack = elementBytes === 4 ? panel8_pack_32 : panel8_pack_16;
      for (let at = 0; at < rows; at += 8) {
        pack(
          weight.pointer + (row + at) * rowBytes,
          this.#staging + at * rowBytes,
          Math.min(8, rows - at),
          K,
          K,
        );
      }
      await this.#turn();
    }
  }

  async #vector(weight: Weight, tensor: CheckpointTensor): Promise<void> {
    const { N, dtype } = weight;
    const elementBytes = DTYPE_BYTES[dtype];
    const atOnce = Math.floor(PIECE_BYTES / elementBytes);
    for (let start = 0; start < N; start += atOnce) {
      const count = Math.min(atOnce, N - start);
      await this.#read(tensor, start * elementBytes, count * elementBytes);
      const out = weight.pointer + 4 * start;
      const { f32_bf16_unpack, f32_f16_unpack } = this.#engine.kernels;
      if (dtype === 'F32') this.#engine.u8(out, 4 * count).set(this.#piece.subarray(0, 4 * count));
      else if (dtype === 'BF16') f32_bf16_unpack(out, this.#staging, count);
      else f32_f16_unpack(out, this.#staging, count);
      await this.#turn();
    }
  }

  /** `length` bytes of the tensor from `offset` on, into the staging area. */
  async #read(tensor: CheckpointTensor, offset: number, length: number): Promise<void> {
    const { signal, onProgress } = this.#options;
    const piece = this.#piece.subarray(0, length);
    await tensor.file.source.read(tensor.begin + offset, piece, signal);
    checkSignal(signal);
    void this.#engine.kernels; // DisposedError if the engine went meanwhile, with its memory.
    this.#engine.u8(this.#staging, length).set(piece);
    this.#loaded += length;
    onProgress?.({ loaded: this.#loaded, total: this.#total });
  }

  async #turn(): Promise<void> {
    if (performance.now() < this.#sliceEnd) return;
    await (this.#options.yieldTurn ?? turn)();
    checkSignal(this.#options.signal);
    this.#sliceEnd = performance.now() + SLICE_MS;
  }

  /** A stream that did not say its size must end where its header says. */
  async #checkEnd({ name, bytes, source }: Shards['files'][number]): Promise<void> {
    if (source.size !== null || !source.readUpTo) return;
    const rest = await source.readUpTo(bytes, new Uint8Array(1), this.#options.signal);
    if (rest === 0) return;
    throw new CheckpointError({
      what: 'bytes after the last tensor',
      where: `${name}, byte ${bytes}`,
      expected: `a file of ${bytes} bytes`,
      got: 'more',
    });
  }
}

function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
