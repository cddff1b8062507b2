import { instantiate } from '@assemblyscript/loader';
import { abortError, DisposedError, InputError } from '../errors.js';
import { Arena, type Mark } from './arena.js';
import { kernelsModule, relaxedDotForm } from './binaries.js';
import { copyOfArguments, type KernelCall } from './call.js';
import { DOT_FORM_PAIRS, type DotForm } from './dot-form.js';
import {
  checkRelaxed,
  type EngineOptions,
  newMemory,
  oneThread,
  threadCount,
  useRelaxed,
} from './engine-options.js';
import { Heap, MEMORY_LIMIT } from './heap.js';
import type { Kernels } from './kernels.js';
import { LocalQueue } from './local-queue.js';
import { WorkerPool } from './pool.js';
import { orAborted, Pace, runSteps, type Steps } from './steps.js';
import { Tensor } from './tensor.js';

export type { EngineOptions } from './engine-options.js';

type ModuleExports = Kernels & { heap_base(): number; scratch_bytes(): number; is_relaxed(): number };

/** What `create` has put together. */
interface Parts {
  memory: WebAssembly.Memory;
  module: WebAssembly.Module;
  kernels: ModuleExports;
  limit: number;
  relaxed: boolean;
  dotForm: DotForm;
  pool?: WorkerPool;
  /** Whether to go on with one thread where the host starts no workers. */
  mayStartNone: boolean;
}

/**
 * One WebAssembly memory with its instance, in three areas: weights, KV cache slabs (both straight from the heap), and
 * activations (an arena with scopes). Runs are serialised: one computation at a time uses the activations.
 *
 * The calls of a run are written down, for several threads or for this one alone, and the run goes on before they are done.
 * Whatever looks into the memory from here (views, `kernels`) first waits for them, blocking; `drain` waits without blocking.
 */
export class Engine {
  readonly heap: Heap;
  readonly activations: Arena;
  /** Whether the kernels use relaxed SIMD: their bits then depend on the processor. */
  readonly relaxed: boolean;
  /** Values that go to workers: memory that no call before them uses. */
  readonly #uploads: Arena;
  readonly #module: WebAssembly.Module;
  #pool: WorkerPool | undefined;
  /** Of calls that this thread carries out alone. */
  readonly #local = new LocalQueue((kernel, args) =>
    (this.#live()[kernel] as (...args: readonly number[]) => unknown)(...args),
  );
  /** Calls since the last pause. */
  #written = 0;
  /** Whether calls were written down since the run began or last waited: some of them may not be done. */
  #mayWait = false;
  /** Where calls are written down for `repeat` too. */
  #recorded: KernelCall[] | undefined;
  readonly #mayStartNone: boolean;
  readonly #scratchBytes: number;
  readonly #dotForm: DotForm;
  #kernels: Kernels | undefined;
  #memory: WebAssembly.Memory;
  #last: Promise<unknown> = Promise.resolve();
  readonly #pace = new Pace();

  private constructor({ memory, module, kernels, limit, relaxed, dotForm, pool, mayStartNone }: Parts) {
    this.#memory = memory;
    this.#module = module;
    this.#kernels = kernels;
    this.#pool = pool;
    this.#mayStartNone = mayStartNone;
    this.#scratchBytes = kernels.scratch_bytes();
    this.relaxed = relaxed;
    this.#dotForm = dotForm;
    this.heap = new Heap(memory, kernels.heap_base(), limit);
    this.activations = new Arena(this.heap, 'activations');
    this.#uploads = new Arena(this.heap, 'uploads', UPLOADS_CHUNK);
    if (pool) abandoned?.register(this, pool, this);
  }

  /**
   * @throws MemoryError when the host refuses even the first page; InputError for threads or relaxed SIMD that it has not
   */
  static async create({
    maximumBytes = MEMORY_LIMIT,
    module,
    ...options
  }: EngineOptions = {}): Promise<Engine> {
    const threads = module ? oneThread(options.threads) : await threadCount(options.threads);
    const { memory, bytes } = newMemory(maximumBytes, threads > 1);
    const compiled = module ?? (await kernelsModule(useRelaxed(options.relaxed), threads > 1));
    const { instance } = await instantiate(compiled, { env: { memory } });
    // As they are: the loader's own wrap each call, for arguments that may be left out.
    const kernels = { ...instance.exports } as unknown as ModuleExports;
    const relaxed = kernels.is_relaxed() === 1;
    if (module) checkRelaxed(relaxed, options.relaxed);
    const dotForm = relaxed ? await relaxedDotForm(module) : DOT_FORM_PAIRS;
    kernels.set_dot_form(dotForm);
    const pool = threads > 1 ? new WorkerPool(threads, compiled, kernels) : undefined;
    return new Engine({
      memory,
      module: compiled,
      kernels,
      limit: Math.min(maximumBytes, bytes),
      relaxed,
      dotForm,
      pool,
      mayStartNone: options.threads === 'auto',
    });
  }

  /** Threads that compute. */
  get threads(): number {
    return this.#pool?.threads ?? 1;
  }

  /** @throws DisposedError after `dispose()`. */
  get kernels(): Kernels {
    this.#queue.finish();
    return this.#live();
  }

  get #queue(): WorkerPool | LocalQueue {
    return this.#pool ?? this.#local;
  }

  #live(): Kernels {
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

  /** Writes a kernel call down. */
  call(call: KernelCall): void {
    this.#queue.push(call);
    this.#recorded?.push(call);
    this.#written++;
    this.#mayWait = true;
  }

  /** The same, with a pause after every dozen of calls. */
  *steps(call: KernelCall): Steps<void> {
    this.call(call);
    if (this.#written < PAUSE_CALLS) return;
    this.#written = 0;
    yield;
  }

  /**
   * The calls of a computation as it goes on, for `repeat`, their arguments copies that may be changed; nothing where it uploads
   * values too, which would not come again.
   */
  *record(compute: () => Steps<void>): Steps<readonly KernelCall[] | undefined> {
    this.#recorded = [];
    try {
      yield* compute();
      return this.#recorded?.map((call) => ({ ...call, args: copyOfArguments(call.args) }));
    } finally {
      this.#recorded = undefined;
    }
  }

  /** Writes calls down once more, with pauses. */
  *repeat(calls: readonly KernelCall[]): Steps<void> {
    for (const call of calls) {
      this.call(call);
      if (this.#written < PAUSE_CALLS) continue;
      this.#written = 0;
      yield;
    }
  }

  /** Waits for the calls that were written down, without blocking: before a run looks into the memory itself. */
  *drain(): Steps<void> {
    yield* this.#queue.drain();
    this.#mayWait = false;
  }

  // Views over the memory as it is now: they go stale whenever it grows, so they are taken anew at every use.
  u8(pointer: number, length: number): Uint8Array {
    this.#queue.finish();
    return new Uint8Array(this.#memory.buffer, pointer, length);
  }
  i32(pointer: number, length: number): Int32Array {
    this.#queue.finish();
    return new Int32Array(this.#memory.buffer, pointer, length);
  }
  u32(pointer: number, length: number): Uint32Array {
    this.#queue.finish();
    return new Uint32Array(this.#memory.buffer, pointer, length);
  }
  f32(pointer: number, length: number): Float32Array {
    this.#queue.finish();
    return new Float32Array(this.#memory.buffer, pointer, length);
  }

  /**
   * The memory and the kernels as they are, without waiting for calls: for places that no waiting call uses.
   */
  get apart(): Pick<Engine, 'heap' | 'allocateWeights' | 'kernels' | 'u8'> {
    const live = () => this.#live();
    return {
      heap: this.heap,
      get kernels() {
        return live();
      },
      allocateWeights: (bytes) => this.allocateWeights(bytes),
      u8: (pointer, length) => new Uint8Array(this.#memory.buffer, pointer, length),
    };
  }

  /** A new tensor among the activations; its values are undefined. */
  tensor(...shape: number[]): Tensor {
    const size = shape.reduce((product, n) => product * n, 1);
    return new Tensor(this.activations.allocate(4 * size), shape);
  }

  /** A tensor with these values, in the scope of the run. */
  upload(data: ArrayLike<number>, shape: readonly number[]): Tensor {
    const pointer = this.#uploadPlace(data.length);
    new Float32Array(this.#memory.buffer, pointer, data.length).set(data);
    return new Tensor(pointer, shape);
  }

  /** int32 values in the scope of the run; returns their pointer. */
  uploadInt32(data: ArrayLike<number>): number {
    const pointer = this.#uploadPlace(data.length);
    new Int32Array(this.#memory.buffer, pointer, data.length).set(data);
    return pointer;
  }

  #uploadPlace(values: number): number {
    this.#recorded = undefined;
    // What is free among the activations may still be in use by calls that wait. (Whether one does depends on chance, and
    // addresses should not: `record`.)
    if (!this.#mayWait) return this.activations.allocate(4 * values);
    const { bytes } = this.#uploads;
    const pointer = this.#uploads.allocate(4 * values);
    // So may be what the heap had to give.
    if (this.#uploads.bytes > bytes) this.#queue.finish();
    return pointer;
  }

  /** A copy of a tensor's values, outside wasm memory. */
  download(tensor: Tensor): Float32Array {
    return this.f32(tensor.pointer, tensor.size).slice();
  }

  /**
   * Runs a computation in a scope of its own: what it allocates among the activations is gone when it ends, however it
   * ends. Computations wait for each other; an abort is answered at once while one waits.
   * @param options.whole one that must not be broken off once it has begun: an abort is answered until then
   * @throws AbortError (the signal's reason) when `signal` is aborted; DisposedError after `dispose()`.
   */
  run<T>(compute: () => Steps<T>, given?: AbortSignal, options: { whole?: boolean } = {}): Promise<T> {
    const before = this.#last;
    const inTurn = async () => {
      await orAborted(before, given);
      this.#look(given);
      const signal = options.whole ? undefined : given;
      await this.#start();
      this.#mayWait = false;
      const mark = this.activations.mark();
      const skip = () => this.#pool?.skip(abortError(signal!));
      signal?.addEventListener('abort', skip);
      try {
        return await runSteps(this.#paced(compute()), this.#pace, () => this.#look(signal), signal);
      } finally {
        signal?.removeEventListener('abort', skip);
        this.#local.clear();
        await this.#pool?.settle();
        if (!this.disposed) {
          this.#uploads.release(START);
          this.#uploads.trim();
          this.activations.release(mark);
        }
      }
    };
    const result = inTurn();
    // One that gave up waiting must not let the next one overtake those before it.
    this.#last = Promise.allSettled([before, result]).then(() => {});
    return result;
  }

  /** Has the calls carried out where a run is far ahead of them, and at its end. */
  *#paced<T>(steps: Steps<T>): Steps<T> {
    try {
      for (;;) {
        const { done, value } = steps.next();
        if (done) {
          // A result that is whole is not lost to an abort that comes now: it may hold memory.
          if (this.#queue.pending > 0) yield* this.drain();
          return value;
        }
        if (value) yield value;
        else if (this.#queue.crowded) yield* this.#queue.relieve();
        else yield;
      }
    } finally {
      steps.return(undefined as T);
    }
  }

  /** @throws DisposedError; the signal's reason */
  #look(signal: AbortSignal | undefined): void {
    if (this.disposed) void this.kernels;
    if (signal?.aborted) throw abortError(signal);
  }

  async #start(): Promise<void> {
    // Taken from the heap while calls wait, the first piece would have to wait for them.
    this.#uploads.allocate(1);
    this.#uploads.release(START);
    if (!this.#pool || this.#pool.started) return;
    const scratch = Array.from({ length: this.#pool.workers }, () =>
      this.heap.allocate(this.#scratchBytes, 'scratch'),
    );
    const what = { module: this.#module, memory: this.#memory, dotForm: this.#dotForm };
    try {
      await this.#pool.start(what, scratch);
    } catch (error) {
      await this.#pool.dispose();
      void this.#live();
      if (!this.#mayStartNone) {
        const expected = "a host that starts workers, or threads: 'auto' or 1";
        throw new InputError({ what: 'no workers', where: 'threads', expected, got: String(error) });
      }
      for (const pointer of scratch) this.heap.free(pointer);
      this.#pool = undefined;
    }
  }

  /**
   * Ends the run in progress (it rejects with DisposedError) and drops the instance with its memory. A second call does
   * nothing; every other use throws DisposedError.
   */
  dispose(): void {
    if (this.disposed) return;
    this.#kernels = undefined;
    // The pool's error remembers who was called, this engine among them, which would then never be collected.
    abandoned?.unregister(this);
    const ended = this.#pool?.dispose();
    void Promise.all([this.#last, ended]).then(() => {
      // The last references to the memory: the host can take it back.
      const self = this as unknown as { heap?: Heap; activations?: Arena };
      self.heap = undefined;
      self.activations = undefined;
      this.#memory = new WebAssembly.Memory({ initial: 0, maximum: 0 });
    });
  }
}

/** Calls that a run writes down between pauses: it can be broken off there, and is asked whether to wait. */
const PAUSE_CALLS = 12;

/** Enough for the lists of ids and places of most runs. */
const UPLOADS_CHUNK = 1 << 16;

const START: Mark = { chunk: 0, offset: 0 };

/** Workers hold their memory: those of an engine that was dropped without `dispose()` end when it is collected. */
const abandoned =
  typeof FinalizationRegistry === 'function'
    ? new FinalizationRegistry<WorkerPool>((pool) => void pool.dispose())
    : undefined;
