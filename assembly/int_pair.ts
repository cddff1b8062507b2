/**
 * Two panels of integer pages at a time against a few rows, as pair_tile.ts has them over float pages: two long streams
 * side by side, four outputs of each panel first, then the other four. The same sums and products as in int_tile.ts.
 */
import { INT_TILE_ROWS, scaled } from './int_tile';
import { I8 } from './pages_int';
import { Four, One, rowsOf, Three, Two } from './row_count';

/** Most rows that are taken so. */
export const INT_PAIR_ROWS: usize = INT_TILE_ROWS;

/**
 * out0 and out1 [rows][8] = sums · factors[row] · scales0 and scales1 [8], or without scales out (+)= sums ·
 * factors[row], for 1 to INT_PAIR_ROWS spread rows over `pairs` pairs of the panels w0 and w1; ldo in bytes. `dtype` is
 * a constant wherever this is called.
 */
// @ts-ignore: decorator
@inline
export function intPanelPair(
  dtype: i32, out0: usize, out1: usize, ldo: usize, s: usize, w0: usize, w1: usize, rows: usize, pairs: usize,
  factors: usize, scales0: usize, scales1: usize, first: bool,
): void {
  if (rows == 1) pairTile<One>(dtype, out0, out1, ldo, s, w0, w1, pairs, factors, scales0, scales1, first);
  else if (rows == 2) pairTile<Two>(dtype, out0, out1, ldo, s, w0, w1, pairs, factors, scales0, scales1, first);
  else if (rows == 3) pairTile<Three>(dtype, out0, out1, ldo, s, w0, w1, pairs, factors, scales0, scales1, first);
  else pairTile<Four>(dtype, out0, out1, ldo, s, w0, w1, pairs, factors, scales0, scales1, first);
}

// @ts-ignore: decorator
@inline
function pairTile<Rows>(
  dtype: i32, out0: usize, out1: usize, ldo: usize, s: usize, w0: usize, w1: usize, pairs: usize, factors: usize,
  scales0: usize, scales1: usize, first: bool,
): void {
  const half: usize = dtype == I8 ? 8 : 16;
  halfTile<Rows>(dtype, out0, out1, ldo, s, w0, w1, pairs, factors, scales0, scales1, first);
  if (scales0) {
    scales0 += 16;
    scales1 += 16;
  }
  halfTile<Rows>(
    dtype, out0 + 16, out1 + 16, ldo, s, w0 + half, w1 + half, pairs, factors, scales0, scales1, first,
  );
}

/** Four outputs of each panel. */
// @ts-ignore: decorator
@inline
function halfTile<Rows>(
  dtype: i32, out0: usize, out1: usize, ldo: usize, s: usize, w0: usize, w1: usize, pairs: usize, factors: usize,
  scales0: usize, scales1: usize, first: bool,
): void {
  const bytes: usize = dtype == I8 ? 16 : 32;
  const end = w0 + pairs * bytes;
  let c00 = i32x4.splat(0), c01 = i32x4.splat(0), c10 = i32x4.splat(0), c11 = i32x4.splat(0);
  let c20 = i32x4.splat(0), c21 = i32x4.splat(0), c30 = i32x4.splat(0), c31 = i32x4.splat(0);
  while (w0 < end) {
    const b0 = dtype == I8 ? v128.load8x8_s(w0) : v128.load(w0);
    const b1 = dtype == I8 ? v128.load8x8_s(w1) : v128.load(w1);
    let x = v128.load(s);
    c00 = i32x4.add(c00, i32x4.dot_i16x8_s(x, b0));
    c01 = i32x4.add(c01, i32x4.dot_i16x8_s(x, b1));
    if (rowsOf<Rows>() > 1) {
      x = v128.load(s, 16);
      c10 = i32x4.add(c10, i32x4.dot_i16x8_s(x, b0));
      c11 = i32x4.add(c11, i32x4.dot_i16x8_s(x, b1));
    }
    if (rowsOf<Rows>() > 2) {
      x = v128.load(s, 32);
      c20 = i32x4.add(c20, i32x4.dot_i16x8_s(x, b0));
      c21 = i32x4.add(c21, i32x4.dot_i16x8_s(x, b1));
    }
    if (rowsOf<Rows>() > 3) {
      x = v128.load(s, 48);
      c30 = i32x4.add(c30, i32x4.dot_i16x8_s(x, b0));
      c31 = i32x4.add(c31, i32x4.dot_i16x8_s(x, b1));
    }
    w0 += bytes;
    w1 += bytes;
    s += rowsOf<Rows>() << 4;
  }
  scaled(out0, c00, factors, scales0, first);
  scaled(out1, c01, factors, scales1, first);
  if (rowsOf<Rows>() > 1) {
    scaled(out0 + ldo, c10, factors + 4, scales0, first);
    scaled(out1 + ldo, c11, factors + 4, scales1, first);
  }
  if (rowsOf<Rows>() > 2) {
    scaled(out0 + 2 * ldo, c20, factors + 8, scales0, first);
    scaled(out1 + 2 * ldo, c21, factors + 8, scales1, first);
  }
  if (rowsOf<Rows>() > 3) {
    scaled(out0 + 3 * ldo, c30, factors + 12, scales0, first);
    scaled(out1 + 3 * ldo, c31, factors + 12, scales1, first);
  }
}
