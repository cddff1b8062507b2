/**
 * The loops round the tiles: a block of rows stays in the second-level cache while all panels pass by it. `dtype` is a
 * constant wherever these functions are called, so that one branch remains.
 */
import { K_BLOCK, ROW_BLOCK, TILE_ROWS } from './blocks';
import { emptyProduct, panelBlock } from './gemm_tile';
import { gemv } from './gemv';
import { panelScratch, rowScratch } from './scratch';
import { spreadRows } from './spread';
import { BF16, F16, F32, weights4 } from './widen';

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

  // Widening float16 takes longer than reading it twice.
  if (M == 1 || (dtype == F16 && M == 2)) {
    gemv(dtype, out, a, w, bias, N, K, panelBytes, accumulate);
    if (M == 2) gemv(dtype, out + ldc, a + lda, w, bias, N, K, panelBytes, accumulate);
    return;
  }
  for (let m: usize = 0; m < M; m += ROW_BLOCK) {
    const rows = min(ROW_BLOCK, M - m);
    // What fewer rows leave free in scratch takes more K-blocks, so that panels are read in longer runs.
    const spreadBytes = rows * K_BLOCK * 16;
    const span = ROW_BLOCK * K_BLOCK * 16 / spreadBytes * K_BLOCK;
    for (let k0: usize = 0; k0 < K; k0 += span) {
      const k1 = min(K, k0 + span);
      for (let k = k0, s = rowScratch; k < k1; k += K_BLOCK, s += spreadBytes) {
        spreadRows(s, a + m * lda + (k << 2), lda, rows, min(K_BLOCK, K - k));
      }
      for (let n: usize = 0; n < N; n += 8) {
        const panel = w + (n >> 3) * panelBytes;
        const to = out + m * ldc + (n << 2);
        for (let k = k0, s = rowScratch; k < k1; k += K_BLOCK, s += spreadBytes) {
          const count = min(K_BLOCK, K - k);
          const first = k == 0 && !accumulate;
          const addBias = k + count == K && bias ? bias + (n << 2) : 0;
          let block = panel + k * kBytes;
          if (dtype == BF16 && rows <= TILE_ROWS) {
            // Widened within its one tile.
            panelBlock(BF16, to, ldc, s, block, rows, count, first, addBias, min<usize>(8, N - n));
            continue;
          }
          if (dtype != F32) {
            widenBlock(dtype, block, count);
            block = panelScratch;
          }
          panelBlock(F32, to, ldc, s, block, rows, count, first, addBias, min<usize>(8, N - n));
        }
      }
    }
  }
}

/** K rows of a panel to float32 in scratch. */
// @ts-ignore: decorator
@inline
export function widenBlock(dtype: i32, w: usize, K: usize): void {
  let to = panelScratch;
  const end = to + (K << 5);
  while (to < end) {
    v128.store(to, weights4(dtype, w, 0));
    v128.store(to, weights4(dtype, w, 1), 16);
    to += 32;
    w += 16;
  }
}
