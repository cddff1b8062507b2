/**
 * The tiles that every matrix product is made of. A tile adds some blocks of SUM_BLOCK k to `out`: in each one running
 * sum per output in order of k, then total = total + sum; `first` says that there is no total yet. (A running sum that
 * begins at +0 is never −0, so 0 + sum and sum are the same bits.) `bias` is not 0 in the last block only and added
 * last. All tiles do the same operations on each output, so they give the same bits.
 */
import { SUM_BLOCK, TILE_ROWS } from './blocks';
import { multiplyAdd } from './multiply_add';
import { Five, Four, One, rowsOf, Six, Three, Two } from './row_count';
import { biasScratch, tileScratch } from './scratch';
import { BF16, F32, UPPER_HALF } from './widen';

/**
 * Rows × 8 columns; ldc in bytes. The rows of `a` are spread out beforehand (spread.ts), s is
 * `[K][rows][4 equal lanes]`: loads with constant offsets from two pointers that move are 29 % faster than splat loads
 * through five (node 20). The weights' `dtype` is a constant wherever this is called, so that one tile remains.
 */
// @ts-ignore: decorator
@inline
function tile<Rows>(
  dtype: i32, out: usize, ldc: usize, s: usize, w: usize, K: usize, first: bool, bias: usize,
): void {
  const kBytes: usize = dtype == F32 ? 32 : 16;
  const mask = v128.load(UPPER_HALF);
  const last = w + K * kBytes;
  while (w < last) {
    const end = min(w + SUM_BLOCK * kBytes, last);
    let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c10 = f32x4.splat(0), c11 = f32x4.splat(0);
    let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c30 = f32x4.splat(0), c31 = f32x4.splat(0);
    let c40 = f32x4.splat(0), c41 = f32x4.splat(0), c50 = f32x4.splat(0), c51 = f32x4.splat(0);
    // One k per turn: two make V8 11 spill (from 49 to 31 GFLOP/s).
    while (w < end) {
      const b0 = dtype == F32 ? v128.load(w) : i32x4.shl(v128.load(w), 16);
      const b1 = dtype == F32 ? v128.load(w, 16) : v128.and(v128.load(w), mask);
      let x = v128.load(s);
      c00 = multiplyAdd(c00, x, b0);
      c01 = multiplyAdd(c01, x, b1);
      if (rowsOf<Rows>() > 1) {
        x = v128.load(s, 16);
        c10 = multiplyAdd(c10, x, b0);
        c11 = multiplyAdd(c11, x, b1);
      }
      if (rowsOf<Rows>() > 2) {
        x = v128.load(s, 32);
        c20 = multiplyAdd(c20, x, b0);
        c21 = multiplyAdd(c21, x, b1);
      }
      if (rowsOf<Rows>() > 3) {
        x = v128.load(s, 48);
        c30 = multiplyAdd(c30, x, b0);
        c31 = multiplyAdd(c31, x, b1);
      }
      if (rowsOf<Rows>() > 4) {
        x = v128.load(s, 64);
        c40 = multiplyAdd(c40, x, b0);
        c41 = multiplyAdd(c41, x, b1);
      }
      if (rowsOf<Rows>() > 5) {
        x = v128.load(s, 80);
        c50 = multiplyAdd(c50, x, b0);
        c51 = multiplyAdd(c51, x, b1);
      }
      w += kBytes;
      s += rowsOf<Rows>() << 4;
    }
    const rest: usize = w < last ? 0 : bias;
    finishRow(dtype, out, c00, c01, first, rest);
    if (rowsOf<Rows>() > 1) finishRow(dtype, out + ldc, c10, c11, first, rest);
    if (rowsOf<Rows>() > 2) finishRow(dtype, out + 2 * ldc, c20, c21, first, rest);
    if (rowsOf<Rows>() > 3) finishRow(dtype, out + 3 * ldc, c30, c31, first, rest);
    if (rowsOf<Rows>() > 4) finishRow(dtype, out + 4 * ldc, c40, c41, first, rest);
    if (rowsOf<Rows>() > 5) finishRow(dtype, out + 5 * ldc, c50, c51, first, rest);
    first = false;
  }
}

/** Of bfloat16 weights c0 has outputs 0, 2, 4, 6 and c1 the others: that takes fewer instructions than widening. */
// @ts-ignore: decorator
@inline
function finishRow(dtype: i32, out: usize, c0: v128, c1: v128, first: bool, bias: usize): void {
  if (dtype == F32) return finish8(out, c0, c1, first, bias);
  finish8(out, v128.shuffle<i32>(c0, c1, 0, 4, 1, 5), v128.shuffle<i32>(c0, c1, 2, 6, 3, 7), first, bias);
}

/** The largest tile, of float32 weights. */
function wholeTile(out: usize, ldc: usize, s: usize, w: usize, K: usize, first: bool, bias: usize): void {
  if (TILE_ROWS == 6) tile<Six>(F32, out, ldc, s, w, K, first, bias);
  else tile<Four>(F32, out, ldc, s, w, K, first, bias);
}

/** A tile of 1 to TILE_ROWS rows of float32 weights. */
function tileF32(rows: usize, out: usize, ldc: usize, s: usize, w: usize, K: usize, first: bool, bias: usize): void {
  if (rows == TILE_ROWS) return wholeTile(out, ldc, s, w, K, first, bias);
  if (rows == 1) return tile<One>(F32, out, ldc, s, w, K, first, bias);
  if (rows == 2) return tile<Two>(F32, out, ldc, s, w, K, first, bias);
  if (rows == 3) return tile<Three>(F32, out, ldc, s, w, K, first, bias);
  if (TILE_ROWS > 4) {
    if (rows == 4) return tile<Four>(F32, out, ldc, s, w, K, first, bias);
    if (rows == 5) return tile<Five>(F32, out, ldc, s, w, K, first, bias);
  }
}

/** A tile of 1 to TILE_ROWS rows of bfloat16 weights. */
function tileBf16(rows: usize, out: usize, ldc: usize, s: usize, w: usize, K: usize, first: bool, bias: usize): void {
  if (rows == 1) return tile<One>(BF16, out, ldc, s, w, K, first, bias);
  if (rows == 2) return tile<Two>(BF16, out, ldc, s, w, K, first, bias);
  if (rows == 3) return tile<Three>(BF16, out, ldc, s, w, K, first, bias);
  if (rows == 4) return tile<Four>(BF16, out, ldc, s, w, K, first, bias);
  if (TILE_ROWS > 4) {
    if (rows == 5) return tile<Five>(BF16, out, ldc, s, w, K, first, bias);
    if (rows == 6) return tile<Six>(BF16, out, ldc, s, w, K, first, bias);
  }
}

/** Adds a block's sums of one row to its totals, and the bias where there is one. */
// @ts-ignore: decorator
@inline
export function finish8(out: usize, c0: v128, c1: v128, first: bool, bias: usize): void {
  if (!first) {
    c0 = f32x4.add(v128.load(out), c0);
    c1 = f32x4.add(v128.load(out, 16), c1);
  }
  if (bias) {
    c0 = f32x4.add(c0, v128.load(bias));
    c1 = f32x4.add(c1, v128.load(bias, 16));
  }
  v128.store(out, c0);
  v128.store(out, c1, 16);
}

/**
 * M spread rows against one K-block of one panel, of which `columns` outputs (1..8) are written. `dtype` (float32, or
 * bfloat16 for panels that few tiles pass by) is a constant wherever this is called.
 */
// @ts-ignore: decorator
@inline
export function panelBlock(
  dtype: i32, out: usize, ldc: usize, s: usize, w: usize, M: usize, K: usize, first: bool, bias: usize, columns: usize,
): void {
  if (columns < 8) return narrowBlock(dtype, out, ldc, s, w, M, K, first, bias, columns);
  const tileBytes = K * TILE_ROWS << 4;
  if (dtype == F32) {
    for (; M >= TILE_ROWS; M -= TILE_ROWS, s += tileBytes, out += TILE_ROWS * ldc) {
      wholeTile(out, ldc, s, w, K, first, bias);
    }
    if (M) tileF32(M, out, ldc, s, w, K, first, bias);
  } else {
    for (; M > TILE_ROWS; M -= TILE_ROWS, s += tileBytes, out += TILE_ROWS * ldc) {
      tileBf16(TILE_ROWS, out, ldc, s, w, K, first, bias);
    }
    tileBf16(M, out, ldc, s, w, K, first, bias);
  }
}

/** What a whole tile would write beyond the last column goes through scratch. */
function narrowBlock(
  dtype: i32, out: usize, ldc: usize, s: usize, w: usize, M: usize, K: usize, first: bool, bias: usize, columns: usize,
): void {
  if (bias) bias = copyBias(bias, columns);
  for (let row: usize = 0; row < M; row += TILE_ROWS, s += K * TILE_ROWS << 4, out += TILE_ROWS * ldc) {
    const rows = min(TILE_ROWS, M - row);
    if (!first) copyRows(tileScratch, 32, out, ldc, rows, columns);
    if (dtype == F32) tileF32(rows, tileScratch, 32, s, w, K, first, bias);
    else tileBf16(rows, tileScratch, 32, s, w, K, first, bias);
    copyRows(out, ldc, tileScratch, 32, rows, columns);
  }
}

/** The biases of a last, narrow panel in a place where 8 can be read. */
export function copyBias(bias: usize, columns: usize): usize {
  copyRows(biasScratch, 32, bias, 32, 1, columns);
  return biasScratch;
}

export function copyRows(out: usize, ldo: usize, from: usize, ld: usize, rows: usize, columns: usize): void {
  for (let r: usize = 0; r < rows; r++) {
    for (let c: usize = 0; c < columns; c++) {
      store<f32>(out + r * ldo + (c << 2), load<f32>(from + r * ld + (c << 2)));
    }
  }
}

/** What a product with no terms is: the bias or zero, or out's present values. */
export function emptyProduct(out: usize, bias: usize, M: usize, N: usize, ldc: usize, accumulate: bool): void {
  if (accumulate) return;
  for (let m: usize = 0; m < M; m++) {
    for (let n: usize = 0; n < N; n++) {
      store<f32>(out + ((m * ldc + n) << 2), bias ? load<f32>(bias + (n << 2)) : 0);
    }
  }
}
