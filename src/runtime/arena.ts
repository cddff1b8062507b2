import type { Heap } from './heap.js';

const FIRST_CHUNK = 1 << 20;
const ALIGNMENT = 64;

/** A place in an arena to return to; see `Arena.release`. */
export interface Mark {
  chunk: number;
  offset: number;
}

/**
 * Bump allocator with scopes, for activations: `mark()` before, `release(mark)` after, and everything between is gone.
 * Its chunks come from the heap, are kept from one forward pass to the next, and go back with `trim()`.
 */
export class Arena {
  #heap: Heap;
  #purpose: string;
  readonly #firstChunk: number;
  #chunks: { pointer: number; bytes: number }[] = [];
  #chunk = 0;
  #offset = 0;
  #peak = 0;
  /** Counts the times that chunks came or went: what was allocated at a mark comes at the same addresses again while it stands. */
  epoch = 0;

  /** @param firstChunk bytes that the first chunk has at least */
  constructor(heap: Heap, purpose: string, firstChunk = FIRST_CHUNK) {
    this.#heap = heap;
    this.#purpose = purpose;
    this.#firstChunk = firstChunk;
  }

  /** Bytes that the chunks hold. */
  get bytes(): number {
    return this.#chunks.reduce((sum, chunk) => sum + chunk.bytes, 0);
  }

  /** The most bytes that were ever live at once. */
  get peak(): number {
    return this.#peak;
  }

  allocate(bytes: number): number {
    const size = Math.ceil(Math.max(bytes, 1) / ALIGNMENT) * ALIGNMENT;
    let chunk = this.#chunks[this.#chunk];
    while (chunk && this.#offset + size > chunk.bytes) {
      this.#chunk++;
      this.#offset = 0;
      chunk = this.#chunks[this.#chunk];
    }
    chunk ??= this.#grow(size);
    const pointer = chunk.pointer + this.#offset;
    this.#offset += size;
    this.#peak = Math.max(this.#peak, this.#live());
    return pointer;
  }

  mark(): Mark {
    return { chunk: this.#chunk, offset: this.#offset };
  }

  /** Forgets everything allocated since `mark`. Scopes nest: the innermost is released first. */
  release(mark: Mark): void {
    this.#chunk = mark.chunk;
    this.#offset = mark.offset;
  }

  /** Gives every chunk behind the present place back to the heap. */
  trim(): void {
    const keep = this.#offset > 0 ? this.#chunk + 1 : this.#chunk;
    for (const chunk of this.#chunks.splice(keep)) {
      this.#heap.free(chunk.pointer);
      this.epoch++;
    }
  }

  #live(): number {
    let bytes = this.#offset;
    for (let i = 0; i < this.#chunk; i++) bytes += this.#chunks[i].bytes;
    return bytes;
  }

  #grow(size: number) {
    const bytes = Math.max(size, this.#firstChunk, Math.min(this.bytes, 16 << 20));
    const chunk = { pointer: this.#heap.allocate(bytes, this.#purpose), bytes };
    this.#chunks.push(chunk);
    this.epoch++;
    return chunk;
  }
}
