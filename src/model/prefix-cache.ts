import { MemoryError } from '../errors.js';
import type { Engine } from '../runtime/engine.js';
import { PAGE_KEYS } from '../runtime/pages.js';
import { type CacheShape, type KVCache, slabBytes } from './cache.js';
import { commonLength, type PrefixRow } from './prefix-row.js';
import { Slabs } from './slabs.js';

interface Entry {
  row: PrefixRow;
  slabs: number[];
  source: Slabs;
}

/**
 * Keys and values of rows that were computed before. A prompt that begins like one of them starts behind what they have in
 * common, with the bits of a fresh run: a key's value depends on nothing but the tokens up to it. Full slabs are shared with
 * the caches that made them and those that go on from them; only a slab that the two have in part is copied.
 */
export class PrefixCache {
  /** Bytes at most; 0 keeps nothing. Never more than half of what the memory has left. */
  limit: number;
  /** Rows of prompts that were looked up, those of them that began like a known one, and the tokens they were spared. */
  lookups = 0;
  hits = 0;
  tokens_reused = 0;
  /** Counts the times it was cleared: rows that were begun before are not kept after. */
  epoch = 0;
  readonly #engine: Engine;
  readonly #imageId: number;
  readonly #sources = new Map<string, Slabs>();
  /** Oldest use first. None is the beginning of another. */
  #entries: Entry[] = [];
  /** For each slab that is held, the entries that have it. */
  readonly #uses = new Map<number, number>();
  #bytes = 0;
  readonly #forget: () => void;

  /** @param imageId the token whose key depends on a picture */
  constructor(engine: Engine, imageId: number, limit: number) {
    this.#engine = engine;
    this.#imageId = imageId;
    this.limit = limit;
    this.#forget = engine.heap.onShortage(() => this.#evict());
  }

  /** Bytes that it holds, those shared with running generations included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Rows that it holds. */
  get size(): number {
    return this.#entries.length;
  }

  /** The one source of memory for caches of a shape: only they can share. */
  slabs(shape: CacheShape): Slabs {
    const name = JSON.stringify(shape);
    const source = this.#sources.get(name) ?? new Slabs(this.#engine, slabBytes(shape));
    this.#sources.set(name, source);
    return source;
  }

  /**
   * The rows of a batch in the passes in which they are best computed: those that begin like another one, by a page of keys
   * or more that is not known yet, come in a second pass behind it.
   */
  stages(cache: KVCache, rows: readonly PrefixRow[]): number[][] {
    const first: number[] = [];
    const second: number[] = [];
    for (const [i, row] of rows.entries()) {
      const most = row.ids.length - 1;
      const known = this.#longest(row, cache.source, most)?.length ?? 0;
      const alike = first.map((other) => commonLength(row, rows[other], this.#imageId, most));
      const pages = Math.floor(Math.max(0, ...alike) / PAGE_KEYS);
      (this.limit > 0 && pages * PAGE_KEYS > known ? second : first).push(i);
    }
    return second.length > 0 ? [first, second] : [first];
  }

  /**
   * Gives an empty row of a cache the keys that it has in common with a known one, all but its last at most.
   * @param columns of the row's keys
   * @returns how many keys it has now
   */
  adopt(cache: KVCache, row: number, prompt: PrefixRow, columns: readonly number[]): number {
    this.lookups++;
    const found = this.#longest(prompt, cache.source, prompt.ids.length - 1);
    if (!found) return 0;
    const { entry, length } = found;
    this.#touch(entry);
    const full = entry.slabs.slice(0, Math.floor(length / PAGE_KEYS));
    for (const slab of full) entry.source.share(slab);
    const open = length % PAGE_KEYS > 0 ? this.#copy(entry.source, entry.slabs[full.length]) : [];
    const held = open.length > 0 ? length : full.length * PAGE_KEYS;
    if (held === 0) return 0;
    cache.adopt(row, columns.slice(0, held), [...full, ...open]);
    this.hits++;
    this.tokens_reused += held;
    return held;
  }

  /**
   * Keeps what a row of a cache holds.
   * @param computed what stands at its keys; what is not yet among them does not count
   * @param onlyFull leaves a slab with room left out: the row will go on writing to it
   */
  keep(cache: KVCache, row: number, computed: PrefixRow, onlyFull: boolean): void {
    const { source } = cache;
    let length = Math.min(computed.ids.length, cache.length(row));
    if (onlyFull) length -= length % PAGE_KEYS;
    if (length === 0 || this.limit <= 0 || this.#engine.disposed) return;
    const found = this.#longest(computed, source, length);
    if (found?.length === length) {
      this.#touch(found.entry);
      return;
    }
    // What is there already is not kept twice: its bits are the same.
    const known = found ? Math.floor(found.length / PAGE_KEYS) : 0;
    const own = cache.slabs(row).slice(known, Math.ceil(length / PAGE_KEYS));
    const slabs = [...(found?.entry.slabs.slice(0, known) ?? []), ...own];
    const ids = Int32Array.from({ length }, (_, i) => computed.ids[i]);
    for (const slab of slabs) this.#hold(source, slab);
    this.#entries.push({ row: { ...computed, ids }, slabs, source });
    if (found && found.length === found.entry.row.ids.length) this.#remove(found.entry);
    this.#fit();
  }

  /** The slabs that hold what a row begins with, `most` keys of it at most, and how many keys that is. */
  find(
    row: PrefixRow,
    source: Slabs,
    most: number,
  ): { slabs: readonly number[]; length: number } | undefined {
    const found = this.#longest(row, source, most);
    return found && { slabs: found.entry.slabs, length: found.length };
  }

  /** Forgets everything and gives the memory back. */
  clear(): void {
    this.epoch++;
    while (this.#evict());
  }

  /** For good: nothing is kept any more. */
  close(): void {
    this.limit = 0;
    this.clear();
    this.#forget();
  }

  #longest(row: PrefixRow, source: Slabs, most: number): { entry: Entry; length: number } | undefined {
    let best: { entry: Entry; length: number } | undefined;
    for (const entry of this.#entries) {
      if (entry.source !== source) continue;
      const length = commonLength(row, entry.row, this.#imageId, most);
      if (length > (best?.length ?? 0)) best = { entry, length };
    }
    return best;
  }

  /** A copy of a slab; nothing where there is no memory for it. */
  #copy(source: Slabs, slab: number): number[] {
    // A user, so that it stays while its copy's memory is looked for.
    source.share(slab);
    try {
      return [source.copy(slab, source.allocate())];
    } catch (error) {
      if (error instanceof MemoryError) return [];
      throw error;
    } finally {
      source.release(slab);
    }
  }

  #touch(entry: Entry): void {
    this.#entries = [...this.#entries.filter((other) => other !== entry), entry];
  }

  #hold(source: Slabs, slab: number): void {
    const uses = this.#uses.get(slab) ?? 0;
    this.#uses.set(slab, uses + 1);
    if (uses > 0) return;
    source.share(slab);
    this.#bytes += source.bytes;
  }

  #drop(source: Slabs, slab: number): void {
    const uses = this.#uses.get(slab)!;
    if (uses > 1) {
      this.#uses.set(slab, uses - 1);
      return;
    }
    this.#uses.delete(slab);
    this.#bytes -= source.bytes;
    // The memory of an engine that is gone went with it.
    if (!this.#engine.disposed) source.release(slab);
  }

  #remove(entry: Entry): void {
    this.#entries = this.#entries.filter((other) => other !== entry);
    for (const slab of entry.slabs) this.#drop(entry.source, slab);
  }

  #evict(): boolean {
    const [oldest] = this.#entries;
    if (oldest) this.#remove(oldest);
    return oldest !== undefined;
  }

  /** Drops what was not used for longest, and of the last row its end, until the rest is within the limit. */
  #fit(): void {
    const { heap } = this.#engine;
    const isOver = () => this.#bytes > Math.min(this.limit, (this.#bytes + heap.limit - heap.used) / 2);
    while (this.#entries.length > 1 && isOver()) this.#evict();
    const [last] = this.#entries;
    while (last && last.slabs.length > 0 && isOver()) {
      this.#drop(last.source, last.slabs.pop()!);
      last.row = { ...last.row, ids: Array.from(last.row.ids).slice(0, last.slabs.length * PAGE_KEYS) };
    }
    if (last?.slabs.length === 0) this.#remove(last);
  }
}
