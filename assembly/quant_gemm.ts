/**
 * out[M][N] = a[M][K] · Wᵀ (+ bias) with W quantised and the rows of `a` quantised by q_rows_…: the loops round the
 * tiles. Each block of a panel meets a block of rows, which stays in the second-level cache, before the next one is
 * read: so few rows, too, wait for memory and compute at the same time.
 */
import { QUANT_ROW_BLOCK } from './blocks';
import { emptyProduct } from './gemm_tile';
import { blocksOf, I4, I8, recordBytes, ROW_RECORD } from './quant';
import { quantGemv } from './quant_gemv';
import { relaxedTiles } from './quant_relaxed';
import { SPREAD_BYTES, SPREAD_RECORD, SPREAD_ROWS, spreadRows } from './quant_spread';
import { plainTiles } from './quant_tile';
import { quantTotals, rowScratch } from './scratch';

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
  const blocks = blocksOf(K);
  if (M == 1) {
    if (ASC_FEATURE_RELAXED_SIMD && singleDot) quantGemv(dtype, true, out, qa, w, bias, N, blocks);
    else quantGemv(dtype, false, out, qa, w, bias, N, blocks);
    return;
  }
  ldc <<= 2;
  const rowBytes = blocks * ROW_RECORD;
  const record = recordBytes(dtype);
  for (let m: usize = 0; m < M; m += QUANT_ROW_BLOCK) {
    const rows = min(QUANT_ROW_BLOCK, M - m);
    const tileBytes = (rows + SPREAD_ROWS - 1) / SPREAD_ROWS * SPREAD_RECORD;
    const span = SPREAD_BYTES / tileBytes;
    for (let b: usize = 0; b < blocks; b += span) {
      const count = min(span, blocks - b);
      spreadRows(dtype, rowScratch, qa + m * rowBytes + b * ROW_RECORD, rowBytes, rows, count);
      for (let n: usize = 0; n < N; n += 8) {
        const to = out + m * ldc + (n << 2);
        const columns = min<usize>(8, N - n);
        if (b) loadTotals(to, ldc, rows, columns);
        else memory.fill(quantTotals, 0, rows << 5);
        let block = w + ((n >> 3) * blocks + b) * record;
        for (let s = rowScratch, end = s + count * tileBytes; s < end; s += tileBytes, block += record) {
          if (!ASC_FEATURE_RELAXED_SIMD) plainTiles(dtype, s, s + tileBytes, block);
          else if (singleDot) relaxedTiles(dtype, true, s, s + tileBytes, block);
          else relaxedTiles(dtype, false, s, s + tileBytes, block);
        }
        storeTotals(to, ldc, rows, columns, b + count == blocks && bias ? bias + (n << 2) : 0);
      }
    }
  }
}

/** Totals are kept `[rows][8]`: rows of out may lie apart by what maps to the same lines of the cache. */
function loadTotals(out: usize, ldc: usize, rows: usize, columns: usize): void {
  const end = quantTotals + (rows << 5);
  for (let total = quantTotals; total < end; total += 32, out += ldc) memory.copy(total, out, columns << 2);
}

function storeTotals(out: usize, ldc: usize, rows: usize, columns: usize, bias: usize): void {
  const end = quantTotals + (rows << 5);
  for (let total = quantTotals; total < end; total += 32, out += ldc) {
    if (columns == 8) {
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
