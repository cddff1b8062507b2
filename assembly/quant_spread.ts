/**
 * Rows as the tiles of quantised products read them, side by side and once for all panels. A tile loads each row's four
 * k into all lanes: so they take a fourth of the first-level cache that vectors would, for the same number of loads.
 */
import { K_BLOCK, ROW_BLOCK } from './blocks';
import { blockOf, I4, I4_BLOCK, I8, I8_BLOCK, ROW_HEAD, ROW_HIGH, ROW_SHIFT, ROW_TERM, rowRecord } from './quant';

/** Rows of a record: whole tiles of 2 in the plain build, of 6 and of 4 in the relaxed one. */
export const SPREAD_ROWS: usize = ASC_FEATURE_RELAXED_SIMD ? 12 : 2;
/** A row's four k in bytes. */
export const SPREAD_FOUR: usize = ASC_FEATURE_RELAXED_SIMD ? 4 : 8;
/** From four k of all rows to the next four. */
export const SPREAD_STEP: usize = SPREAD_ROWS * SPREAD_FOUR;
/** Behind the rows' scales: their terms (of I8 only in the relaxed build). */
export const SPREAD_TERMS: usize = SPREAD_ROWS * 4;
/** In the relaxed build then the rows' shifts, a byte each: where it is not 0, higher bytes, SPREAD_HIGH behind. */
export const SPREAD_SHIFTS: usize = SPREAD_ROWS * 8;
export const SPREAD_HEAD: usize = SPREAD_SHIFTS + (ASC_FEATURE_RELAXED_SIMD ? 16 : 0);
export const SPREAD_HIGH: usize = I8_BLOCK / 4 * SPREAD_STEP;
/** What spread rows may take of rowScratch. */
export const SPREAD_BYTES: usize = ROW_BLOCK * K_BLOCK * 16;

/** Bytes of one block of a record's rows: the head, then [groups of 4 k][rows][4 k], of two bytes as much again. */
// @ts-ignore: decorator
@inline
export function spreadRecord(dtype: i32): usize {
  const high = ASC_FEATURE_RELAXED_SIMD && dtype == I8 ? SPREAD_HIGH : 0;
  return SPREAD_HEAD + blockOf(dtype) / 4 * SPREAD_STEP + high;
}

/** Rows (each rowBytes long) to [blocks][records][spreadRecord]; rows that are missing become zeros. */
// @ts-ignore: decorator
@inline
export function spreadRows(dtype: i32, s: usize, qa: usize, rowBytes: usize, rows: usize, blocks: usize): void {
  const records = (rows + SPREAD_ROWS - 1) / SPREAD_ROWS;
  const blockBytes = records * spreadRecord(dtype);
  if (rows < records * SPREAD_ROWS) memory.fill(s, 0, blocks * blockBytes);
  for (let row: usize = 0; row < rows; row++) {
    const place = row % SPREAD_ROWS;
    let from = qa + row * rowBytes;
    let to = s + row / SPREAD_ROWS * spreadRecord(dtype);
    for (let b: usize = 0; b < blocks; b++, to += blockBytes, from += rowRecord(dtype)) {
      store<u32>(to + (place << 2), load<u32>(from));
      store<u32>(to + (place << 2), load<u32>(from, ROW_TERM), SPREAD_TERMS);
      if (ASC_FEATURE_RELAXED_SIMD && dtype == I8) {
        if (place == 0) v128.store(to, i32x4.splat(0), SPREAD_SHIFTS);
        store<u8>(to + place, load<u8>(from, ROW_SHIFT), SPREAD_SHIFTS);
      }
      spreadValues(dtype, to + SPREAD_HEAD + place * SPREAD_FOUR, from + ROW_HEAD);
    }
  }
}

/** The higher bytes of records where a row has some; zeros of the other rows. */
export function spreadHigh(s: usize, qa: usize, rowBytes: usize, rows: usize, blocks: usize): void {
  for (let b: usize = 0; b < blocks; b++, qa += rowRecord(I8)) {
    for (let row: usize = 0; row < rows; row += SPREAD_ROWS, s += spreadRecord(I8)) {
      if (!v128.any_true(v128.load(s, SPREAD_SHIFTS))) continue;
      for (let r: usize = 0; r < SPREAD_ROWS; r++) {
        const to = s + SPREAD_HIGH + SPREAD_HEAD + r * SPREAD_FOUR;
        if (load<u8>(s + r, SPREAD_SHIFTS)) spreadValues(I8, to, qa + (row + r) * rowBytes + ROW_HIGH);
        else clearValues(to);
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function clearValues(to: usize): void {
  for (const end = to + SPREAD_HIGH; to < end; to += SPREAD_STEP) store<u32>(to, 0);
}

// @ts-ignore: decorator
@inline
function spreadValues(dtype: i32, to: usize, from: usize): void {
  for (const end = to + blockOf(dtype) / 4 * SPREAD_STEP; to < end; to += SPREAD_STEP, from += SPREAD_FOUR) {
    if (ASC_FEATURE_RELAXED_SIMD) {
      store<u32>(to, load<u32>(from));
    } else if (dtype == I4) {
      const four = v128.load64_zero(from);
      v128.store64_lane(to, v128.shuffle<i16>(four, four, 0, 2, 1, 3, 0, 2, 1, 3), 0);
    } else {
      store<u64>(to, load<u64>(from));
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
