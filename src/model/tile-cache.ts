import { MemoryError } from '../errors.js';
import type { Engine } from '../runtime/engine.js';
import type { Ops } from '../runtime/ops.js';
import { Tensor } from '../runtime/tensor.js';

/** 200 tiles of the 256M model, 50 of the 2.2B one. */
const DEFAULT_BYTES = 32 << 20;

/**
 * The image states of tiles that were encoded before, by their content: a tile that comes again costs a copy.
 *
 * Tiles are told apart by a digest of 128 bits under a random key of this cache (SipHash-2-4, a pseudo-random function):
 * to anybody who does not know the key, the digests of different tiles are as good as drawn by chance, so that among n
 * tiles two are mistaken for each other with probability n² / 2^129: for a million tiles 1.5e-27. No two pictures can be made
 * to collide on purpose either, for the key never leaves the cache.
 */
export class TileCache {
  /** Bytes at most; 0 keeps nothing. Never more than half of what the memory has left. */
  limit: number;
  /** Tiles whose states were there, those that stand twice in one call included. */
  hits = 0;
  /** Tiles that were encoded. */
  misses = 0;
  readonly #ops: Ops;
  /** Oldest use first. */
  readonly #entries = new Map<string, { pointer: number; bytes: number }>();
  #bytes = 0;
  #key: Uint8Array | undefined;
  readonly #forget: () => void;

  constructor(ops: Ops, limit = DEFAULT_BYTES) {
    this.#ops = ops;
    this.limit = limit;
    this.#forget = ops.engine.heap.onShortage(() => this.#evict());
  }

  /** Bytes that it holds. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Tiles that it holds. */
  get size(): number {
    return this.#entries.size;
  }

  /** The name of what lies in memory. */
  digest(pointer: number, bytes: number): string {
    this.#key ??= crypto.getRandomValues(new Uint8Array(16));
    return this.#ops.digest(pointer, bytes, this.#key);
  }

  /** Copies a tile's states into `out`, if they are there. */
  read(key: string, out: Tensor): boolean {
    const entry = this.#entries.get(key);
    if (!entry) return false;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    this.#ops.copyRows(out, 0, new Tensor(entry.pointer, out.shape), 0, out.rows);
    return true;
  }

  /**
   * Keeps a tile's states, if there is room; those that were not used for longest make room. The states must be there:
   * calls that wait may be broken off.
   */
  keep(key: string, states: Tensor): void {
    // As the heap counts them.
    const bytes = Math.ceil((4 * states.size) / 64) * 64;
    const { heap } = this.#engine;
    if (this.#entries.has(key) || bytes > this.#allowance) return;
    while (this.#bytes + bytes > this.#allowance) this.#evict();
    try {
      const pointer = heap.allocate(bytes, 'image states');
      this.#entries.set(key, { pointer, bytes });
      this.#bytes += bytes;
      this.#engine.u8(pointer, bytes).set(this.#engine.u8(states.pointer, 4 * states.size));
    } catch (error) {
      if (!(error instanceof MemoryError)) throw error;
    }
  }

  /** Forgets everything and gives the memory back. */
  clear(): void {
    if (this.#engine.disposed) this.#entries.clear();
    while (this.#evict());
    this.#bytes = 0;
  }

  /** For good: nothing is kept any more. */
  close(): void {
    this.limit = 0;
    this.clear();
    this.#forget();
  }

  get #engine(): Engine {
    return this.#ops.engine;
  }

  get #allowance(): number {
    const { heap } = this.#engine;
    return Math.min(this.limit, (this.#bytes + heap.limit - heap.used) / 2);
  }

  #evict(): boolean {
    const [oldest] = this.#entries;
    if (!oldest) return false;
    const [key, { pointer, bytes }] = oldest;
    this.#entries.delete(key);
    this.#bytes -= bytes;
    this.#engine.heap.free(pointer);
    return true;
  }
}
