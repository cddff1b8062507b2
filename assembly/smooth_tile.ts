/**
 * The tile of attention over smoothed pages: rows of bytes of 7 bits, or of two such bytes, against panels of int8 with
 * four k side by side (the same product as of weights, see quant_relaxed.ts). Sums are exact in int32, over at most 128
 * k: of 7 bits |Σ| <= 128·128·127 < 2^21, of 14 bits < 2^28; what a sum begins with adds no more than that.
 */
import { I8 } from './quant';
import { ONES, step } from './quant_relaxed';
import { Five, Four, One, rowsOf, Six, Three, Two } from './row_count';

/** Rows of the largest tile: twelve sums, two vectors of a panel and one of a row are all registers. */
export const SMOOTH_ROWS: usize = 6;
/** Rows of the largest tile in the form of two instructions, which needs two registers more. */
const PAIR_ROWS: usize = 3;
/** A row: up to 128 bytes, or the higher ones of two, then as many that count a 128th of them. */
export const SMOOTH_ROW: usize = 256;
export const SMOOTH_LOW: usize = 128;
const LOW_BITS: i32 = 7;

/** Eight sums that begin with nothing. */
export const NOTHING: usize = memory.data<i32>([0, 0, 0, 0, 0, 0, 0, 0], 16);

/**
 * `rows` (1..6) rows from s on against `panels` panels, `apart` bytes apart, `bytes` of each: out = sum ·
 * factors[row] · scales[output], added to out unless `first`. A sum begins with starts[output], which moves on with
 * the panels by `startStep` bytes; `fine` rows have two bytes, of which the sum counts the lower one's units. ldo in
 * bytes.
 */
// @ts-ignore: decorator
@inline
export function smoothTiles(
  single: bool, rows: usize, fine: bool, out: usize, ldo: usize, s: usize, w: usize, bytes: usize, panels: usize,
  apart: usize, starts: usize, startStep: usize, factors: usize, scales: usize, first: bool,
): void {
  if (single) {
    if (rows < SMOOTH_ROWS) {
      singles(rows, fine, out, ldo, s, w, bytes, panels, apart, starts, startStep, factors, scales, first);
    } else {
      single6(fine, out, ldo, s, w, bytes, panels, apart, starts, startStep, factors, scales, first);
    }
    return;
  }
  for (; rows > PAIR_ROWS; rows -= PAIR_ROWS) {
    pairs(PAIR_ROWS, fine, out, ldo, s, w, bytes, panels, apart, starts, startStep, factors, scales, first);
    out += PAIR_ROWS * ldo;
    s += PAIR_ROWS * SMOOTH_ROW;
    factors += PAIR_ROWS << 2;
  }
  pairs(rows, fine, out, ldo, s, w, bytes, panels, apart, starts, startStep, factors, scales, first);
}

function single6(
  fine: bool, out: usize, ldo: usize, s: usize, w: usize, bytes: usize, panels: usize, apart: usize, starts: usize,
  startStep: usize, factors: usize, scales: usize, first: bool,
): void {
  tiles<Six>(true, fine, out, ldo, s, w, bytes, panels, apart, starts, startStep, factors, scales, first);
}

function singles(
  rows: usize, fine: bool, out: usize, ldo: usize, s: usize, w: usize, bytes: usize, panels: usize, apart: usize,
  starts: usize, startStep: usize, factors: usize, scales: usize, first: bool,
): void {
  if (rows == 1) {
    tiles<One>(true, fine, out, ldo, s, w, bytes, panels, apart, starts, startStep, factors, scales, first);
  } else if (rows == 2) {
    tiles<Two>(true, fine, out, ldo, s, w, bytes, panels, apart, starts, startStep, factors, scales, first);
  } else if (rows == 3) {
    tiles<Three>(true, fine, out, ldo, s, w, bytes, panels, apart, starts, startStep, factors, scales, first);
  } else if (rows == 4) {
    tiles<Four>(true, fine, out, ldo, s, w, bytes, panels, apart, starts, startStep, factors, scales, first);
  } else if (rows == 5) {
    tiles<Five>(true, fine, out, ldo, s, w, bytes, panels, apart, starts, startStep, factors, scales, first);
  }
}

function pairs(
  rows: usize, fine: bool, out: usize, ldo: usize, s: usize, w: usize, bytes: usize, panels: usize, apart: usize,
  starts: usize, startStep: usize, factors: usize, scales: usize, first: bool,
): void {
  if (rows == 3) {
    tiles<Three>(false, fine, out, ldo, s, w, bytes, panels, apart, starts, startStep, factors, scales, first);
  } else if (rows == 2) {
    tiles<Two>(false, fine, out, ldo, s, w, bytes, panels, apart, starts, startStep, factors, scales, first);
  } else if (rows == 1) {
    tiles<One>(false, fine, out, ldo, s, w, bytes, panels, apart, starts, startStep, factors, scales, first);
  }
}

// @ts-ignore: decorator
@inline
function tiles<Rows>(
  single: bool, fine: bool, out: usize, ldo: usize, s: usize, w: usize, bytes: usize, panels: usize, apart: usize,
  starts: usize, startStep: usize, factors: usize, scales: usize, first: bool,
): void {
  const ones = v128.load(ONES);
  for (; panels; panels--, out += 32, w += apart, starts += startStep, scales += 32) {
    let c00 = v128.load(starts), c01 = v128.load(starts, 16);
    let c10 = c00, c11 = c01, c20 = c00, c21 = c01, c30 = c00, c31 = c01, c40 = c00, c41 = c01, c50 = c00, c51 = c01;
    const stop = w + bytes;
    let t = s;
    for (let rest = fine; ; rest = false) {
      for (let p = w; p < stop; p += 32, t += 4) {
        const b0 = v128.load(p);
        const b1 = v128.load(p, 16);
        let x = v128.load32_splat(t);
        c00 = step(I8, single, c00, b0, x, ones);
        c01 = step(I8, single, c01, b1, x, ones);
        if (rowsOf<Rows>() > 1) {
          x = v128.load32_splat(t, SMOOTH_ROW);
          c10 = step(I8, single, c10, b0, x, ones);
          c11 = step(I8, single, c11, b1, x, ones);
        }
        if (rowsOf<Rows>() > 2) {
          x = v128.load32_splat(t, 2 * SMOOTH_ROW);
          c20 = step(I8, single, c20, b0, x, ones);
          c21 = step(I8, single, c21, b1, x, ones);
        }
        if (rowsOf<Rows>() > 3) {
          x = v128.load32_splat(t, 3 * SMOOTH_ROW);
          c30 = step(I8, single, c30, b0, x, ones);
          c31 = step(I8, single, c31, b1, x, ones);
        }
        if (rowsOf<Rows>() > 4) {
          x = v128.load32_splat(t, 4 * SMOOTH_ROW);
          c40 = step(I8, single, c40, b0, x, ones);
          c41 = step(I8, single, c41, b1, x, ones);
        }
        if (rowsOf<Rows>() > 5) {
          x = v128.load32_splat(t, 5 * SMOOTH_ROW);
          c50 = step(I8, single, c50, b0, x, ones);
          c51 = step(I8, single, c51, b1, x, ones);
        }
      }
      if (!rest) break;
      c00 = i32x4.shl(c00, LOW_BITS);
      c01 = i32x4.shl(c01, LOW_BITS);
      if (rowsOf<Rows>() > 1) {
        c10 = i32x4.shl(c10, LOW_BITS);
        c11 = i32x4.shl(c11, LOW_BITS);
      }
      if (rowsOf<Rows>() > 2) {
        c20 = i32x4.shl(c20, LOW_BITS);
        c21 = i32x4.shl(c21, LOW_BITS);
      }
      if (rowsOf<Rows>() > 3) {
        c30 = i32x4.shl(c30, LOW_BITS);
        c31 = i32x4.shl(c31, LOW_BITS);
      }
      if (rowsOf<Rows>() > 4) {
        c40 = i32x4.shl(c40, LOW_BITS);
        c41 = i32x4.shl(c41, LOW_BITS);
      }
      if (rowsOf<Rows>() > 5) {
        c50 = i32x4.shl(c50, LOW_BITS);
        c51 = i32x4.shl(c51, LOW_BITS);
      }
      t = s + SMOOTH_LOW;
    }
    const scale0 = v128.load(scales), scale1 = v128.load(scales, 16);
    finish(out, c00, c01, factors, scale0, scale1, first);
    if (rowsOf<Rows>() > 1) finish(out + ldo, c10, c11, factors + 4, scale0, scale1, first);
    if (rowsOf<Rows>() > 2) finish(out + 2 * ldo, c20, c21, factors + 8, scale0, scale1, first);
    if (rowsOf<Rows>() > 3) finish(out + 3 * ldo, c30, c31, factors + 12, scale0, scale1, first);
    if (rowsOf<Rows>() > 4) finish(out + 4 * ldo, c40, c41, factors + 16, scale0, scale1, first);
    if (rowsOf<Rows>() > 5) finish(out + 5 * ldo, c50, c51, factors + 20, scale0, scale1, first);
  }
}

/** Eight sums to, or added to, eight outputs. */
// @ts-ignore: decorator
@inline
function finish(out: usize, c0: v128, c1: v128, factor: usize, scale0: v128, scale1: v128, first: bool): void {
  const f = v128.load_splat<f32>(factor);
  c0 = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(c0), f), scale0);
  c1 = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(c1), f), scale1);
  if (!first) {
    c0 = f32x4.add(v128.load(out), c0);
    c1 = f32x4.add(v128.load(out, 16), c1);
  }
  v128.store(out, c0);
  v128.store(out, c1, 16);
}
