import { CheckpointError, checkSignal } from '../errors.js';
import type { Heap } from '../runtime/heap.js';
import { turn } from '../runtime/steps.js';
import { type Job, Packer, type PackKernels, storedRowBytes } from './pack.js';
import type { SafetensorsFile } from './safetensors.js';
import type { ByteSource } from './source.js';

/** As much of the engine as loading needs. */
export interface WeightMemory {
  readonly heap: Heap;
  readonly kernels: PackKernels;
  allocateWeights(bytes: number): number;
  u8(pointer: number, length: number): Uint8Array;
}

export interface ReadProgress {
  /** Bytes of weights read so far, and in all. */
  readonly loaded: number;
  readonly total: number;
  /** The file that they come from. */
  readonly file: string;
}

export interface LoadOptions {
  signal?: AbortSignal;
  onProgress?: (progress: ReadProgress) => void;
  /** Gives the event loop a turn. */
  yieldTurn?: () => Promise<void>;
}

export interface PieceSizes {
  /** Bytes read at once. */
  readonly pieceBytes: number;
  /** Pieces under way at once: while one is packed, the next is read. */
  readonly ahead: number;
}

/** Pieces large enough for a disk or a connection, small enough to pack within a few milliseconds. */
const SIZES: PieceSizes = { pieceBytes: 1 << 20, ahead: 3 };
/** The event loop has its turn at least every 20 ms; a piece takes a few. */
const SLICE_MS = 10;
const ALIGNMENT = 64;

/** Rows of one tensor in a piece, `from` bytes after its start. */
interface Part {
  readonly job: Job;
  readonly from: number;
  readonly row: number;
  readonly rows: number;
}

/** A range of a file that is read at once. */
interface Piece {
  readonly offset: number;
  readonly length: number;
  readonly parts: readonly Part[];
}

/** A piece that is being read into a part of the staging area. */
interface Reading {
  readonly piece: Piece;
  readonly pointer: number;
  readonly done: Promise<void>;
}

/** Bytes of wasm memory that reading these tensors takes beside their final place. */
export function stagingBytes(jobs: readonly Job[], { pieceBytes, ahead } = SIZES): number {
  return ahead * slotBytes(jobs, pieceBytes);
}

/** A piece holds whole panels of a matrix: at least one, however long its rows are. */
function slotBytes(jobs: readonly Job[], pieceBytes: number): number {
  const largest = jobs.reduce((most, { weight, tensor }) => {
    return weight.layout === 'vector' ? most : Math.max(most, 8 * storedRowBytes(tensor));
  }, pieceBytes);
  return Math.ceil(largest / ALIGNMENT) * ALIGNMENT;
}

/**
 * Reads tensors into the places of their weights: pieces of about a mebibyte go from the file into wasm memory, a few
 * ahead of the one that is being packed. Files are read front to back, so streams serve as well as disks.
 */
export class WeightReader {
  #engine: WeightMemory;
  #packer: Packer;
  #staging: number;
  #slotBytes: number;
  #sizes: PieceSizes;
  #options: LoadOptions;
  #jobs: readonly Job[];
  #sliceEnd = 0;
  #loaded = 0;
  #total: number;

  /** @param staging pointer to `stagingBytes(jobs)` bytes, or to those of a longer list */
  constructor(
    engine: WeightMemory,
    staging: number,
    jobs: readonly Job[],
    options: LoadOptions & Partial<PieceSizes> = {},
  ) {
    this.#sizes = { ...SIZES, ...options };
    this.#engine = engine;
    this.#staging = staging;
    this.#slotBytes = slotBytes(jobs, this.#sizes.pieceBytes);
    this.#packer = new Packer(engine);
    this.#jobs = jobs;
    this.#options = options;
    this.#total = jobs.reduce((sum, { tensor }) => sum + tensor.end - tensor.begin, 0);
  }

  /**
   * @throws CheckpointError for a truncated file; AbortError (the signal's reason); DisposedError if the engine is
   * disposed of meanwhile. Nothing is being read any more then.
   */
  async readFile(file: SafetensorsFile): Promise<void> {
    this.#sliceEnd = performance.now() + SLICE_MS;
    const own = this.#jobs.filter(({ tensor }) => tensor.file === file);
    own.sort((a, b) => a.tensor.begin - b.tensor.begin);
    const pieces = piecesOf(own, this.#sizes.pieceBytes, file.source.random === true);
    const ahead: Reading[] = [];
    let slot = 0;
    try {
      for (;;) {
        while (ahead.length < this.#sizes.ahead) {
          const { value: piece, done } = pieces.next();
          if (done) break;
          const pointer = this.#staging + slot * this.#slotBytes;
          slot = (slot + 1) % this.#sizes.ahead;
          ahead.push(this.#start(file.source, piece, pointer, ahead.at(-1)));
        }
        const [first] = ahead;
        if (!first) return;
        await first.done;
        this.#take(first, file.name);
        ahead.shift();
        await this.#turn();
      }
    } finally {
      // A read that is still under way writes into the staging area.
      await Promise.all(ahead.map(({ done }) => done.catch(() => {})));
    }
  }

  /** Begins to read a piece; sources that cannot do better read one after the other. */
  #start(source: ByteSource, piece: Piece, pointer: number, before: Reading | undefined): Reading {
    const read = () => this.#read(source, piece, pointer);
    const done = before && !source.random ? before.done.then(read) : read();
    // Where it fails before its turn has come, it is not unhandled.
    done.catch(() => {});
    return { piece, pointer, done };
  }

  async #read(source: ByteSource, { offset, length }: Piece, pointer: number): Promise<void> {
    const { signal } = this.#options;
    for (;;) {
      void this.#engine.kernels; // DisposedError if the engine went meanwhile, with its memory.
      const place = this.#engine.u8(pointer, length);
      // Streams are not read into memory that threads share.
      const inPlace = source.random || place.buffer instanceof ArrayBuffer;
      const into = inPlace ? place : new Uint8Array(length);
      try {
        await source.read(offset, into, signal);
      } catch (error) {
        if (!isStale(into, length)) throw error;
      }
      checkSignal(signal);
      void this.#engine.kernels;
      // Memory that grew under the read has another buffer, which may lack what was read.
      if (isStale(into, length)) continue;
      if (into !== place) this.#engine.u8(pointer, length).set(into);
      return;
    }
  }

  #take({ piece, pointer }: Reading, file: string): void {
    const { signal, onProgress } = this.#options;
    checkSignal(signal);
    void this.#engine.kernels;
    for (const { job, from, row, rows } of piece.parts) {
      this.#packer.pack(job, row, rows, pointer + from);
    }
    this.#loaded += piece.length;
    onProgress?.({ loaded: this.#loaded, total: this.#total, file });
  }

  async #turn(): Promise<void> {
    if (performance.now() < this.#sliceEnd) return;
    await (this.#options.yieldTurn ?? turn)();
    checkSignal(this.#options.signal);
    this.#sliceEnd = performance.now() + SLICE_MS;
  }

  /** A stream that did not say its size must end where its header says. @throws CheckpointError */
  async checkEnd({ name, bytes, source }: SafetensorsFile): Promise<void> {
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

/** Whether the memory behind a view went away, as a WebAssembly memory's does when it grows. */
function isStale(view: Uint8Array, length: number): boolean {
  return view.length < length;
}

/**
 * Tensors of one file, sorted by their places, in pieces of whole panels. Neighbours share a piece where the source allows
 * it: most tensors of a model are vectors of a few kilobytes.
 */
function* piecesOf(jobs: readonly Job[], pieceBytes: number, shared: boolean): Generator<Piece, undefined> {
  let parts: Part[] = [];
  let offset = 0;
  let length = 0;
  for (const job of jobs) {
    const { weight, tensor } = job;
    if (tensor.begin === tensor.end) continue;
    const isVector = weight.layout === 'vector';
    const bytes = storedRowBytes(tensor);
    const panel = isVector ? 1 : 8;
    for (let row = 0; row < weight.N; ) {
      const at = tensor.begin + row * bytes;
      const joins =
        shared && parts.length > 0 && at === offset + length && length + panel * bytes <= pieceBytes;
      if (!joins) {
        if (parts.length > 0) yield { offset, length, parts };
        [parts, offset, length] = [[], at, 0];
      }
      const room = Math.floor((pieceBytes - length) / (panel * bytes)) * panel;
      const rows = Math.min(weight.N - row, Math.max(panel, room));
      parts.push({ job, from: length, row, rows });
      length += rows * bytes;
      row += rows;
    }
  }
  if (parts.length > 0) yield { offset, length, parts };
  return undefined;
}
