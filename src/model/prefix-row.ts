import type { HostTensor } from '../runtime/tensor.js';

/** What stands at each key of a row: rows that begin alike have the same keys and values there, bit for bit. */
export interface PrefixRow {
  /** The token of each key. Its position is the key's index. */
  readonly ids: ArrayLike<number>;
  /** The content of the tiles whose states stand in the place of the row's first `<image>` tokens, in order. */
  readonly tiles: readonly string[];
  /** `<image>` tokens of one tile. */
  readonly seqLen: number;
}

/** A row that grows. */
export interface GrowingRow extends PrefixRow {
  readonly ids: number[];
}

/**
 * The rows of a prompt without their pads.
 * @param images contents of all tiles of the batch in order, and the states of one; undefined where there are no pictures
 * @returns nothing where states do not go to rows by whole tiles, or to pads: no prefix can be told there
 */
export function prefixRows(
  { dims, data }: HostTensor,
  attention_mask: HostTensor | undefined,
  imageId: number,
  images: { keys: readonly string[]; seqLen: number } | undefined,
): GrowingRow[] | undefined {
  const { keys, seqLen } = images ?? { keys: [], seqLen: 1 };
  const [batch, sequence] = dims;
  const rows: GrowingRow[] = [];
  let tile = 0;
  for (let row = 0; row < batch; row++) {
    const ids: number[] = [];
    let places = 0;
    for (let i = row * sequence; i < (row + 1) * sequence; i++) {
      const id = Number(data[i]);
      const isPad = attention_mask !== undefined && !Number(attention_mask.data[i]);
      if (!isPad) ids.push(id);
      if (id !== imageId || !images) continue;
      if (isPad) return undefined;
      places++;
    }
    if (places % seqLen !== 0) return undefined;
    const next = tile + places / seqLen;
    if (next > keys.length) return undefined;
    rows.push({ ids, tiles: keys.slice(tile, next), seqLen });
    tile = next;
  }
  return rows;
}

/** How many keys, at most `most`, two rows have in common from the start. */
export function commonLength(a: PrefixRow, b: PrefixRow, imageId: number, most: number): number {
  const length = Math.min(a.ids.length, b.ids.length, most);
  let images = 0;
  for (let i = 0; i < length; i++) {
    const id = a.ids[i];
    if (id !== b.ids[i]) return i;
    if (id !== imageId) continue;
    // Behind the last tile an `<image>` token is one like any other.
    if (a.tiles[Math.floor(images / a.seqLen)] !== b.tiles[Math.floor(images / b.seqLen)]) return i;
    images++;
  }
  return length;
}
