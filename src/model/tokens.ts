import { InputError } from '../errors.js';
import type { HostTensor } from '../runtime/tensor.js';

/** Consecutive packed tokens of one row that are all keys, or all pads. */
export interface TokenRun {
  /** First packed token and how many there are. */
  start: number;
  count: number;
  /** Whether later tokens may attend to them: pads are no keys, even where they are computed. */
  isKey: boolean;
  /** Keys of this call and row before the run. */
  keysBefore: number;
  /** Where cache_position is not the place in the sequence: the last column that the run's one token sees. */
  lastColumn?: number;
}

/** One row of a batch among the packed tokens. */
export interface TokenRow {
  start: number;
  count: number;
  runs: TokenRun[];
  /** Columns of the row's keys. */
  keyColumns: number[];
}

/**
 * The tokens of a batch that are computed: row after row, each row's tokens in order. Generation leaves the pads out, so
 * that they cost nothing; what is computed beside a row's own keys never enters it.
 */
export interface PackedTokens {
  batch: number;
  sequence: number;
  count: number;
  rows: TokenRow[];
  /** For each packed token its place row · sequence + column in the batch. */
  places: Int32Array;
  /** For each packed token its rotary position. */
  positions: Int32Array;
}

/** Which pads are computed, as queries: all of them as the reference does, none, or those in the last column. */
export type ComputedPads = 'all' | 'none' | 'last';

export interface TokenInputs {
  batch: number;
  sequence: number;
  /** Columns seen before, in the cache. */
  past: number;
  /** [B, past + S] or [B, S]; any dtype, 0 is a pad. Default: no pads. */
  attention_mask?: HostTensor;
  /** [B, S] or [1, S]. Default: cache_position, pads included, as the reference counts. */
  position_ids?: HostTensor;
  /** [S]: token i sees the columns up to cache_position[i]. Default: past … past + S − 1. */
  cache_position?: HostTensor;
  /** Default: all. */
  pads?: ComputedPads;
  /**
   * For each row how many of its first keys the cache has already: they are left out. Infinity: the row takes no part, its
   * pads neither. Default: none.
   */
  held?: readonly number[];
}

/** @throws InputError when a mask's or the positions' shape does not fit the tokens. */
export function packTokens(inputs: TokenInputs): PackedTokens {
  const { batch, sequence, past, attention_mask, position_ids, cache_position, pads = 'all', held } = inputs;
  const isPad = maskReader(batch, sequence, past, attention_mask);
  const columns = cachePositions(sequence, past, cache_position);
  const position = positionReader(batch, sequence, columns, position_ids);
  // Consecutive columns are a causal run; with any others each token has its own limit.
  const inPlace = columns.every((column, i) => column === past + i);
  const places: number[] = [];
  const rows = Array.from({ length: batch }, (_, row) => {
    const runs: TokenRun[] = [];
    const start = places.length;
    const keyColumns: number[] = [];
    let heldKeys = held?.[row] ?? 0;
    for (let column = 0; column < sequence; column++) {
      if (heldKeys === Number.POSITIVE_INFINITY) break;
      const isKey = !isPad(row, column);
      if (isKey && heldKeys-- > 0) continue;
      if (!isKey && pads !== 'all' && (pads === 'none' || column < sequence - 1)) continue;
      if (!inPlace || runs.at(-1)?.isKey !== isKey) {
        const lastColumn = inPlace ? undefined : columns[column];
        runs.push({ start: places.length, count: 0, isKey, keysBefore: keyColumns.length, lastColumn });
      }
      runs.at(-1)!.count++;
      if (isKey) keyColumns.push(column);
      places.push(row * sequence + column);
    }
    return { start, count: places.length - start, runs, keyColumns };
  });
  return {
    batch,
    sequence,
    count: places.length,
    rows,
    places: Int32Array.from(places),
    positions: Int32Array.from(places, (place) => position(Math.floor(place / sequence), place % sequence)),
  };
}

function maskReader(batch: number, sequence: number, past: number, mask?: HostTensor) {
  if (!mask) return () => false;
  const [rows, columns] = mask.dims;
  const fits =
    mask.dims.length === 2 && rows === batch && (columns === past + sequence || columns === sequence);
  if (!fits) {
    throw new InputError({
      what: 'shape does not fit the tokens',
      where: 'attention_mask',
      expected: past ? `[${batch}, ${past + sequence}]` : `[${batch}, ${sequence}]`,
      got: `[${mask.dims}]`,
    });
  }
  const skip = columns - sequence;
  return (row: number, column: number) => !Number(mask.data[row * columns + skip + column]);
}

function cachePositions(sequence: number, past: number, given?: HostTensor): number[] {
  if (!given) return Array.from({ length: sequence }, (_, i) => past + i);
  const columns = Array.from(given.data as ArrayLike<number | bigint>, Number);
  const fits = columns.length === sequence && given.dims.length === 1;
  if (fits && columns.every((column) => Number.isInteger(column) && column >= 0)) return columns;
  throw new InputError({
    what: 'wrong shape or value',
    where: 'cache_position',
    expected: `[${sequence}] integers of 0 or more`,
    got: fits ? `${columns.find((column) => !Number.isInteger(column) || column < 0)}` : `[${given.dims}]`,
  });
}

function positionReader(batch: number, sequence: number, columns: readonly number[], ids?: HostTensor) {
  if (!ids) return (_: number, column: number) => columns[column];
  const [rows, length] = ids.dims;
  if (ids.dims.length !== 2 || length !== sequence || (rows !== batch && rows !== 1)) {
    throw new InputError({
      what: 'shape does not fit the tokens',
      where: 'position_ids',
      expected: `[${batch}, ${sequence}]`,
      got: `[${ids.dims}]`,
    });
  }
  return (row: number, column: number) => Number(ids.data[(rows === 1 ? 0 : row) * sequence + column]);
}
