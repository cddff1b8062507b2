/**
 * The tile of attention over integer pages: rows of int16 pairs against panels of int8 or int16 pairs, summed exactly
 * in int32 (attention_int.ts says why nothing overflows), then scaled.
 */
import { I8 } from './pages_int';

/** Rows of the largest tile. */
export const INT_TILE_ROWS: usize = 4;

/**
 * `rows` × 8 outputs over `pairs` pairs: out = sum · factors[row] · scales[column], or without `scales` out (+)= sum ·
 * factors[row]. s is `[pairs][rows][4 equal pairs]`; ldo in bytes. `rows` and `dtype` are constants.
 */
// @ts-ignore: decorator
@inline
function tile(
  rows: usize, dtype: i32, out: usize, ldo: usize, s: usize, w: usize, pairs: usize, factors: usize, scales: usize,
  first: bool,
): void {
  let c00 = i32x4.splat(0), c01 = i32x4.splat(0), c10 = i32x4.splat(0), c11 = i32x4.splat(0);
  let c20 = i32x4.splat(0), c21 = i32x4.splat(0), c30 = i32x4.splat(0), c31 = i32x4.splat(0);
  const bytes: usize = dtype == I8 ? 16 : 32;
  const end = w + pairs * bytes;
  while (w < end) {
    const b0 = dtype == I8 ? v128.load8x8_s(w) : v128.load(w);
    const b1 = dtype == I8 ? v128.load8x8_s(w, 8) : v128.load(w, 16);
    let x = v128.load(s);
    c00 = i32x4.add(c00, i32x4.dot_i16x8_s(x, b0));
    c01 = i32x4.add(c01, i32x4.dot_i16x8_s(x, b1));
    if (rows > 1) {
      x = v128.load(s, 16);
      c10 = i32x4.add(c10, i32x4.dot_i16x8_s(x, b0));
      c11 = i32x4.add(c11, i32x4.dot_i16x8_s(x, b1));
    }
    if (rows > 2) {
      x = v128.load(s, 32);
      c20 = i32x4.add(c20, i32x4.dot_i16x8_s(x, b0));
      c21 = i32x4.add(c21, i32x4.dot_i16x8_s(x, b1));
    }
    if (rows > 3) {
      x = v128.load(s, 48);
      c30 = i32x4.add(c30, i32x4.dot_i16x8_s(x, b0));
      c31 = i32x4.add(c31, i32x4.dot_i16x8_s(x, b1));
    }
    w += bytes;
    s += rows << 4;
  }
  finish(out, c00, c01, factors, scales, first);
  if (rows > 1) finish(out + ldo, c10, c11, factors + 4, scales, first);
  if (rows > 2) finish(out + 2 * ldo, c20, c21, factors + 8, scales, first);
  if (rows > 3) finish(out + 3 * ldo, c30, c31, factors + 12, scales, first);
}

// @ts-ignore: decorator
@inline
function finish(out: usize, c0: v128, c1: v128, factor: usize, scales: usize, first: bool): void {
  scaled(out, c0, factor, scales, first);
  scaled(out + 16, c1, factor, scales ? scales + 16 : 0, first);
}

/** Four sums to four outputs. */
// @ts-ignore: decorator
@inline
export function scaled(out: usize, sums: v128, factor: usize, scales: usize, first: bool): void {
  sums = f32x4.mul(f32x4.convert_i32x4_s(sums), v128.load_splat<f32>(factor));
  if (scales) sums = f32x4.mul(sums, v128.load(scales));
  else if (!first) sums = f32x4.add(v128.load(out), sums);
  v128.store(out, sums);
}

/** M spread rows, M >= 1, against one panel. `dtype` is a constant wherever this is called. */
// @ts-ignore: decorator
@inline
export function intPanel(
  dtype: i32, out: usize, ldo: usize, s: usize, w: usize, M: usize, pairs: usize, factors: usize, scales: usize,
  first: bool,
): void {
  while (M >= 4) {
    tile(4, dtype, out, ldo, s, w, pairs, factors, scales, first);
    M -= 4;
    s += pairs << 6;
    out += ldo << 2;
    factors += 16;
  }
  if (M == 1) tile(1, dtype, out, ldo, s, w, pairs, factors, scales, first);
  else if (M == 2) tile(2, dtype, out, ldo, s, w, pairs, factors, scales, first);
  else if (M == 3) tile(3, dtype, out, ldo, s, w, pairs, factors, scales, first);
}
