import { instantiate } from '@assemblyscript/loader';
import { abortError, DisposedError, InputError } from '../errors.js';
import { Arena } from './arena.js';
import { hasRelaxedSimd, kernelsModule } from './binaries.js';
import { Heap, MEMORY_LIMIT } from './heap.js';
import type { Kernels } from './kernels.js';
import { Pace, runSteps, type Steps } from './steps.js';
import { Tensor } from './tensor.js';

export interface EngineOptions {
  /** The most bytes the engine may take, at most 4 GiB. Default: 4 GiB. */
  maximumBytes?: number;
  /** The kernels, compiled already: for hosts that do not compile at run time. Default: the embedded binary. */
  module?: WebAssembly.Module;
  /**
   * Kernels with relaxed SIMD (fused multiply-add, the 7-bit dot product): faster, but their bits depend on the processor.
   * true: them or an error; 'auto': them where the host has them. Default: false.
   */
  relaxed?: boolean | 'auto';
}

/**
 * One WebAssembly instance with its memory, in three areas: weights, KV cache slabs (both straight from the heap), and
 * activations (an arena with scopes). Runs are serialised: one computation at a time uses the activations.
 */
export class Engine {
  readonly heap: Heap;
  readonly activations: Arena;
  #kernels: Kernels | undefined;
  #memory: WebAssembly.Memory;
  #last: Promise<unknown> = Promise.resolve();
  readonly #pace = new Pace();

  private constructor(memory: WebAssembly.Memory, kernels: Kernels, heapBase: number, limit: number) {
    this.#memory = memory;
    this.#kernels = kernels;
    this.heap = new Heap(memory, heapBase, limit);
    this.activations = new Arena(this.heap, 'activations');
  }

  /** @throws MemoryError when the host refuses even the first page. */
  static async create({
    maximumBytes = MEMORY_LIMIT,
    module,
    ...options
  }: EngineOptions = {}): Promise<Engine> {
    const relaxed = useRelaxed(options.relaxed);
    const memory = new WebAssembly.Memory({ initial: 16, maximum: 65536 });
    const source = module ?? (await kernelsModule(relaxed, false));
    const instance = await instantiate<Record<string, unknown>>(source, { env: { memory } });
    const kernels = instance.exports as unknown as Kernels & { heap_base(): number };
    return new Engine(memory, kernels, kernels.heap_base(), maximumBytes);
  }

  /** @throws DisposedError after `dispose()`. */
  get kernels(): Kernels {
    if (this.#kernels) return this.#kernels;
    throw new DisposedError({ what: 'the engine was disposed of', where: 'Engine' });
  }

  get disposed(): boolean {
    return this.#kernels === undefined;
  }

  /** Bytes of linear memory held. */
  get bytes(): number {
    return this.disposed ? 0 : this.#memory.buffer.byteLength;
  }

  /** Memory for a weight; 64-byte aligned, freed with the engine. */
  allocateWeights(bytes: number): number {
    return this.heap.allocate(bytes, 'weights');
  }

  // Views over the memory as it is now: they go stale whenever it grows, so they are taken anew at every use.
  u8(pointer: number, length: number): Uint8Array {
    return new Uint8Array(this.#memory.buffer, pointer, length);
  }
  i32(pointer: number, length: number): Int32Array {
    return new Int32Array(this.#memory.buffer, pointer, length);
  }
  u32(pointer: number, length: number): Uint32Array {
    return new Uint32Array(this.#memory.buffer, pointer, length);
  }
  f32(pointer: number, length: number): Float32Array {
    return new Float32Array(this.#memory.buffer, pointer, length);
  }

  /** A new tensor among the activations; its values are undefined. */
  tensor(...shape: number[]): Tensor {
    const size = shape.reduce((product, n) => product * n, 1);
    return new Tensor(this.activations.allocate(4 * size), shape);
  }

  /** A tensor among the activations with these values. */
  upload(data: ArrayLike<number>, shape: readonly number[]): Tensor {
    const tensor = this.tensor(...shape);
    this.f32(tensor.pointer, tensor.size).set(data);
    return tensor;
  }

  /** int32 values among the activations; returns their pointer. */
  uploadInt32(data: ArrayLike<number>): number {
    const pointer = this.activations.allocate(4 * data.length);
    this.i32(pointer, data.length).set(data);
    return pointer;
  }

  /** A copy of a tensor's values, outside wasm memory. */
  download(tensor: Tensor): Float32Array {
    return this.f32(tensor.pointer, tensor.size).slice();
  }

  /**
   * Runs a computation in a scope of its own: what it allocates among the activations is gone when it ends, however it
   * ends. Computations wait for each other.
   * @throws AbortError (the signal's reason) when `signal` is aborted; DisposedError after `dispose()`.
   */
  run<T>(compute: () => Steps<T>, signal?: AbortSignal): Promise<T> {
    const look = () => {
      void this.kernels;
      if (signal?.aborted) throw abortError(signal);
    };
    const result = this.#last.then(() => {
      look();
      const mark = this.activations.mark();
      return runSteps(compute(), this.#pace, look).finally(() => this.activations.release(mark));
    });
    this.#last = result.catch(() => {});
    return result;
  }

  /**
   * Ends the run in progress (it rejects with DisposedError) and drops the instance with its memory. A second call does
   * nothing; every other use throws DisposedError.
   */
  dispose(): void {
    if (this.disposed) return;
    this.#kernels = undefined;
    void this.#last.then(() => {
      // The last references to the memory: the host can take it back.
      const self = this as unknown as { heap?: Heap; activations?: Arena };
      self.heap = undefined;
      self.activations = undefined;
      this.#memory = new WebAssembly.Memory({ initial: 0, maximum: 0 });
    });
  }
}

/** @throws InputError where relaxed SIMD is demanded and the host has none */
function useRelaxed(wanted: boolean | 'auto' = false): boolean {
  if (wanted === false || hasRelaxedSimd()) return wanted !== false;
  if (wanted === 'auto') return false;
  throw new InputError({
    what: 'this host has no relaxed SIMD',
    where: 'relaxed',
    expected: "a newer WebAssembly engine (Node 22 or later), or relaxed: 'auto'",
    got: 'true',
  });
}
