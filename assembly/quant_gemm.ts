/**
 * out[M][N] = a[M][K] · Wᵀ (+ bias) with W quantised and the rows of `a` quantised by q_rows_…: the loops round the
 * tiles. Each block of a panel meets a block of rows, which stays in the second-level cache, before the next one is
 * read: so few rows, too, wait for memory and compute at the same time.
 */
import { QUANT_ROW_BLOCK } from './blocks';
import { emptyProduct } from './gemm_tile';
import { blocksOf, I4, I8, recordBytes, rowRecord } from './quant';
import { quantGemv } from './quant_gemv';
import { relaxedTiles } from './quant_relaxed';
import { q_rows_i4w, q_rows_i8w, q_rows_i8w_fine } from './quant_rows';
import { SPREAD_BYTES, SPREAD_ROWS, spreadHigh, spreadRecord, spreadRows } from './quant_spread';
import { plainTiles } from './quant_tile';
import { quantTotals, rowScratch } from './scratch';

/** Up to so many rows the one-row kernel is faster: the tiles have rows to spare, nibbles are to be unpacked. */
// @ts-ignore: decorator
@inline
function streamRows(dtype: i32): usize {
  if (ASC_FEATURE_RELAXED_SIMD) return 3;
  return dtype == I4 ? 4 : 1;
}

/** So few rows read two panels half the matrix apart, two long streams (see gemv.ts). */
const PAIR_ROWS: usize = 8;

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

export function f32_i8w_gemv(out: usize, x: usize, w: usize, bias: usize, N: usize, K: usize): void {
  q_rows_i8w(rowScratch, x, 1, K, K);
  f32_i8w_gemm(out, rowScratch, w, bias, 1, N, K, N);
}

export function f32_i8w_fine_gemv(out: usize, x: usize, w: usize, bias: usize, N: usize, K: usize): void {
  q_rows_i8w_fine(rowScratch, x, 1, K, K);
  f32_i8w_gemm(out, rowScratch, w, bias, 1, N, K, N);
}

export function f32_i4w_gemv(out: usize, x: usize, w: usize, bias: usize, N: usize, K: usize): void {
  q_rows_i4w(rowScratch, x, 1, K, K);
  f32_i4w_gemm(out, rowScratch, w, bias, 1, N, K, N);
}

/** Which form of the 7-bit dot product the relaxed build uses, see quant_relaxed.ts. No result depends on it. */
export let singleDot: bool = false;

export function set_dot_form(form: i32): void {
  singleDot = form == 1;
}

// @ts-ignore: decorator
@inline
function gemm(
  dtype: i32, out: usize, qa: usize, w: usize, bias: usize, M: usize, N: usize, K: usize, ldc: usize,
): void {
  if (K == 0) return emptyProduct(out, bias, M, N, ldc, false);
  const blocks = blocksOf(dtype, K);
  ldc <<= 2;
  if (M <= streamRows(dtype)) {
    if (ASC_FEATURE_RELAXED_SIMD && singleDot) quantGemv(dtype, true, out, ldc, qa, w, bias, M, N, blocks);
    else quantGemv(dtype, false, out, ldc, qa, w, bias, M, N, blocks);
    return;
  }
  // Blocks of nearly the same number of rows: a last one of a few rows would read all weights for them.
  const parts = (M + QUANT_ROW_BLOCK - 1) / QUANT_ROW_BLOCK;
  const step = ((M + parts - 1) / parts + SPREAD_ROWS - 1) / SPREAD_ROWS * SPREAD_ROWS;
  for (let m: usize = 0; m < M; m += step) {
    rowBlock(dtype, out + m * ldc, ldc, qa + m * blocks * rowRecord(dtype), w, bias, min(step, M - m), N, blocks);
  }
}

/** All panels against up to QUANT_ROW_BLOCK rows; ldc in bytes. */
// @ts-ignore: decorator
@inline
function rowBlock(
  dtype: i32, out: usize, ldc: usize, qa: usize, w: usize, bias: usize, rows: usize, N: usize, blocks: usize,
): void {
  const record = recordBytes(dtype);
  const blockBytes = (rows + SPREAD_ROWS - 1) / SPREAD_ROWS * spreadRecord(dtype);
  const span = SPREAD_BYTES / blockBytes;
  const panels = (N + 7) >> 3;
  const pairs = rows <= PAIR_ROWS ? panels >> 1 : 0;
  const apart = pairs * blocks * record;
  // Tiles write up to 3 rows more than there are.
  const totals1 = quantTotals + ((rows + 3) << 5);
  for (let b: usize = 0; b < blocks; b += span) {
    const count = min(span, blocks - b);
    const first = b == 0;
    const lastBias = b + count == blocks ? bias : 0;
    const from = qa + b * rowRecord(dtype);
    spreadRows(dtype, rowScratch, from, blocks * rowRecord(dtype), rows, count);
    if (ASC_FEATURE_RELAXED_SIMD && dtype == I8) {
      spreadHigh(rowScratch, from, blocks * rowRecord(dtype), rows, count);
    }
    for (let p: usize = 0; p < panels - pairs; p++) {
      const isPair = p < pairs;
      const n0 = (isPair ? p : p + pairs) << 3, n1 = n0 + (pairs << 3);
      let block = w + ((n0 >> 3) * blocks + b) * record;
      startTotals(quantTotals, out + (n0 << 2), ldc, rows, N - n0, first);
      if (isPair) startTotals(totals1, out + (n1 << 2), ldc, rows, N - n1, first);
      for (let s = rowScratch, end = s + count * blockBytes; s < end; s += blockBytes, block += record) {
        tiles(dtype, quantTotals, s, rows, block);
        if (isPair) tiles(dtype, totals1, s, rows, block + apart);
      }
      storeTotals(quantTotals, out + (n0 << 2), ldc, rows, N - n0, lastBias ? lastBias + (n0 << 2) : 0);
      if (isPair) storeTotals(totals1, out + (n1 << 2), ldc, rows, N - n1, lastBias ? lastBias + (n1 << 2) : 0);
    }
  }
}

// @ts-ignore: decorator
@inline
function tiles(dtype: i32, total: usize, s: usize, rows: usize, block: usize): void {
  if (!ASC_FEATURE_RELAXED_SIMD) plainTiles(dtype, total, s, rows, block);
  else if (singleDot) relaxedTiles(dtype, true, total, s, rows, block);
  else relaxedTiles(dtype, false, total, s, rows, block);
}

/** Totals are kept `[rows][8]`: rows of out may lie apart by what maps to the same lines of the cache. */
function startTotals(total: usize, out: usize, ldc: usize, rows: usize, columns: usize, first: bool): void {
  const zero = f32x4.splat(0);
  for (const end = total + (rows << 5); total < end; total += 32, out += ldc) {
    if (first) {
      v128.store(total, zero);
      v128.store(total, zero, 16);
    } else if (columns >= 8) {
      v128.store(total, v128.load(out));
      v128.store(total, v128.load(out, 16), 16);
    } else {
      for (let c: usize = 0; c < columns << 2; c += 4) store<f32>(total + c, load<f32>(out + c));
    }
  }
}

function storeTotals(total: usize, out: usize, ldc: usize, rows: usize, columns: usize, bias: usize): void {
  for (const end = total + (rows << 5); total < end; total += 32, out += ldc) {
    if (columns >= 8) {
      let low = v128.load(total), high = v128.load(total, 16);
      if (bias) {
        low = f32x4.add(low, v128.load(bias));
        high = f32x4.add(high, v128.load(bias, 16));
      }
      v128.store(out, low);
      v128.store(out, high, 16);
    } else {
      for (let c: usize = 0; c < columns << 2; c += 4) {
        store<f32>(out + c, load<f32>(total + c) + (bias ? load<f32>(bias + c) : 0));
      }
    }
  }
}
