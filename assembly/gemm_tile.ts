/**
 * The tiles that every matrix product is made of. A tile adds some blocks of SUM_BLOCK k to `out`: in each one running
 * sum per output in order of k, then total = total + sum; `first` says that there is no total yet. (A running sum that
 * begins at +0 is never −0, so 0 + sum and sum are the same bits.) `bias` is not 0 in the last block only and added
 * last. All tiles do the same operations on each output, so they give the same bits.
 */
import { SUM_BLOCK } from './blocks';
import { biasScratch, tileScratch } from './scratch';

/**
 * 4 rows × 8 columns; ldc in bytes. The rows of `a` are spread out beforehand, s is `[K][4 rows][4 equal lanes]`: loads
 * with constant offsets from two pointers that move are 29 % faster than splat loads through five (node 20).
 */
export function tile4x8(out: usize, ldc: usize, s: usize, w: usize, K: usize, first: bool, bias: usize): void {
  const last = w + (K << 5);
  while (w < last) {
    const end = min(w + (SUM_BLOCK << 5), last);
    let c00 = f32x4.splat(0), c01 = f32x4.splat(0);
    let c10 = f32x4.splat(0), c11 = f32x4.splat(0);
    let c20 = f32x4.splat(0), c21 = f32x4.splat(0);
    let c30 = f32x4.splat(0), c31 = f32x4.splat(0);
    // One k per turn: two make V8 11 spill (from 49 to 31 GFLOP/s).
    while (w < end) {
      const b0 = v128.load(w);
      const b1 = v128.load(w, 16);
      let x = v128.load(s);
      c00 = f32x4.add(c00, f32x4.mul(x, b0));
      c01 = f32x4.add(c01, f32x4.mul(x, b1));
      x = v128.load(s, 16);
      c10 = f32x4.add(c10, f32x4.mul(x, b0));
      c11 = f32x4.add(c11, f32x4.mul(x, b1));
      x = v128.load(s, 32);
      c20 = f32x4.add(c20, f32x4.mul(x, b0));
      c21 = f32x4.add(c21, f32x4.mul(x, b1));
      x = v128.load(s, 48);
      c30 = f32x4.add(c30, f32x4.mul(x, b0));
      c31 = f32x4.add(c31, f32x4.mul(x, b1));
      w += 32;
      s += 64;
    }
    const rest: usize = w < last ? 0 : bias;
    finish8(out, c00, c01, first, rest);
    finish8(out + ldc, c10, c11, first, rest);
    finish8(out + 2 * ldc, c20, c21, first, rest);
    finish8(out + 3 * ldc, c30, c31, first, rest);
    first = false;
  }
}

/** Rows of `a` (lda in bytes) to tiles of 4, each `[K][4 rows][4 equal lanes]`; rows that are missing become zeros. */
export function spreadRows(s: usize, a: usize, lda: usize, M: usize, K: usize): void {
  const zero = f32x4.splat(0);
  for (let row: usize = 0; row < M; row += 4) {
    for (let r: usize = 0; r < 4; r++) {
      let to = s + (r << 4);
      let from = a + (row + r) * lda;
      const end = to + (K << 6);
      if (row + r < M) {
        const whole = to + ((K & ~3) << 6);
        for (; to < whole; to += 256, from += 16) {
          const x = v128.load(from);
          v128.store(to, v128.shuffle<i32>(x, x, 0, 0, 0, 0));
          v128.store(to, v128.shuffle<i32>(x, x, 1, 1, 1, 1), 64);
          v128.store(to, v128.shuffle<i32>(x, x, 2, 2, 2, 2), 128);
          v128.store(to, v128.shuffle<i32>(x, x, 3, 3, 3, 3), 192);
        }
        for (; to < end; to += 64, from += 4) v128.store(to, v128.load_splat<f32>(from));
      } else {
        for (; to < end; to += 64) v128.store(to, zero);
      }
    }
    s += K << 6;
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

/** M spread rows against one K-block of one panel of float32 weights, of which `columns` outputs (1..8) are written. */
export function panelBlock(
  out: usize, ldc: usize, s: usize, w: usize, M: usize, K: usize, first: bool, bias: usize, columns: usize,
): void {
  let row: usize = 0;
  if (columns == 8) {
    for (; row + 4 <= M; row += 4, s += K << 6, out += 4 * ldc) tile4x8(out, ldc, s, w, K, first, bias);
  } else if (bias) {
    bias = copyBias(bias, columns);
  }
  // What a whole tile would write beyond goes through scratch.
  for (; row < M; row += 4, s += K << 6, out += 4 * ldc) {
    const rows = min<usize>(4, M - row);
    if (!first) copyRows(tileScratch, 32, out, ldc, rows, columns);
    tile4x8(tileScratch, 32, s, w, K, first, bias);
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
