/**
 * The loops round the tiles. `dtype` is a constant wherever these functions are called, so that one branch remains.
 * Rows are taken in blocks, so that a block of `a` stays in the second-level cache while all panels pass by it.
 */
import { K_BLOCK, emptyProduct, panelBlock } from './gemm_tile';
import { gemv } from './gemv';
import { panelScratch } from './scratch';
import { F32, weights4 } from './widen';

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
