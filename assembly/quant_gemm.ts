/**
 * out[M][N] = a[M][K] · Wᵀ (+ bias) with W quantised and the rows of `a` quantised by q_rows_…: the loops round the
 * tiles. A block of rows stays in the second-level cache while all panels pass by it.
 */
import { Q_SPAN, ROW_BLOCK } from './blocks';
import { copyBias, copyRows, emptyProduct } from './gemm_tile';
import { blocksOf, I4, I8, recordBytes, ROW_RECORD } from './quant';
import { quantGemv } from './quant_gemv';
import { preparePanel, SPREAD_RECORD, SPREAD_BYTES, spreadRows } from './quant_spread';
import { tile } from './quant_tile';
import { quantHeadScratch, quantPanelScratch, rowScratch, tileScratch } from './scratch';

/** Fewer rows than this are taken one by one, reading the panels as a stream. */
const STREAM_ROWS: usize = 2;

export function f32_i8w_gemm(
  out: usize, qa: usize, w: usize, bias: usize, M: usize, N: usize, K: usize, ldc: usize,
): void {
  gemm(I8, out, qa, w, bias, M, N, K, ldc);
}

export function f32_i4w_gemm(
  out: usize, qa: usize, w: usize, bias: usize, M: usize, N: usize, K: usize, ldc: usize,
): void {
  gemm(I4, out, qa, w, bias, M, N, K, ldc);
}

/** How the relaxed build multiplies bytes: 0 two instructions (16-bit sums), 1 one (VPDPBUSD). The integers are the same. */
let singleDot: bool = false;

export function set_dot_form(form: i32): void {
  singleDot = form == 1;
}

// @ts-ignore: decorator
@inline
function gemm(
  dtype: i32, out: usize, qa: usize, w: usize, bias: usize, M: usize, N: usize, K: usize, ldc: usize,
): void {
  if (K == 0) return emptyProduct(out, bias, M, N, ldc, false);
  ldc <<= 2;
  const blocks = blocksOf(K);
  const rowBytes = blocks * ROW_RECORD;
  const panelBytes = blocks * recordBytes(dtype);
  if (M < STREAM_ROWS) {
    for (let row: usize = 0; row < M; row++) {
      if (ASC_FEATURE_RELAXED_SIMD && singleDot) quantGemv(dtype, true, out + row * ldc, qa + row * rowBytes, w, bias, N, blocks);
      else quantGemv(dtype, false, out + row * ldc, qa + row * rowBytes, w, bias, N, blocks);
    }
    return;
  }
  for (let m: usize = 0; m < M; m += ROW_BLOCK) {
    const rows = min(ROW_BLOCK, M - m);
    const tiles = (rows + 3) >> 2;
    const span = min(Q_SPAN, SPREAD_BYTES / (tiles * SPREAD_RECORD));
    for (let b: usize = 0; b < blocks; b += span) {
      const count = min(span, blocks - b);
      spreadRows(dtype, rowScratch, qa + m * rowBytes + b * ROW_RECORD, rowBytes, rows, count);
      for (let n: usize = 0; n < N; n += 8) {
        const panel = preparePanel(dtype, w + (n >> 3) * panelBytes + b * recordBytes(dtype), count);
        const biasHere = bias && b + count == blocks ? bias + (n << 2) : 0;
        const to = out + m * ldc + (n << 2);
        if (ASC_FEATURE_RELAXED_SIMD && singleDot) {
          panelTiles(dtype, true, to, ldc, panel, rows, count, b == 0, biasHere, min<usize>(8, N - n));
        } else {
          panelTiles(dtype, false, to, ldc, panel, rows, count, b == 0, biasHere, min<usize>(8, N - n));
        }
      }
    }
  }
}

/** The spread rows against `blocks` blocks of one panel, of which `columns` outputs (1..8) are written. */
// @ts-ignore: decorator
@inline
function panelTiles(
  dtype: i32, single: bool, out: usize, ldc: usize, panel: usize, rows: usize, blocks: usize, first: bool,
  bias: usize, columns: usize,
): void {
  let s = rowScratch;
  let row: usize = 0;
  if (bias && columns < 8) bias = copyBias(bias, columns);
  const whole = columns == 8 ? rows & ~3 : 0;
  for (; row < rows; row += 4, s += blocks * SPREAD_RECORD, out += 4 * ldc) {
    if (row < whole) {
      tile(dtype, single, out, ldc, s, panel, quantHeadScratch, blocks, first, bias);
    } else {
      // What a whole tile would write beyond goes through scratch.
      const some = min<usize>(4, rows - row);
      if (!first) copyRows(tileScratch, 32, out, ldc, some, columns);
      tile(dtype, single, tileScratch, 32, s, panel, quantHeadScratch, blocks, first, bias);
      copyRows(out, ldc, tileScratch, 32, some, columns);
    }
  }
}
