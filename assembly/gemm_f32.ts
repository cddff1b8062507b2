import { gemm } from './gemm';
import { F32 } from './widen';

/** out[M][N] = a[M][K] · Wᵀ (+ bias) with W in panels of float32. */
export function f32_f32w_gemm(
  out: usize, a: usize, w: usize, bias: usize, M: usize, N: usize, K: usize,
  panelK: usize, lda: usize, ldc: usize, accumulate: i32,
): void {
  gemm_f32(out, a, w, bias, M, N, K, panelK, lda, ldc, accumulate != 0);
}

/** The same for the module's own use. */
export function gemm_f32(
  out: usize, a: usize, w: usize, bias: usize, M: usize, N: usize, K: usize,
  panelK: usize, lda: usize, ldc: usize, accumulate: bool,
): void {
  gemm(F32, out, a, w, bias, M, N, K, panelK, lda, ldc, accumulate);
}
