/**
 * The tiles that every matrix product is made of. A tile adds one block of at most 128 k to `out`: one running sum per
 * output in order of k, then total = total + sum; `first` says that there is no total yet. (A running sum that begins
 * at +0 is never −0, so 0 + sum and sum are the same bits.) `bias` is not 0 in the last block only and added last.
 * All tiles do the same operations on each output, so they give the same bits.
 */
import { biasScratch, tileScratch } from './scratch';

/** Rows of k that are summed before the sum goes to the total. */
export const K_BLOCK: usize = 128;

/** The rows of a tile for float32 weights: 4 rows × 8 columns; lda and ldc in bytes. */
export function tile4x8(
  out: usize, ldc: usize, a: usize, lda: usize, w: usize, K: usize, first: bool, bias: usize,
): void {
  let a0 = a;
  let a1 = a0 + lda;
  let a2 = a1 + lda;
  let a3 = a2 + lda;
  const end = a0 + (K << 2);
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0);
  let c10 = f32x4.splat(0), c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0);
  let c30 = f32x4.splat(0), c31 = f32x4.splat(0);
  // Unrolling by hand makes V8 11 spill; V8 unrolls this itself.
  while (a0 < end) {
    const b0 = v128.load(w);
    const b1 = v128.load(w, 16);
    let x = v128.load_splat<f32>(a0);
    c00 = f32x4.add(c00, f32x4.mul(x, b0));
    c01 = f32x4.add(c01, f32x4.mul(x, b1));
    x = v128.load_splat<f32>(a1);
    c10 = f32x4.add(c10, f32x4.mul(x, b0));
    c11 = f32x4.add(c11, f32x4.mul(x, b1));
    x = v128.load_splat<f32>(a2);
    c20 = f32x4.add(c20, f32x4.mul(x, b0));
    c21 = f32x4.add(c21, f32x4.mul(x, b1));
    x = v128.load_splat<f32>(a3);
    c30 = f32x4.add(c30, f32x4.mul(x, b0));
    c31 = f32x4.add(c31, f32x4.mul(x, b1));
    a0 += 4;
    a1 += 4;
    a2 += 4;
    a3 += 4;
    w += 32;
  }
  finish8(out, c00, c01, first, bias);
  finish8(out + ldc, c10, c11, first, bias);
  finish8(out + 2 * ldc, c20, c21, first, bias);
  finish8(out + 3 * ldc, c30, c31, first, bias);
}

/** One row. */
export function tile1x8(out: usize, a: usize, w: usize, K: usize, first: bool, bias: usize): void {
  const end = a + (K << 2);
  let c0 = f32x4.splat(0), c1 = f32x4.splat(0);
  while (a < end) {
    const x = v128.load_splat<f32>(a);
    c0 = f32x4.add(c0, f32x4.mul(x, v128.load(w)));
    c1 = f32x4.add(c1, f32x4.mul(x, v128.load(w, 16)));
    a += 4;
    w += 32;
  }
  finish8(out, c0, c1, first, bias);
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

/** M rows against one K-block of one panel of float32 weights, of which `columns` outputs (1..8) are written. */
export function panelBlock(
  out: usize, ldc: usize, a: usize, lda: usize, w: usize, M: usize, K: usize,
  first: bool, bias: usize, columns: usize,
): void {
  if (columns < 8 && bias) bias = copyBias(bias, columns);
  const whole = columns == 8;
  let row: usize = 0;
  for (; row + 4 <= M; row += 4) {
    const to = out + row * ldc;
    if (whole) {
      tile4x8(to, ldc, a + row * lda, lda, w, K, first, bias);
    } else {
      if (!first) copyRows(tileScratch, 32, to, ldc, 4, columns);
      tile4x8(tileScratch, 32, a + row * lda, lda, w, K, first, bias);
      copyRows(to, ldc, tileScratch, 32, 4, columns);
    }
  }
  for (; row < M; row++) {
    const to = out + row * ldc;
    if (whole) {
      tile1x8(to, a + row * lda, w, K, first, bias);
    } else {
      if (!first) copyRows(tileScratch, 32, to, ldc, 1, columns);
      tile1x8(tileScratch, a + row * lda, w, K, first, bias);
      copyRows(to, ldc, tileScratch, 32, 1, columns);
    }
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
