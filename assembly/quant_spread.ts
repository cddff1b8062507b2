/** Rows spread out for the tiles of quantised products, once for all panels. */
import { K_BLOCK, QUANT_ROW_BLOCK, ROW_BLOCK } from './blocks';
import { blockOf, I4, I4_BLOCK, I8, I8_BLOCK, ROW_HEAD, ROW_HIGH, ROW_SHIFT, ROW_TERM, rowRecord } from './quant';

/** Rows of a tile. */
export const SPREAD_ROWS: usize = ASC_FEATURE_RELAXED_SIMD ? 4 : 2;
/** The rows' scales, then their terms (of I8 only in the relaxed build), in four equal lanes each. */
export const SPREAD_TERMS: usize = SPREAD_ROWS * 16;
/** In the relaxed build the rows' shifts, a byte each: if one is not 0, SPREAD_HIGH further on lie the higher bytes. */
export const SPREAD_SHIFTS: usize = SPREAD_ROWS * 32;
export const SPREAD_HEAD: usize = SPREAD_SHIFTS + (ASC_FEATURE_RELAXED_SIMD ? 16 : 0);
/** What spread rows may take of rowScratch. */
export const SPREAD_BYTES: usize = ASC_FEATURE_RELAXED_SIMD
  ? 6 * (QUANT_ROW_BLOCK / SPREAD_ROWS) * (SPREAD_HEAD + I8_BLOCK * SPREAD_ROWS * 4)
  : ROW_BLOCK * K_BLOCK * 16;
export const SPREAD_HIGH: usize = SPREAD_BYTES;

/** Bytes of one block of a tile's rows: the head, then [groups of 4 k][rows][16 bytes: the 4 k over and over]. */
// @ts-ignore: decorator
@inline
export function spreadRecord(dtype: i32): usize {
  return SPREAD_HEAD + blockOf(dtype) * SPREAD_ROWS * 4;
}

/** Rows (each rowBytes long) to [blocks][tiles][spreadRecord]; rows that are missing become zeros. */
// @ts-ignore: decorator
@inline
export function spreadRows(dtype: i32, s: usize, qa: usize, rowBytes: usize, rows: usize, blocks: usize): void {
  const tiles = (rows + SPREAD_ROWS - 1) / SPREAD_ROWS;
  const blockBytes = tiles * spreadRecord(dtype);
  if (rows < tiles * SPREAD_ROWS) memory.fill(s, 0, blocks * blockBytes);
  for (let row: usize = 0; row < rows; row++) {
    const place = row % SPREAD_ROWS << 4;
    let from = qa + row * rowBytes;
    let to = s + row / SPREAD_ROWS * spreadRecord(dtype);
    for (let b: usize = 0; b < blocks; b++, to += blockBytes, from += rowRecord(dtype)) {
      v128.store(to + place, v128.load32_splat(from));
      v128.store(to + place, v128.load32_splat(from, ROW_TERM), SPREAD_TERMS);
      if (ASC_FEATURE_RELAXED_SIMD && dtype == I8) {
        store<u8>(to + (place >> 4), load<u8>(from, ROW_SHIFT), SPREAD_SHIFTS);
      }
      spreadValues(dtype, to + SPREAD_HEAD + place, from + ROW_HEAD);
    }
  }
}

/** The higher bytes of tiles where a row has some; zeros of the other rows. */
export function spreadHigh(s: usize, qa: usize, rowBytes: usize, rows: usize, blocks: usize): void {
  for (let b: usize = 0; b < blocks; b++, qa += rowRecord(I8)) {
    for (let row: usize = 0; row < rows; row += SPREAD_ROWS, s += spreadRecord(I8)) {
      if (!load<u32>(s, SPREAD_SHIFTS)) continue;
      for (let r: usize = 0; r < SPREAD_ROWS; r++) {
        const to = s + SPREAD_HIGH + SPREAD_HEAD + (r << 4);
        if (load<u8>(s + r, SPREAD_SHIFTS)) spreadValues(I8, to, qa + (row + r) * rowBytes + ROW_HIGH);
        else clearValues(to);
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function clearValues(to: usize): void {
  for (const end = to + 4 * I8_BLOCK * SPREAD_ROWS; to < end; to += SPREAD_ROWS * 16) v128.store(to, i32x4.splat(0));
}

// @ts-ignore: decorator
@inline
function spreadValues(dtype: i32, to: usize, from: usize): void {
  for (const end = to + 4 * blockOf(dtype) * SPREAD_ROWS; to < end; to += SPREAD_ROWS * 16) {
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
  for (const end = from + 4 * I4_BLOCK; from < end; from += 16, to += 32) {
    const bytes = v128.load(from);
    v128.store(to, v128.and(bytes, mask));
    v128.store(to, v128.and(i16x8.shr_u(bytes, 4), mask), 16);
  }
}
