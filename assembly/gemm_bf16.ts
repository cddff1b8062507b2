import { gemm } from './gemm';
import { BF16 } from './widen';

/** out[M][N] = a[M][K] · Wᵀ (+ bias) with W in panels of bfloat16. */
export function f32_bf16w_gemm(
  out: usize, a: usize, w: usize, bias: usize, M: usize, N: usize, K: usize,
  panelK: usize, lda: usize, ldc: usize, accumulate: i32,
): void {
  gemm(BF16, out, a, w, bias, M, N, K, panelK, lda, ldc, accumulate != 0);
}
