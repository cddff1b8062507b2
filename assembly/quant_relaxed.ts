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
import { SPREAD_HEAD, SPREAD_HIGH, SPREAD_SHIFTS, SPREAD_TERMS, unpackNibbles } from './quant_spread';
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

/** Adds the products of the spread rows s … stop with the record `block` to `total`, `[rows][8]`. */
// @ts-ignore: decorator
@inline
export function relaxedTiles(dtype: i32, single: bool, total: usize, s: usize, stop: usize, block: usize): void {
  if (dtype == I4) {
    unpackNibbles(quantBlock, block + I4_HEAD);
    if (single) tilesI4Single(total, s, stop, block);
    else tilesI4(total, s, stop, block);
  } else {
    if (single) tilesI8Single(total, s, stop, block);
    else tilesI8(total, s, stop, block);
  }
}

function tilesI8(total: usize, s: usize, stop: usize, block: usize): void {
  tiles4x8(I8, false, total, s, stop, block, block + I8_HEAD);
}

function tilesI8Single(total: usize, s: usize, stop: usize, block: usize): void {
  tiles4x8(I8, true, total, s, stop, block, block + I8_HEAD);
}

function tilesI4(total: usize, s: usize, stop: usize, block: usize): void {
  tiles4x8(I4, false, total, s, stop, block, quantBlock);
}

function tilesI4Single(total: usize, s: usize, stop: usize, block: usize): void {
  tiles4x8(I4, true, total, s, stop, block, quantBlock);
}

// @ts-ignore: decorator
@inline
function tiles4x8(dtype: i32, single: bool, total: usize, s: usize, stop: usize, block: usize, w: usize): void {
  const ones = v128.load(ONES);
  const scale0 = scales4(block, 0), scale1 = scales4(block, 1);
  const minimum0 = minimums4(dtype, block, 0), minimum1 = minimums4(dtype, block, 1);
  const sums0 = dtype == I8 ? sumWeights(w) : ones, sums1 = dtype == I8 ? sumWeights(w + 16) : ones;
  const last = w + 8 * blockOf(dtype);
  for (; s < stop; total += 128) {
    const head = s;
    let x = v128.load(s, SPREAD_TERMS);
    let c00 = start(dtype, sums0, x), c01 = start(dtype, sums1, x);
    x = v128.load(s, SPREAD_TERMS + 16);
    let c10 = start(dtype, sums0, x), c11 = start(dtype, sums1, x);
    x = v128.load(s, SPREAD_TERMS + 32);
    let c20 = start(dtype, sums0, x), c21 = start(dtype, sums1, x);
    x = v128.load(s, SPREAD_TERMS + 48);
    let c30 = start(dtype, sums0, x), c31 = start(dtype, sums1, x);
    s += SPREAD_HEAD;
    if (dtype == I8 && load<u32>(head, SPREAD_SHIFTS)) {
      for (let p = w; p < last; p += 32, s += 64) {
        const b0 = v128.load(p);
        const b1 = v128.load(p, 16);
        x = v128.load(s, SPREAD_HIGH);
        c00 = step(dtype, single, c00, b0, x, ones);
        c01 = step(dtype, single, c01, b1, x, ones);
        x = v128.load(s, SPREAD_HIGH + 16);
        c10 = step(dtype, single, c10, b0, x, ones);
        c11 = step(dtype, single, c11, b1, x, ones);
        x = v128.load(s, SPREAD_HIGH + 32);
        c20 = step(dtype, single, c20, b0, x, ones);
        c21 = step(dtype, single, c21, b1, x, ones);
        x = v128.load(s, SPREAD_HIGH + 48);
        c30 = step(dtype, single, c30, b0, x, ones);
        c31 = step(dtype, single, c31, b1, x, ones);
      }
      s = head + SPREAD_HEAD;
      let shift: i32 = load<u8>(head, SPREAD_SHIFTS);
      c00 = i32x4.shl(c00, shift);
      c01 = i32x4.shl(c01, shift);
      shift = load<u8>(head, SPREAD_SHIFTS + 1);
      c10 = i32x4.shl(c10, shift);
      c11 = i32x4.shl(c11, shift);
      shift = load<u8>(head, SPREAD_SHIFTS + 2);
      c20 = i32x4.shl(c20, shift);
      c21 = i32x4.shl(c21, shift);
      shift = load<u8>(head, SPREAD_SHIFTS + 3);
      c30 = i32x4.shl(c30, shift);
      c31 = i32x4.shl(c31, shift);
    }
    for (let p = w; p < last; p += 32, s += 64) {
      const b0 = v128.load(p);
      const b1 = v128.load(p, 16);
      x = v128.load(s);
      c00 = step(dtype, single, c00, b0, x, ones);
      c01 = step(dtype, single, c01, b1, x, ones);
      x = v128.load(s, 16);
      c10 = step(dtype, single, c10, b0, x, ones);
      c11 = step(dtype, single, c11, b1, x, ones);
      x = v128.load(s, 32);
      c20 = step(dtype, single, c20, b0, x, ones);
      c21 = step(dtype, single, c21, b1, x, ones);
      x = v128.load(s, 48);
      c30 = step(dtype, single, c30, b0, x, ones);
      c31 = step(dtype, single, c31, b1, x, ones);
    }
    let scale = v128.load(head);
    x = v128.load(head, SPREAD_TERMS);
    addScaled(dtype, total, end(dtype, single, c00, ones), scale0, minimum0, scale, x);
    addScaled(dtype, total + 16, end(dtype, single, c01, ones), scale1, minimum1, scale, x);
    scale = v128.load(head, 16);
    x = v128.load(head, SPREAD_TERMS + 16);
    addScaled(dtype, total + 32, end(dtype, single, c10, ones), scale0, minimum0, scale, x);
    addScaled(dtype, total + 48, end(dtype, single, c11, ones), scale1, minimum1, scale, x);
    scale = v128.load(head, 32);
    x = v128.load(head, SPREAD_TERMS + 32);
    addScaled(dtype, total + 64, end(dtype, single, c20, ones), scale0, minimum0, scale, x);
    addScaled(dtype, total + 80, end(dtype, single, c21, ones), scale1, minimum1, scale, x);
    scale = v128.load(head, 48);
    x = v128.load(head, SPREAD_TERMS + 48);
    addScaled(dtype, total + 96, end(dtype, single, c30, ones), scale0, minimum0, scale, x);
    addScaled(dtype, total + 112, end(dtype, single, c31, ones), scale1, minimum1, scale, x);
  }
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
