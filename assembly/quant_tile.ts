/** The tiles of the plain build: int16 rows · int8 weights. */
import { addPairs, addScaled, blockOf, headBytes, I4, I8, minimums4, scales4 } from './quant';
import {
  SPREAD_FOUR, SPREAD_HEAD, SPREAD_ROWS, SPREAD_STEP, SPREAD_TERMS, spreadRecord, unpackNibbles,
} from './quant_spread';
import { quantBlock, quantWideBlock } from './scratch';

/** Fewer rows than this do not pay for widening the weights beforehand. */
const WIDE_ROWS: usize = 8;

/** Adds the products of `rows` spread rows from s on with the record `block` to `total`, `[rows, made even][8]`. */
// @ts-ignore: decorator
@inline
export function plainTiles(dtype: i32, total: usize, s: usize, rows: usize, block: usize): void {
  const end = s + (rows + SPREAD_ROWS - 1) / SPREAD_ROWS * spreadRecord(dtype);
  let w = block + headBytes(dtype);
  if (dtype == I4) {
    unpackNibbles(quantBlock, w);
    w = quantBlock;
  }
  if (rows < WIDE_ROWS) {
    if (dtype == I8) tilesI8(total, s, end, w, block);
    else tilesI4(total, s, end, w, block);
  } else {
    widenBytes(quantWideBlock, w, 8 * blockOf(dtype));
    if (dtype == I8) wideTilesI8(total, s, end, quantWideBlock, block);
    else wideTilesI4(total, s, end, quantWideBlock, block);
  }
}

// @ts-ignore: decorator
@inline
function widenBytes(to: usize, from: usize, count: usize): void {
  for (const end = from + count; from < end; from += 16, to += 32) {
    v128.store(to, v128.load8x8_s(from));
    v128.store(to, v128.load8x8_s(from, 8), 16);
  }
}

function tilesI8(total: usize, s: usize, end: usize, w: usize, block: usize): void {
  tiles2x8(I8, false, total, s, end, w, block);
}

function wideTilesI8(total: usize, s: usize, end: usize, w: usize, block: usize): void {
  tiles2x8(I8, true, total, s, end, w, block);
}

function tilesI4(total: usize, s: usize, end: usize, w: usize, block: usize): void {
  tiles2x8(I4, false, total, s, end, w, block);
}

function wideTilesI4(total: usize, s: usize, end: usize, w: usize, block: usize): void {
  tiles2x8(I4, true, total, s, end, w, block);
}

/**
 * 2 rows × 8 outputs at a time: the 8 sums stay in registers. A sum has 32 terms of at most 127 · 32767 in each of its
 * two halves, 2²⁸ together: an int32 holds it. `wide`: the weights are int16 already (15 % faster with many rows).
 */
// @ts-ignore: decorator
@inline
function tiles2x8(
  dtype: i32, wide: bool, total: usize, s: usize, end: usize, w: usize, block: usize,
): void {
  const scale0 = scales4(block, 0), scale1 = scales4(block, 1);
  const minimum0 = minimums4(dtype, block, 0), minimum1 = minimums4(dtype, block, 1);
  const stop = w + (wide ? 16 : 8) * blockOf(dtype);
  for (; s < end; total += 64) {
    let a0 = i32x4.splat(0), a1 = i32x4.splat(0), a2 = i32x4.splat(0), a3 = i32x4.splat(0);
    let b0 = i32x4.splat(0), b1 = i32x4.splat(0), b2 = i32x4.splat(0), b3 = i32x4.splat(0);
    const head = s;
    s += SPREAD_HEAD;
    for (let p = w; p < stop; p += wide ? 64 : 32, s += SPREAD_STEP) {
      const x = v128.load64_splat(s), y = v128.load64_splat(s, SPREAD_FOUR);
      let weights = wide ? v128.load(p) : v128.load8x8_s(p);
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(x, weights));
      b0 = i32x4.add(b0, i32x4.dot_i16x8_s(y, weights));
      weights = wide ? v128.load(p, 16) : v128.load8x8_s(p, 8);
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(x, weights));
      b1 = i32x4.add(b1, i32x4.dot_i16x8_s(y, weights));
      weights = wide ? v128.load(p, 32) : v128.load8x8_s(p, 16);
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(x, weights));
      b2 = i32x4.add(b2, i32x4.dot_i16x8_s(y, weights));
      weights = wide ? v128.load(p, 48) : v128.load8x8_s(p, 24);
      a3 = i32x4.add(a3, i32x4.dot_i16x8_s(x, weights));
      b3 = i32x4.add(b3, i32x4.dot_i16x8_s(y, weights));
    }
    let scale = v128.load32_splat(head), term = v128.load32_splat(head, SPREAD_TERMS);
    addScaled(dtype, total, addPairs(a0, a1), scale0, minimum0, scale, term);
    addScaled(dtype, total + 16, addPairs(a2, a3), scale1, minimum1, scale, term);
    scale = v128.load32_splat(head, 4);
    term = v128.load32_splat(head, SPREAD_TERMS + 4);
    addScaled(dtype, total + 32, addPairs(b0, b1), scale0, minimum0, scale, term);
    addScaled(dtype, total + 48, addPairs(b2, b3), scale1, minimum1, scale, term);
  }
}
