/** The 4 × 8 tile of products with quantised weights. */
import { addPairs, finish4, I4, I8, I8_RECORD, SCALES } from './quant';
import { HEAD_RECORD, SPREAD_HEAD, SPREAD_RECORD } from './quant_spread';
import { tile4x8 as relaxedTile } from './quant_relaxed';

/**
 * Adds `blocks` blocks to 4 rows × 8 outputs (ldc in bytes): s are spread rows, w weights as bytes, h their heads.
 * `first`: there is no total yet. `bias` is added after the last block where it is not 0.
 */
// @ts-ignore: decorator
@inline
export function tile(
  dtype: i32, single: bool, out: usize, ldc: usize, s: usize, w: usize, h: usize, blocks: usize, first: bool,
  bias: usize,
): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    relaxedTile(dtype, single, out, ldc, s, w, h, blocks, first, bias);
  } else {
    tile4x4(out, ldc, s, w + SCALES, h, blocks, first, bias);
    tile4x4(out + 16, ldc, s, w + SCALES + 16, h + 16, blocks, first, bias ? bias + 16 : 0);
  }
}

/**
 * 4 rows × 4 outputs with int16 rows: half a panel, so that the 8 sums stay in registers. A sum has 16 terms of at most
 * 127 · 32767 in each of its two halves, 2²⁷ together: an int32 holds it.
 */
function tile4x4(
  out: usize, ldc: usize, s: usize, w: usize, h: usize, blocks: usize, first: bool, bias: usize,
): void {
  for (; blocks; blocks--) {
    let c00 = i32x4.splat(0), c01 = i32x4.splat(0);
    let c10 = i32x4.splat(0), c11 = i32x4.splat(0);
    let c20 = i32x4.splat(0), c21 = i32x4.splat(0);
    let c30 = i32x4.splat(0), c31 = i32x4.splat(0);
    const head = s;
    s += SPREAD_HEAD;
    const end = w + 256;
    while (w < end) {
      const b0 = v128.load8x8_s(w);
      const b1 = v128.load8x8_s(w, 8);
      let x = v128.load(s);
      c00 = i32x4.add(c00, i32x4.dot_i16x8_s(x, b0));
      c01 = i32x4.add(c01, i32x4.dot_i16x8_s(x, b1));
      x = v128.load(s, 16);
      c10 = i32x4.add(c10, i32x4.dot_i16x8_s(x, b0));
      c11 = i32x4.add(c11, i32x4.dot_i16x8_s(x, b1));
      x = v128.load(s, 32);
      c20 = i32x4.add(c20, i32x4.dot_i16x8_s(x, b0));
      c21 = i32x4.add(c21, i32x4.dot_i16x8_s(x, b1));
      x = v128.load(s, 48);
      c30 = i32x4.add(c30, i32x4.dot_i16x8_s(x, b0));
      c31 = i32x4.add(c31, i32x4.dot_i16x8_s(x, b1));
      w += 32;
      s += 64;
    }
    w += I8_RECORD - 256;
    const scale4 = v128.load(h);
    h += HEAD_RECORD;
    const rest: usize = blocks == 1 ? bias : 0;
    finish4(out, addPairs(c00, c01), scale4, v128.load(head), first, rest);
    finish4(out + ldc, addPairs(c10, c11), scale4, v128.load(head, 16), first, rest);
    finish4(out + 2 * ldc, addPairs(c20, c21), scale4, v128.load(head, 32), first, rest);
    finish4(out + 3 * ldc, addPairs(c30, c31), scale4, v128.load(head, 48), first, rest);
    first = false;
  }
}
