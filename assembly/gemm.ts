/**
 * The loops round the tiles, for one weight type W (f32, or u16 widened as the type argument's class says).
 * Rows are taken in blocks, so that a block of `a` stays in the second-level cache while all panels pass by it.
 */
import { K_BLOCK, copyBias, copyRows, emptyProduct, finish8, panelBlock } from './gemm_tile';
import { panelScratch, tileScratch } from './scratch';
import { bf16x4, f16x4 } from './widen';

/** How a panel's elements are stored. */
export const F32: i32 = 0;
export const BF16: i32 = 1;
export const F16: i32 = 2;

/** Rows in a block: 120 × K float32 values. A multiple of the tile's rows. */
const ROW_BLOCK: usize = 120;
/** Fewer rows than this read the panels as a stream, without widening them into scratch. */
const STREAM_ROWS: usize = 4;

// @ts-ignore: decorator
@inline
export function gemm(
  dtype: i32, out: usize, a: usize, w: usize, bias: usize, M: usize, N: usize, K: usize,
  panelK: usize, lda: usize, ldc: usize, accumulate: bool,
): void {
  if (K == 0) return emptyProduct(out, bias, M, N, ldc, accumulate);
  lda <<= 2;
  ldc <<= 2;
  const kBytes: usize = dtype == F32 ? 32 : 16;
  const panelBytes = panelK * kBytes;

  if (M < STREAM_ROWS) {
    for (let row: usize = 0; row < M; row++) {
      gemv(dtype, out + row * ldc, a + row * lda, w, bias, N, K, panelBytes, accumulate);
    }
    return;
  }
  for (let m: usize = 0; m < M; m += ROW_BLOCK) {
    const rows = min(ROW_BLOCK, M - m);
    for (let n: usize = 0; n < N; n += 8) {
      const panel = w + (n >> 3) * panelBytes;
      const columns = min<usize>(8, N - n);
      for (let k: usize = 0; k < K; k += K_BLOCK) {
        const kCount = min(K_BLOCK, K - k);
        const last = k + kCount == K;
        let block = panel + k * kBytes;
        if (dtype != F32) {
          widenBlock(dtype, block, kCount);
          block = panelScratch;
        }
        panelBlock(
          out + m * ldc + (n << 2), ldc, a + m * lda + (k << 2), lda, block, rows, kCount,
          k == 0 && !accumulate, last && bias ? bias + (n << 2) : 0, columns,
        );
      }
    }
  }
}

/** One row against all panels, two panels at a time to have four additions in flight. */
// @ts-ignore: decorator
@inline
function gemv(
  dtype: i32, out: usize, a: usize, w: usize, bias: usize, N: usize, K: usize, panelBytes: usize, accumulate: bool,
): void {
  let n: usize = 0;
  for (; n + 16 <= N; n += 16) {
    gemv16(dtype, out + (n << 2), a, w, w + panelBytes, bias ? bias + (n << 2) : 0, K, accumulate);
    w += 2 * panelBytes;
  }
  for (; n + 8 <= N; n += 8) {
    gemv8(dtype, out + (n << 2), a, w, bias ? bias + (n << 2) : 0, K, accumulate);
    w += panelBytes;
  }
  if (n < N) {
    const columns = N - n;
    if (accumulate) copyRows(tileScratch, 32, out + (n << 2), 32, 1, columns);
    gemv8(dtype, tileScratch, a, w, bias ? copyBias(bias + (n << 2), columns) : 0, K, accumulate);
    copyRows(out + (n << 2), 32, tileScratch, 32, 1, columns);
  }
}

// @ts-ignore: decorator
@inline
function gemv16(
  dtype: i32, out: usize, a: usize, w0: usize, w1: usize, bias: usize, K: usize, accumulate: bool,
): void {
  const kBytes: usize = dtype == F32 ? 32 : 16;
  for (let k: usize = 0; k < K; k += K_BLOCK) {
    const end = a + (min(K_BLOCK, K - k) << 2);
    let c0 = f32x4.splat(0), c1 = f32x4.splat(0), c2 = f32x4.splat(0), c3 = f32x4.splat(0);
    while (a < end) {
      const x = v128.load_splat<f32>(a);
      c0 = f32x4.add(c0, f32x4.mul(x, weights4(dtype, w0, 0)));
      c1 = f32x4.add(c1, f32x4.mul(x, weights4(dtype, w0, 1)));
      c2 = f32x4.add(c2, f32x4.mul(x, weights4(dtype, w1, 0)));
      c3 = f32x4.add(c3, f32x4.mul(x, weights4(dtype, w1, 1)));
      a += 4;
      w0 += kBytes;
      w1 += kBytes;
    }
    const first = k == 0 && !accumulate;
    const last = k + K_BLOCK >= K;
    finish8(out, c0, c1, first, last ? bias : 0);
    finish8(out + 32, c2, c3, first, last && bias ? bias + 32 : 0);
  }
}

// @ts-ignore: decorator
@inline
function gemv8(dtype: i32, out: usize, a: usize, w: usize, bias: usize, K: usize, accumulate: bool): void {
  const kBytes: usize = dtype == F32 ? 32 : 16;
  for (let k: usize = 0; k < K; k += K_BLOCK) {
    const end = a + (min(K_BLOCK, K - k) << 2);
    let c0 = f32x4.splat(0), c1 = f32x4.splat(0);
    while (a < end) {
      const x = v128.load_splat<f32>(a);
      c0 = f32x4.add(c0, f32x4.mul(x, weights4(dtype, w, 0)));
      c1 = f32x4.add(c1, f32x4.mul(x, weights4(dtype, w, 1)));
      a += 4;
      w += kBytes;
    }
    finish8(out, c0, c1, k == 0 && !accumulate, k + K_BLOCK >= K ? bias : 0);
  }
}

/** Four of a panel row's eight weights as float32. */
// @ts-ignore: decorator
@inline
function weights4(dtype: i32, w: usize, half: usize): v128 {
  if (dtype == F32) return v128.load(w + half * 16);
  if (dtype == BF16) return bf16x4(w + half * 8);
  return f16x4(w + half * 8);
}

/** K rows of a panel to float32 in scratch. */
// @ts-ignore: decorator
@inline
function widenBlock(dtype: i32, w: usize, K: usize): void {
  let to = panelScratch;
  const end = to + (K << 5);
  while (to < end) {
    v128.store(to, weights4(dtype, w, 0));
    v128.store(to, weights4(dtype, w, 1), 16);
    to += 32;
    w += 16;
  }
}
