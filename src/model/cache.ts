import { InputError } from '../errors.js';
import type { Engine } from '../runtime/engine.js';
import { Ops } from '../runtime/ops.js';
import { PAGE_KEYS, pageBytes } from '../runtime/pages.js';
import type { Tensor } from '../runtime/tensor.js';
import { type CacheLayer, readLayer } from './cache-tensors.js';
import { Slabs } from './slabs.js';

/** How keys and values are stored; they are rounded to it before every use. int8: a scale for each key and each value. */
export type CacheDtype = 'float32' | 'bfloat16' | 'int8';

export interface CacheShape {
  layers: number;
  kvHeads: number;
  headDim: number;
  /** Default: 'float32'. */
  kv_cache_dtype?: CacheDtype;
}

interface CacheRow {
  columns: number[];
  slabs: number[];
  /** The page lists of all layers, [layers][kvHeads][slabs] addresses, where they were made since the slabs changed. */
  pages?: Int32Array;
  /** Where they lie in the scope of the run. */
  placed?: number;
}

/**
 * The keys and values of the text model, in pages of 128 keys. Each row of a batch has its own keys, numbered from 0
 * without pads, so a row's attention does not depend on its neighbours. A slab holds one page index of one row for all
 * layers and heads; growing takes a new slab and copies nothing. Rows that `select` made from one row share its full
 * slabs, which nobody writes to any more.
 */
export class KVCache {
  readonly shape: CacheShape;
  /** Columns of the token matrix seen so far, pads included: what the reference calls the cache's sequence length. */
  seen = 0;
  #engine: Engine;
  #ops: Ops;
  #rows: CacheRow[];
  #slabs: Slabs;

  /** @param slabs where the memory comes from: those that caches of one shape share. Default: its own */
  constructor(engine: Engine, shape: CacheShape, batch: number, slabs = new Slabs(engine, slabBytes(shape))) {
    this.#engine = engine;
    this.#ops = new Ops(engine);
    this.shape = shape;
    this.#slabs = slabs;
    this.#rows = Array.from({ length: batch }, () => ({ columns: [], slabs: [] }));
  }

  /** How keys and values are stored. */
  get dtype(): CacheDtype {
    return this.shape.kv_cache_dtype ?? 'float32';
  }

  get batch(): number {
    return this.#rows.length;
  }

  /** For each key of a row, its column in the token matrix (pads are columns without a key). */
  columns(row: number): readonly number[] {
    return this.#rows[row].columns;
  }

  /** Keys held for a row. */
  length(row: number): number {
    return this.#rows[row].columns.length;
  }

  /** Makes room for `count` more keys of a row. @throws MemoryError */
  reserve(row: number, count: number): void {
    const state = this.#rows[row];
    const { columns, slabs } = state;
    state.placed = undefined;
    while (slabs.length * PAGE_KEYS < columns.length + count) {
      slabs.push(this.#slabs.allocate());
      state.pages = undefined;
    }
  }

  /** Puts the page lists of a row into the scope of the run, for all its layers, until the row's next pass. */
  placePages(row: number): void {
    const state = this.#rows[row];
    state.placed = this.#engine.uploadInt32(this.#pageLists(state));
  }

  /** Where the slabs come from. */
  get source(): Slabs {
    return this.#slabs;
  }

  /** A row's slabs in the order of its keys, 128 in each. */
  slabs(row: number): readonly number[] {
    return this.#rows[row].slabs;
  }

  /**
   * Gives an empty row keys that lie there already. Slabs of the cache's own source, of which the row becomes a user
   * (the caller has counted it); nobody else may use one with room left.
   */
  adopt(row: number, columns: readonly number[], slabs: readonly number[]): void {
    this.#rows[row] = { columns: [...columns], slabs: [...slabs] };
  }

  /** Counts the keys of these columns, counted from the first call's first, as held; every layer has written them. */
  advance(row: number, columns: readonly number[]): void {
    const state = this.#rows[row];
    state.placed = undefined;
    for (const column of columns) state.columns.push(column);
  }

  /**
   * Writes keys and values of one layer at key index `at`: `count` consecutive rows of k and v
   * [tokens, kvHeads·headDim], from row `start`.
   */
  write(layer: number, row: number, k: Tensor, v: Tensor, start: number, count: number, at: number): void {
    const { activations } = this.#engine;
    const mark = activations.mark();
    const { pointer: pages, pageCount } = this.pages(layer, row);
    this.#ops.writeKeys(k, v, {
      ...this.shape,
      dtype: this.dtype,
      pages,
      pageCount,
      start,
      count,
      indices: 0,
      at,
    });
    activations.release(mark);
  }

  /** The page lists of one layer and row, in the scope of the run: `pageCount` addresses a head. */
  pages(layer: number, row: number): { pointer: number; pageCount: number } {
    const state = this.#rows[row];
    const lists = state.placed ?? this.#engine.uploadInt32(this.#pageLists(state));
    const pageCount = state.slabs.length;
    return { pointer: lists + 4 * layer * this.shape.kvHeads * pageCount, pageCount };
  }

  /** Columns seen so far, pads included (the reference's Cache.get_seq_length). */
  get_seq_length(): number {
    return this.seen;
  }

  /**
   * A copy of one layer's keys (rotated) and values: [B, kv_heads, seen, head_dim] each, pads 0.
   * @throws InputError for a layer that there is not
   */
  layer(index: number): CacheLayer {
    if (!Number.isInteger(index) || index < 0 || index >= this.shape.layers) {
      const expected = `0 … ${this.shape.layers - 1}`;
      throw new InputError({ what: 'no such layer', where: 'past_key_values', expected, got: `${index}` });
    }
    void this.#engine.kernels; // DisposedError once the memory is gone.
    const rows = this.#rows.map(({ columns, slabs }) => ({
      columns,
      addresses: (head: number) => slabs.map((slab) => this.#page(slab, index, head)),
    }));
    return readLayer(this.#engine, this.shape, this.seen, rows);
  }

  /** Copies of all layers (the reference's DynamicCache.to_legacy_cache): keys and values of each. */
  to_legacy_cache(): [CacheLayer['keys'], CacheLayer['values']][] {
    return Array.from({ length: this.shape.layers }, (_, index) => {
      const { keys, values } = this.layer(index);
      return [keys, values];
    });
  }

  /**
   * Makes row i what row indices[i] was; rows that are not named are dropped (the reference's reorder_cache,
   * batch_select_indices and batch_repeat_interleave in one). Full slabs are shared; a slab with room left is handed on to
   * one row and copied for the others, into those of dropped rows where there are any.
   * @throws InputError for an index that names no row; MemoryError, and the cache is as it was
   */
  select(indices: readonly number[]): void {
    for (const index of indices) this.#checkRow(index);
    const old = this.#rows;
    const uses = old.map((_, row) => indices.filter((index) => index === row).length);
    const dropped = old.filter((_, row) => uses[row] === 0);
    const copies = uses.reduce((sum, n, row) => sum + Math.max(0, n - 1) * openSlabs(old[row]).length, 0);
    const reusable = dropped.reduce((sum, row) => sum + row.slabs.length - fullSlabs(row), 0);
    const spare = this.#slabs.allocateAll(copies - reusable);
    for (const row of dropped) spare.push(...row.slabs.splice(fullSlabs(row)));
    const seen = new Set<number>();
    this.#rows = indices.map((index) => {
      const first = !seen.has(index);
      seen.add(index);
      return first ? old[index] : this.#copyRow(old[index], spare);
    });
    for (const slab of [...dropped.flatMap((row) => row.slabs), ...spare]) this.#slabs.release(slab);
  }

  /** Forgets every column from `max_length` on; a negative one takes that many columns off the end. */
  crop(max_length: number): void {
    if (!Number.isInteger(max_length)) {
      const got = String(max_length);
      throw new InputError({ what: 'wrong value', where: 'max_length', expected: 'an integer', got });
    }
    const seen = max_length < 0 ? Math.max(0, this.seen + max_length) : max_length;
    this.seen = Math.min(this.seen, seen);
    for (const row of this.#rows) {
      row.columns = row.columns.filter((column) => column < seen);
      row.pages = undefined;
      row.placed = undefined;
      const keep = Math.ceil(row.columns.length / PAGE_KEYS);
      for (const slab of row.slabs.splice(keep)) this.#slabs.release(slab);
      // What has room again will be written to.
      const open = openSlabs(row).find((slab) => this.#slabs.isShared(slab));
      if (open === undefined) continue;
      row.slabs[keep - 1] = this.#slabs.copy(open, this.#slabs.allocate());
      this.#slabs.release(open);
    }
  }

  /** Gives the memory back. The cache is empty afterwards. */
  dispose(): void {
    if (!this.#engine.disposed) this.crop(0);
  }

  /** @throws InputError when another model's engine holds the cache. */
  checkEngine(engine: Engine): void {
    if (engine === this.#engine) return;
    throw new InputError({
      what: 'the cache belongs to another model',
      where: 'past_key_values',
      expected: 'a cache of this model (or tensors, through from_legacy_cache)',
      got: 'one of another',
    });
  }

  /** @throws InputError when a batch of another size comes. */
  checkBatch(batch: number): void {
    if (batch === this.batch) return;
    throw new InputError({
      what: 'the cache belongs to another batch',
      where: 'past_key_values',
      expected: `${this.batch} rows`,
      got: `${batch}`,
    });
  }

  #pageLists(row: CacheRow): Int32Array {
    if (row.pages) return row.pages;
    const { slabs } = row;
    const { layers, kvHeads } = this.shape;
    const lists = new Int32Array(layers * kvHeads * slabs.length);
    for (let layer = 0, i = 0; layer < layers; layer++) {
      for (let head = 0; head < kvHeads; head++) {
        for (const slab of slabs) lists[i++] = this.#page(slab, layer, head);
      }
    }
    row.pages = lists;
    return lists;
  }

  #page(slab: number, layer: number, head: number): number {
    return slab + (layer * this.shape.kvHeads + head) * pageBytes(this.shape.headDim, this.dtype);
  }

  #checkRow(index: number): void {
    if (Number.isInteger(index) && index >= 0 && index < this.batch) return;
    const expected = `0 … ${this.batch - 1}`;
    throw new InputError({ what: 'no such row', where: 'KVCache.select', expected, got: String(index) });
  }

  /** Another row with the same keys: full slabs shared, the open one copied into a spare one. */
  #copyRow(row: CacheRow, spare: number[]): CacheRow {
    const full = row.slabs.slice(0, fullSlabs(row));
    for (const slab of full) this.#slabs.share(slab);
    const copied = openSlabs(row).map((slab) => this.#slabs.copy(slab, spare.pop()!));
    return { columns: row.columns.slice(), slabs: [...full, ...copied] };
  }
}

/** Bytes of a slab: one page for each layer and key/value head. */
export function slabBytes({ layers, kvHeads, headDim, kv_cache_dtype }: CacheShape): number {
  return layers * kvHeads * pageBytes(headDim, kv_cache_dtype);
}

/** Slabs without room: nothing is written to them any more. */
function fullSlabs({ columns }: CacheRow): number {
  return Math.floor(columns.length / PAGE_KEYS);
}

/** The slab that holds keys and has room left, if there is one. Only its own row uses it. */
function openSlabs(row: CacheRow): number[] {
  return row.slabs.slice(fullSlabs(row), Math.ceil(row.columns.length / PAGE_KEYS));
}
