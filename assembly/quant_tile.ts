/** The tiles of the plain build: int16 rows · int8 weights. */
import { addPairs, addScaled, I4, scales4, SCALES } from './quant';
import { SPREAD_HEAD, unpackNibbles } from './quant_spread';
import { quantBlock, quantTotals } from './scratch';

/** Adds the products of the spread rows s … end with the record `block` to quantTotals. */
// @ts-ignore: decorator
@inline
export function plainTiles(dtype: i32, s: usize, end: usize, block: usize): void {
  if (dtype == I4) unpackNibbles(quantBlock, block + SCALES);
  tiles2x8(quantTotals, s, end, dtype == I4 ? quantBlock : block + SCALES, scales4(block, 0), scales4(block, 1));
}

/**
 * 2 rows × 8 outputs at a time: the 8 sums stay in registers. A sum has 16 terms of at most 127 · 32767 in each of its
 * two halves, under 2²⁸ together: an int32 holds it.
 */
function tiles2x8(total: usize, s: usize, end: usize, w: usize, scale0: v128, scale1: v128): void {
  const stop = w + 256;
  for (; s < end; total += 64) {
    let a0 = i32x4.splat(0), a1 = i32x4.splat(0), a2 = i32x4.splat(0), a3 = i32x4.splat(0);
    let b0 = i32x4.splat(0), b1 = i32x4.splat(0), b2 = i32x4.splat(0), b3 = i32x4.splat(0);
    const head = s;
    s += SPREAD_HEAD;
    for (let p = w; p < stop; p += 32, s += 32) {
      const x = v128.load(s), y = v128.load(s, 16);
      let weights = v128.load8x8_s(p);
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(x, weights));
      b0 = i32x4.add(b0, i32x4.dot_i16x8_s(y, weights));
      weights = v128.load8x8_s(p, 8);
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(x, weights));
      b1 = i32x4.add(b1, i32x4.dot_i16x8_s(y, weights));
      weights = v128.load8x8_s(p, 16);
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(x, weights));
      b2 = i32x4.add(b2, i32x4.dot_i16x8_s(y, weights));
      weights = v128.load8x8_s(p, 24);
      a3 = i32x4.add(a3, i32x4.dot_i16x8_s(x, weights));
      b3 = i32x4.add(b3, i32x4.dot_i16x8_s(y, weights));
    }
    let scale = v128.load(head);
    addScaled(total, addPairs(a0, a1), scale0, scale);
    addScaled(total + 16, addPairs(a2, a3), scale1, scale);
    scale = v128.load(head, 16);
    addScaled(total + 32, addPairs(b0, b1), scale0, scale);
    addScaled(total + 48, addPairs(b2, b3), scale1, scale);
  }
}
