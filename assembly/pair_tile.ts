/**
 * Two panels at a time against a few rows, as attention has them for a token: bound by reading memory, so two long
 * streams are read side by side, a quarter faster than one after the other. Four outputs of each panel first, then the
 * other four: as many sums as stay in registers on every V8, and the second half comes from the first-level cache. Each
 * output is summed in the same order as in the tiles and has the same bits.
 */
import { SUM_BLOCK } from './blocks';
import { finishRow } from './gemm_tile';
import { multiplyAdd } from './multiply_add';
import { Four, rowsOf, Three, Two } from './row_count';
import { pairScratch } from './scratch';
import { BF16, F32, UPPER_HALF } from './widen';

/** Most rows that are taken so. */
export const PAIR_ROWS: usize = 4;

/**
 * out0 and out1 [rows][8] (+)= 2 to PAIR_ROWS spread rows · K rows of the panels w0 and w1; ldc in bytes. `dtype`
 * (float32 or bfloat16) is a constant wherever this is called.
 */
// @ts-ignore: decorator
@inline
export function panelPair(
  dtype: i32, out0: usize, out1: usize, ldc: usize, s: usize, w0: usize, w1: usize, rows: usize, K: usize, first: bool,
): void {
  if (dtype == F32) pairF32(out0, out1, ldc, s, w0, w1, rows, K, first);
  else pairBf16(out0, out1, ldc, s, w0, w1, rows, K, first);
}

function pairF32(
  out0: usize, out1: usize, ldc: usize, s: usize, w0: usize, w1: usize, rows: usize, K: usize, first: bool,
): void {
  if (rows == 2) pairTile<Two>(F32, out0, out1, ldc, s, w0, w1, K, first);
  else if (rows == 3) pairTile<Three>(F32, out0, out1, ldc, s, w0, w1, K, first);
  else pairTile<Four>(F32, out0, out1, ldc, s, w0, w1, K, first);
}

function pairBf16(
  out0: usize, out1: usize, ldc: usize, s: usize, w0: usize, w1: usize, rows: usize, K: usize, first: bool,
): void {
  if (rows == 2) pairTile<Two>(BF16, out0, out1, ldc, s, w0, w1, K, first);
  else if (rows == 3) pairTile<Three>(BF16, out0, out1, ldc, s, w0, w1, K, first);
  else pairTile<Four>(BF16, out0, out1, ldc, s, w0, w1, K, first);
}

// @ts-ignore: decorator
@inline
function pairTile<Rows>(
  dtype: i32, out0: usize, out1: usize, ldc: usize, s: usize, w0: usize, w1: usize, K: usize, first: bool,
): void {
  const kBytes: usize = dtype == F32 ? 32 : 16;
  const last = w0 + K * kBytes;
  while (w0 < last) {
    const end = min(w0 + SUM_BLOCK * kBytes, last);
    halfSums<Rows>(dtype, 0, s, w0, w1, end);
    halfSums<Rows>(dtype, 1, s, w0, w1, end);
    s += (end - w0) / kBytes * rowsOf<Rows>() << 4;
    w1 += end - w0;
    w0 = end;
    let sums = pairScratch;
    let to0 = out0, to1 = out1;
    for (let r: usize = 0; r < rowsOf<Rows>(); r++, sums += 32, to0 += ldc, to1 += ldc) {
      finishRow(dtype, to0, v128.load(sums), v128.load(sums, PAIR_ROWS << 5), first, 0);
      finishRow(dtype, to1, v128.load(sums, 16), v128.load(sums, (PAIR_ROWS << 5) + 16), first, 0);
    }
    first = false;
  }
}

/**
 * One block's sums of half of the outputs of both panels to pairScratch, `[half][row][panel][4]`. The halves of float32
 * panels are outputs 0 to 3 and 4 to 7, those of bfloat16 the even and the odd ones, as in the tiles.
 */
// @ts-ignore: decorator
@inline
function halfSums<Rows>(dtype: i32, half: usize, s: usize, w0: usize, w1: usize, end: usize): void {
  const kBytes: usize = dtype == F32 ? 32 : 16;
  const mask = v128.load(UPPER_HALF);
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c10 = f32x4.splat(0), c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c30 = f32x4.splat(0), c31 = f32x4.splat(0);
  if (dtype == F32 && half == 1) {
    w0 += 16;
    w1 += 16;
  }
  while (w0 < end) {
    const b0 = fourWeights(dtype, half, w0, mask);
    const b1 = fourWeights(dtype, half, w1, mask);
    let x = v128.load(s);
    c00 = multiplyAdd(c00, x, b0);
    c01 = multiplyAdd(c01, x, b1);
    x = v128.load(s, 16);
    c10 = multiplyAdd(c10, x, b0);
    c11 = multiplyAdd(c11, x, b1);
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
    w0 += kBytes;
    w1 += kBytes;
    s += rowsOf<Rows>() << 4;
  }
  const sums = pairScratch + half * (PAIR_ROWS << 5);
  v128.store(sums, c00);
  v128.store(sums, c01, 16);
  v128.store(sums, c10, 32);
  v128.store(sums, c11, 48);
  if (rowsOf<Rows>() > 2) {
    v128.store(sums, c20, 64);
    v128.store(sums, c21, 80);
  }
  if (rowsOf<Rows>() > 3) {
    v128.store(sums, c30, 96);
    v128.store(sums, c31, 112);
  }
}

// @ts-ignore: decorator
@inline
function fourWeights(dtype: i32, half: usize, w: usize, mask: v128): v128 {
  const words = v128.load(w);
  if (dtype == F32) return words;
  return half ? v128.and(words, mask) : i32x4.shl(words, 16);
}
