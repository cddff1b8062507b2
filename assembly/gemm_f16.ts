import { gemm } from './gemm';
import { F16 } from './widen';

/** out[M][N] = a[M][K] · Wᵀ (+ bias) with W in panels of float16. */
export function f32_f16w_gemm(
  out: usize, a: usize, w: usize, bias: usize, M: usize, N: usize, K: usize,
  panelK: usize, lda: usize, ldc: usize, accumulate: i32,
): void {
  gemm(F16, out, a, w, bias, M, N, K, panelK, lda, ldc, accumulate != 0);
}
