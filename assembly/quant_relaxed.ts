/**
 * The 7-bit dot product of the relaxed build. Its second operand is always within 0 … 127, and no sum of two products
 * passes 16 bits, so every processor gives the same integers.
 *
 *   I8: weights (−127 … 127) · rows (0 … 127): |sum of 2| <= 32258. Σ w·(v + offset) = Σ w·v + Σ w · offset, and
 *   of two bytes (Σ w·high + Σ w · offset/128) · 128 + Σ w·low.
 *   I4: rows (−127 … 127) · nibbles (0 … 15): |sum of 2| <= 3810, of 16 <= 30480: a whole block fits in 16 bits.
 *
 * Two forms: 16-bit sums of two (VPMADDUBSW), or sums of four added to 32 bits in one instruction, which is fast only
 * where the engine has VPDPBUSD for it.
 */
import { addScaled, blockOf, I4, I4_HEAD, I8, I8_BLOCK, I8_HEAD, minimums4, scales4 } from './quant';
import {
  SPREAD_HEAD, SPREAD_HIGH, SPREAD_ROWS, SPREAD_SHIFTS, SPREAD_STEP, SPREAD_TERMS, spreadRecord, unpackNibbles,
} from './quant_spread';
import { Four, rowsOf, Six } from './row_count';
import { quantBlock } from './scratch';

/** In memory, because V8 builds a splat anew at every use. */
export const ONES: usize = memory.data<u16>([1, 1, 1, 1, 1, 1, 1, 1], 16);
export const BYTE_ONES: usize = memory.data<u32>([0x01010101, 0x01010101, 0x01010101, 0x01010101], 16);

/** What a block's sum begins with: of I8 the `sums` of the weights times the offsets, the row's term. */
// @ts-ignore: decorator
@inline
function start(dtype: i32, sums: v128, term: v128): v128 {
  return dtype == I8 ? i32x4.dot_i16x8_s(sums, term) : i32x4.splat(0);
}

/** sum + products of 4 outputs × 4 k: 32-bit sums, or for I4 in two instructions 16-bit ones. */
// @ts-ignore: decorator
@inline
export function step(dtype: i32, single: bool, sum: v128, weights: v128, row: v128, ones: v128): v128 {
  if (dtype == I8) {
    if (single) return i32x4.relaxed_dot_i8x16_i7x16_add_s(weights, row, sum);
    return i32x4.add(sum, i32x4.dot_i16x8_s(i16x8.relaxed_dot_i8x16_i7x16_s(weights, row), ones));
  }
  if (single) return i32x4.relaxed_dot_i8x16_i7x16_add_s(row, weights, sum);
  return i16x8.add(sum, i16x8.relaxed_dot_i8x16_i7x16_s(row, weights));
}

/** The block's sum as 32-bit integers. */
// @ts-ignore: decorator
@inline
export function end(dtype: i32, single: bool, sum: v128, ones: v128): v128 {
  return dtype == I8 || single ? sum : i32x4.dot_i16x8_s(sum, ones);
}

/**
 * Adds the products of `rows` spread rows from s on, in as many records as it takes, with the record `block` of the
 * weights to `total`, `[rows][8]`; of up to three rows more something is added, too.
 */
// @ts-ignore: decorator
@inline
export function relaxedTiles(dtype: i32, single: bool, total: usize, s: usize, rows: usize, block: usize): void {
  if (dtype == I4) {
    unpackNibbles(quantBlock, block + I4_HEAD);
    if (single) tilesI4Single(total, s, rows, block);
    else tilesI4(total, s, rows, block);
  } else {
    if (single) tilesI8Single(total, s, rows, block);
    else tilesI8(total, s, rows, block);
  }
}

function tilesI8(total: usize, s: usize, rows: usize, block: usize): void {
  tiles(I8, false, total, s, rows, block, block + I8_HEAD);
}

function tilesI8Single(total: usize, s: usize, rows: usize, block: usize): void {
  tiles(I8, true, total, s, rows, block, block + I8_HEAD);
}

function tilesI4(total: usize, s: usize, rows: usize, block: usize): void {
  tiles(I4, false, total, s, rows, block, quantBlock);
}

function tilesI4Single(total: usize, s: usize, rows: usize, block: usize): void {
  tiles(I4, true, total, s, rows, block, quantBlock);
}

/**
 * In one instruction tiles of six rows (twelve sums, two vectors of weights and one of a row fill the registers; with
 * fewer each sum waits for the one before), in two, which need more registers, of four.
 */
// @ts-ignore: decorator
@inline
function tiles(dtype: i32, single: bool, total: usize, s: usize, rows: usize, block: usize, w: usize): void {
  const ones = v128.load(ONES);
  const sums0 = dtype == I8 ? sumWeights(w) : ones, sums1 = dtype == I8 ? sumWeights(w + 16) : ones;
  for (; ; s += spreadRecord(dtype)) {
    if (single && rows >= SPREAD_ROWS) {
      tile<Six>(dtype, true, total, s, 0, block, w, sums0, sums1);
      tile<Six>(dtype, true, total + 192, s, 6, block, w, sums0, sums1);
    } else {
      fewTiles(dtype, single, total, s, min(rows, SPREAD_ROWS), block, w, sums0, sums1);
    }
    if (rows <= SPREAD_ROWS) break;
    rows -= SPREAD_ROWS;
    total += SPREAD_ROWS << 5;
  }
}

/** The same of one record. */
// @ts-ignore: decorator
@inline
function fewTiles(
  dtype: i32, single: bool, total: usize, s: usize, rows: usize, block: usize, w: usize, sums0: v128, sums1: v128,
): void {
  for (let first: usize = 0; first < rows; ) {
    const left = rows - first;
    // 7 or 8 rows are two tiles of four.
    if (single && left > 4 && left != 7 && left != 8) {
      tile<Six>(dtype, true, total + (first << 5), s, first, block, w, sums0, sums1);
      first += 6;
    } else {
      tile<Four>(dtype, single, total + (first << 5), s, first, block, w, sums0, sums1);
      first += 4;
    }
  }
}

/** Four or six rows of a record, from its row `first` on; total of the first of them. */
// @ts-ignore: decorator
@inline
function tile<Rows>(
  dtype: i32, single: bool, total: usize, record: usize, first: usize, block: usize, w: usize, sums0: v128, sums1: v128,
): void {
  const ones = v128.load(ONES);
  const head = record + (first << 2);
  let x = v128.load32_splat(head, SPREAD_TERMS);
  let c00 = start(dtype, sums0, x), c01 = start(dtype, sums1, x);
  x = v128.load32_splat(head, SPREAD_TERMS + 4);
  let c10 = start(dtype, sums0, x), c11 = start(dtype, sums1, x);
  x = v128.load32_splat(head, SPREAD_TERMS + 8);
  let c20 = start(dtype, sums0, x), c21 = start(dtype, sums1, x);
  x = v128.load32_splat(head, SPREAD_TERMS + 12);
  let c30 = start(dtype, sums0, x), c31 = start(dtype, sums1, x);
  let c40 = c00, c41 = c01, c50 = c00, c51 = c01;
  if (rowsOf<Rows>() > 4) {
    x = v128.load32_splat(head, SPREAD_TERMS + 16);
    c40 = start(dtype, sums0, x);
    c41 = start(dtype, sums1, x);
    x = v128.load32_splat(head, SPREAD_TERMS + 20);
    c50 = start(dtype, sums0, x);
    c51 = start(dtype, sums1, x);
  }
  const last = w + 8 * blockOf(dtype);
  let s = head + SPREAD_HEAD;
  if (dtype == I8 && hasShift<Rows>(record + first)) {
    for (let p = w; p < last; p += 32, s += SPREAD_STEP) {
      const b0 = v128.load(p);
      const b1 = v128.load(p, 16);
      x = v128.load32_splat(s, SPREAD_HIGH);
      c00 = step(dtype, single, c00, b0, x, ones);
      c01 = step(dtype, single, c01, b1, x, ones);
      x = v128.load32_splat(s, SPREAD_HIGH + 4);
      c10 = step(dtype, single, c10, b0, x, ones);
      c11 = step(dtype, single, c11, b1, x, ones);
      x = v128.load32_splat(s, SPREAD_HIGH + 8);
      c20 = step(dtype, single, c20, b0, x, ones);
      c21 = step(dtype, single, c21, b1, x, ones);
      x = v128.load32_splat(s, SPREAD_HIGH + 12);
      c30 = step(dtype, single, c30, b0, x, ones);
      c31 = step(dtype, single, c31, b1, x, ones);
      if (rowsOf<Rows>() > 4) {
        x = v128.load32_splat(s, SPREAD_HIGH + 16);
        c40 = step(dtype, single, c40, b0, x, ones);
        c41 = step(dtype, single, c41, b1, x, ones);
        x = v128.load32_splat(s, SPREAD_HIGH + 20);
        c50 = step(dtype, single, c50, b0, x, ones);
        c51 = step(dtype, single, c51, b1, x, ones);
      }
    }
    s = head + SPREAD_HEAD;
    const shifts = record + first;
    let shift: i32 = load<u8>(shifts, SPREAD_SHIFTS);
    c00 = i32x4.shl(c00, shift);
    c01 = i32x4.shl(c01, shift);
    shift = load<u8>(shifts, SPREAD_SHIFTS + 1);
    c10 = i32x4.shl(c10, shift);
    c11 = i32x4.shl(c11, shift);
    shift = load<u8>(shifts, SPREAD_SHIFTS + 2);
    c20 = i32x4.shl(c20, shift);
    c21 = i32x4.shl(c21, shift);
    shift = load<u8>(shifts, SPREAD_SHIFTS + 3);
    c30 = i32x4.shl(c30, shift);
    c31 = i32x4.shl(c31, shift);
    if (rowsOf<Rows>() > 4) {
      shift = load<u8>(shifts, SPREAD_SHIFTS + 4);
      c40 = i32x4.shl(c40, shift);
      c41 = i32x4.shl(c41, shift);
      shift = load<u8>(shifts, SPREAD_SHIFTS + 5);
      c50 = i32x4.shl(c50, shift);
      c51 = i32x4.shl(c51, shift);
    }
  }
  for (let p = w; p < last; p += 32, s += SPREAD_STEP) {
    const b0 = v128.load(p);
    const b1 = v128.load(p, 16);
    x = v128.load32_splat(s);
    c00 = step(dtype, single, c00, b0, x, ones);
    c01 = step(dtype, single, c01, b1, x, ones);
    x = v128.load32_splat(s, 4);
    c10 = step(dtype, single, c10, b0, x, ones);
    c11 = step(dtype, single, c11, b1, x, ones);
    x = v128.load32_splat(s, 8);
    c20 = step(dtype, single, c20, b0, x, ones);
    c21 = step(dtype, single, c21, b1, x, ones);
    x = v128.load32_splat(s, 12);
    c30 = step(dtype, single, c30, b0, x, ones);
    c31 = step(dtype, single, c31, b1, x, ones);
    if (rowsOf<Rows>() > 4) {
      x = v128.load32_splat(s, 16);
      c40 = step(dtype, single, c40, b0, x, ones);
      c41 = step(dtype, single, c41, b1, x, ones);
      x = v128.load32_splat(s, 20);
      c50 = step(dtype, single, c50, b0, x, ones);
      c51 = step(dtype, single, c51, b1, x, ones);
    }
  }
  const scale0 = scales4(block, 0), scale1 = scales4(block, 1);
  const minimum0 = minimums4(dtype, block, 0), minimum1 = minimums4(dtype, block, 1);
  let scale = v128.load32_splat(head);
  x = v128.load32_splat(head, SPREAD_TERMS);
  addScaled(dtype, total, end(dtype, single, c00, ones), scale0, minimum0, scale, x);
  addScaled(dtype, total + 16, end(dtype, single, c01, ones), scale1, minimum1, scale, x);
  scale = v128.load32_splat(head, 4);
  x = v128.load32_splat(head, SPREAD_TERMS + 4);
  addScaled(dtype, total + 32, end(dtype, single, c10, ones), scale0, minimum0, scale, x);
  addScaled(dtype, total + 48, end(dtype, single, c11, ones), scale1, minimum1, scale, x);
  scale = v128.load32_splat(head, 8);
  x = v128.load32_splat(head, SPREAD_TERMS + 8);
  addScaled(dtype, total + 64, end(dtype, single, c20, ones), scale0, minimum0, scale, x);
  addScaled(dtype, total + 80, end(dtype, single, c21, ones), scale1, minimum1, scale, x);
  scale = v128.load32_splat(head, 12);
  x = v128.load32_splat(head, SPREAD_TERMS + 12);
  addScaled(dtype, total + 96, end(dtype, single, c30, ones), scale0, minimum0, scale, x);
  addScaled(dtype, total + 112, end(dtype, single, c31, ones), scale1, minimum1, scale, x);
  if (rowsOf<Rows>() > 4) {
    scale = v128.load32_splat(head, 16);
    x = v128.load32_splat(head, SPREAD_TERMS + 16);
    addScaled(dtype, total + 128, end(dtype, single, c40, ones), scale0, minimum0, scale, x);
    addScaled(dtype, total + 144, end(dtype, single, c41, ones), scale1, minimum1, scale, x);
    scale = v128.load32_splat(head, 20);
    x = v128.load32_splat(head, SPREAD_TERMS + 20);
    addScaled(dtype, total + 160, end(dtype, single, c50, ones), scale0, minimum0, scale, x);
    addScaled(dtype, total + 176, end(dtype, single, c51, ones), scale1, minimum1, scale, x);
  }
}

/** Whether one of a tile's rows has a second byte. */
// @ts-ignore: decorator
@inline
function hasShift<Rows>(shifts: usize): bool {
  if (rowsOf<Rows>() > 4) return (load<u64>(shifts, SPREAD_SHIFTS) << 16) != 0;
  return load<u32>(shifts, SPREAD_SHIFTS) != 0;
}

/** Of four outputs the sums of the weights k, k + 1 of all groups, and of k + 2, k + 3: 32 · 127 at most each. */
// @ts-ignore: decorator
@inline
export function sumWeights(w: usize): v128 {
  const ones = v128.load(BYTE_ONES);
  let sum = i16x8.splat(0);
  for (const stop = w + 8 * I8_BLOCK; w < stop; w += 32) {
    sum = i16x8.add(sum, i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(w), ones));
  }
  return sum;
}
