/** Rows spread out for the tiles of quantised products, once for all panels. */
import { K_BLOCK, ROW_BLOCK } from './blocks';
import { I4, ROW_HEAD, ROW_RECORD } from './quant';

/** Rows of a tile. */
export const SPREAD_ROWS: usize = ASC_FEATURE_RELAXED_SIMD ? 4 : 2;
/** The rows' scales, then their terms (of I8 only in the relaxed build), in four equal lanes each. */
export const SPREAD_TERMS: usize = SPREAD_ROWS * 16;
export const SPREAD_HEAD: usize = SPREAD_ROWS * 32;
/** One block of a tile's rows: the head, then [8 groups of 4 k][rows][16 bytes: the 4 k over and over]. */
export const SPREAD_RECORD: usize = SPREAD_HEAD + 8 * SPREAD_ROWS * 16;
/** What spread rows may take of rowScratch. */
export const SPREAD_BYTES: usize = ROW_BLOCK * K_BLOCK * 16;

/** Rows (each rowBytes long) to [blocks][tiles][SPREAD_RECORD]; rows that are missing become zeros. */
export function spreadRows(dtype: i32, s: usize, qa: usize, rowBytes: usize, rows: usize, blocks: usize): void {
  const tiles = (rows + SPREAD_ROWS - 1) / SPREAD_ROWS;
  const blockBytes = tiles * SPREAD_RECORD;
  if (rows < tiles * SPREAD_ROWS) memory.fill(s, 0, blocks * blockBytes);
  for (let row: usize = 0; row < rows; row++) {
    const place = row % SPREAD_ROWS << 4;
    let from = qa + row * rowBytes;
    let to = s + row / SPREAD_ROWS * SPREAD_RECORD;
    for (let b: usize = 0; b < blocks; b++, to += blockBytes, from += ROW_RECORD) {
      v128.store(to + place, v128.load32_splat(from));
      v128.store(to + place, v128.load32_splat(from, 4), SPREAD_TERMS);
      spreadValues(dtype, to + SPREAD_HEAD + place, from + ROW_HEAD);
    }
  }
}

// @ts-ignore: decorator
@inline
function spreadValues(dtype: i32, to: usize, from: usize): void {
  for (const end = to + 8 * SPREAD_ROWS * 16; to < end; to += SPREAD_ROWS * 16) {
    if (ASC_FEATURE_RELAXED_SIMD) {
      v128.store(to, v128.load32_splat(from));
      from += 4;
    } else {
      let values = v128.load64_splat(from);
      if (dtype == I4) values = v128.shuffle<i16>(values, values, 0, 2, 1, 3, 0, 2, 1, 3);
      v128.store(to, values);
      from += 8;
    }
  }
}

/** A block's nibbles to bytes. */
// @ts-ignore: decorator
@inline
export function unpackNibbles(to: usize, from: usize): void {
  const mask = i8x16.splat(0x0f);
  for (const end = from + 128; from < end; from += 16, to += 32) {
    const bytes = v128.load(from);
    v128.store(to, v128.and(bytes, mask));
    v128.store(to, v128.and(i16x8.shr_u(bytes, 4), mask), 16);
  }
}
