import { InputError } from '../errors.js';
import type { HostTensor } from '../runtime/tensor.js';

/** One row of a batch among the packed tokens. */
export interface TokenRow {
  /** First packed token and how many there are. */
  start: number;
  count: number;
}

/**
 * The tokens of a batch without its pads: row after row, each row's tokens in order. Everything between the embedding
 * and the head is computed on these, so a pad costs nothing and can leak nowhere.
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

export interface TokenInputs {
  batch: number;
  sequence: number;
  /** Columns seen before, in the cache. */
  past: number;
  /** [B, past + S] or [B, S]; any dtype, 0 is a pad. Default: no pads. */
  attention_mask?: HostTensor;
  /** [B, S] or [1, S]. Default: past … past + S − 1, pads included, as the reference counts. */
  position_ids?: HostTensor;
}

/** @throws InputError when a mask's or the positions' shape does not fit the tokens. */
export function packTokens({
  batch,
  sequence,
  past,
  attention_mask,
  position_ids,
}: TokenInputs): PackedTokens {
  const masked = maskReader(batch, sequence, past, attention_mask);
  const position = positionReader(batch, sequence, past, position_ids);
  const rows: TokenRow[] = [];
  const places: number[] = [];
  for (let row = 0; row < batch; row++) {
    const start = places.length;
    for (let column = 0; column < sequence; column++) {
      if (!masked(row, column)) places.push(row * sequence + column);
    }
    rows.push({ start, count: places.length - start });
  }
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

function positionReader(batch: number, sequence: number, past: number, ids?: HostTensor) {
  if (!ids) return (_: number, column: number) => past + column;
  const [rows, columns] = ids.dims;
  if (ids.dims.length !== 2 || columns !== sequence || (rows !== batch && rows !== 1)) {
    throw new InputError({
      what: 'shape does not fit the tokens',
      where: 'position_ids',
      expected: `[${batch}, ${sequence}]`,
      got: `[${ids.dims}]`,
    });
  }
  return (row: number, column: number) => Number(ids.data[(rows === 1 ? 0 : row) * columns + column]);
}
