/**
 * The 7-bit dot product of the relaxed build. Its second operand is always within 0 … 127, and no sum of two products
 * passes 16 bits, so every processor gives the same integers.
 *
 *   I8: weights (−127 … 127) · rows (0 … 127): |sum of 2| <= 32258. Σ w·(v − zero) = Σ w·v + Σ w · (−zero).
 *   I4: rows (−127 … 127) · nibbles (0 … 15): |sum of 2| <= 3810, of 16 <= 30480: a whole block fits in 16 bits.
 *       Σ (nibble − 8)·v = Σ nibble·v + (−8 · Σ v).
 *
 * Two forms: 16-bit sums of two (VPMADDUBSW), or sums of four added to 32 bits in one instruction, which is fast only
 * where the engine has VPDPBUSD for it.
 */
import { finish4, I4, I8, I8_RECORD, SCALES } from './quant';
import { HEAD_RECORD, SPREAD_HEAD } from './quant_spread';

/** In memory, because V8 builds a splat anew at every use. */
export const ONES: usize = memory.data<u16>([1, 1, 1, 1, 1, 1, 1, 1], 16);

/** What a block's sum begins with: `sums` of the weights, `correction` of the row. */
// @ts-ignore: decorator
@inline
export function start(dtype: i32, single: bool, sums: v128, correction: v128): v128 {
  if (dtype == I8) return i32x4.dot_i16x8_s(sums, correction);
  return single ? correction : i32x4.splat(0);
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
export function end(dtype: i32, single: bool, sum: v128, correction: v128, ones: v128): v128 {
  if (dtype == I8 || single) return sum;
  return i32x4.add(i32x4.dot_i16x8_s(sum, ones), correction);
}

/** 4 rows × 8 outputs, see quant_tile.ts. */
// @ts-ignore: decorator
@inline
export function tile4x8(
  dtype: i32, single: bool, out: usize, ldc: usize, s: usize, w: usize, h: usize, blocks: usize, first: bool,
  bias: usize,
): void {
  if (dtype == I8) {
    if (single) tileI8Single(out, ldc, s, w, h, blocks, first, bias);
    else tileI8(out, ldc, s, w, h, blocks, first, bias);
  } else {
    if (single) tileI4Single(out, ldc, s, w, h, blocks, first, bias);
    else tileI4(out, ldc, s, w, h, blocks, first, bias);
  }
}

function tileI8(out: usize, ldc: usize, s: usize, w: usize, h: usize, blocks: usize, first: bool, bias: usize): void {
  loop(I8, false, out, ldc, s, w, h, blocks, first, bias);
}

function tileI8Single(
  out: usize, ldc: usize, s: usize, w: usize, h: usize, blocks: usize, first: bool, bias: usize,
): void {
  loop(I8, true, out, ldc, s, w, h, blocks, first, bias);
}

function tileI4(out: usize, ldc: usize, s: usize, w: usize, h: usize, blocks: usize, first: bool, bias: usize): void {
  loop(I4, false, out, ldc, s, w, h, blocks, first, bias);
}

function tileI4Single(
  out: usize, ldc: usize, s: usize, w: usize, h: usize, blocks: usize, first: bool, bias: usize,
): void {
  loop(I4, true, out, ldc, s, w, h, blocks, first, bias);
}

// @ts-ignore: decorator
@inline
function loop(
  dtype: i32, single: bool, out: usize, ldc: usize, s: usize, w: usize, h: usize, blocks: usize, first: bool,
  bias: usize,
): void {
  const ones = v128.load(ONES);
  w += SCALES;
  for (; blocks; blocks--) {
    const head = s;
    const sums0 = v128.load(h, 32), sums1 = v128.load(h, 48);
    let x = v128.load(s, 64);
    let c00 = start(dtype, single, sums0, x), c01 = start(dtype, single, sums1, x);
    x = v128.load(s, 80);
    let c10 = start(dtype, single, sums0, x), c11 = start(dtype, single, sums1, x);
    x = v128.load(s, 96);
    let c20 = start(dtype, single, sums0, x), c21 = start(dtype, single, sums1, x);
    x = v128.load(s, 112);
    let c30 = start(dtype, single, sums0, x), c31 = start(dtype, single, sums1, x);
    s += SPREAD_HEAD;
    const stop = w + 256;
    while (w < stop) {
      const b0 = v128.load(w);
      const b1 = v128.load(w, 16);
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
      w += 32;
      s += 64;
    }
    w += I8_RECORD - 256;
    const scale0 = v128.load(h), scale1 = v128.load(h, 16);
    h += HEAD_RECORD;
    const rest: usize = blocks == 1 ? bias : 0;
    const rest1: usize = rest ? rest + 16 : 0;
    x = v128.load(head, 64);
    let scale = v128.load(head);
    finish4(out, end(dtype, single, c00, x, ones), scale0, scale, first, rest);
    finish4(out + 16, end(dtype, single, c01, x, ones), scale1, scale, first, rest1);
    x = v128.load(head, 80);
    scale = v128.load(head, 16);
    let to = out + ldc;
    finish4(to, end(dtype, single, c10, x, ones), scale0, scale, first, rest);
    finish4(to + 16, end(dtype, single, c11, x, ones), scale1, scale, first, rest1);
    x = v128.load(head, 96);
    scale = v128.load(head, 32);
    to += ldc;
    finish4(to, end(dtype, single, c20, x, ones), scale0, scale, first, rest);
    finish4(to + 16, end(dtype, single, c21, x, ones), scale1, scale, first, rest1);
    x = v128.load(head, 112);
    scale = v128.load(head, 48);
    to += ldc;
    finish4(to, end(dtype, single, c30, x, ones), scale0, scale, first, rest);
    finish4(to + 16, end(dtype, single, c31, x, ones), scale1, scale, first, rest1);
    first = false;
  }
}
