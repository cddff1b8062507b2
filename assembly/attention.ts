/**
 * One head's attention over keys and values in pages (see pages.ts): a strip of scores for a group of rows that stays
 * in the second-level cache, its softmax, and the mixing of the values, page by page.
 */
import { FEW_ROWS, nextKeys, nextValues, readAhead, readFirstKeys } from './ahead';
import { K_BLOCK, ROW_BLOCK, TILE_ROWS } from './blocks';
import { widenBlock } from './gemm';
import { emptyProduct, panelBlock } from './gemm_tile';
import { gemv } from './gemv';
import { PAGE, pageOf } from './pages';
import { panelScratch, rowScratch, sumScratch } from './scratch';
import { divideRow, exponentials } from './softmax';
import { spreadQuotients, spreadRows } from './spread';
import { BF16, F32 } from './widen';

/** Rows whose scores are made together, whole tiles: few enough that their strip stays in the cache. */
export const ROW_GROUP: usize = TILE_ROWS == 6 ? 30 : 32;

/** out[r] = softmax(scale · q[r]·Kᵀ) · V over the keys that row r sees, pages of float32. */
export function f32_attention(
  out: usize, q: usize, pages: usize, probs: usize, rows: usize, keys: usize, causalStart: i32, headDim: usize,
  ldq: usize, ldo: usize, scale: f32, heads: usize, pageCount: usize,
): void {
  attentions(F32, out, q, pages, probs, rows, keys, causalStart, headDim, ldq, ldo, scale, heads, pageCount);
}

/** The same over pages of bfloat16, widened exactly. */
export function f32_bf16kv_attention(
  out: usize, q: usize, pages: usize, probs: usize, rows: usize, keys: usize, causalStart: i32, headDim: usize,
  ldq: usize, ldo: usize, scale: f32, heads: usize, pageCount: usize,
): void {
  attentions(BF16, out, q, pages, probs, rows, keys, causalStart, headDim, ldq, ldo, scale, heads, pageCount);
}

/** Head after head. `dtype` is a constant wherever this is called. */
// @ts-ignore: decorator
@inline
function attentions(
  dtype: i32, out: usize, q: usize, pages: usize, probs: usize, rows: usize, keys: usize, causalStart: i32,
  headDim: usize, ldq: usize, ldo: usize, scale: f32, heads: usize, pageCount: usize,
): void {
  if (headDim == 0) return;
  ldq <<= 2;
  ldo <<= 2;
  for (; heads; heads--) {
    attention(dtype, out, q, pages, probs, rows, keys, causalStart, headDim, ldq, ldo, scale);
    out += rows * ldo;
    q += rows * ldq;
    pages += pageCount << 2;
  }
}

// @ts-ignore: decorator
@inline
function attention(
  dtype: i32, out: usize, q: usize, pages: usize, probs: usize, rows: usize, keys: usize, causalStart: i32,
  headDim: usize, ldq: usize, ldo: usize, scale: f32,
): void {
  const ldp = (keys + PAGE - 1) / PAGE * PAGE << 2;
  // A head too wide for the scratch of the whole group takes fewer rows.
  const group = max<usize>(1, min(ROW_GROUP, ROW_BLOCK * K_BLOCK / headDim));
  for (let r: usize = 0; r < rows; r += group) {
    const count = min(group, rows - r);
    // What the last row of the group sees; the others see a part of it, and have probability 0 for the rest.
    const seen = visible(r + count - 1, keys, causalStart);
    const p = probs + r * ldp;
    scores(dtype, p, q + r * ldq, pages, count, seen, headDim, ldq, ldp);
    for (let i: usize = 0; i < count; i++) {
      const row = p + i * ldp;
      const n = visible(r + i, keys, causalStart);
      store<f32>(sumScratch + (i << 2), n ? exponentials(row, n, scale) : 1);
      memory.fill(row + (n << 2), 0, (((keys + 7) & ~7) - n) << 2);
    }
    mix(dtype, out + r * ldo, p, pages, count, seen, headDim, ldo, ldp);
  }
}

/** How many keys row r sees. */
// @ts-ignore: decorator
@inline
export function visible(r: usize, keys: usize, causalStart: i32): usize {
  return causalStart < 0 ? keys : min(keys, <usize>causalStart + r + 1);
}

/** probs[rows][keys] = q · Kᵀ for whole panels of keys: those past the last key are of no meaning. */
// @ts-ignore: decorator
@inline
function scores(
  dtype: i32, probs: usize, q: usize, pages: usize, rows: usize, keys: usize, headDim: usize, ldq: usize, ldp: usize,
): void {
  const kBytes: usize = dtype == F32 ? 32 : 16;
  const panelBytes = headDim * kBytes;
  if (rows > 1) spreadRows(rowScratch, q, ldq, rows, headDim);
  if (rows > 1 && rows <= FEW_ROWS) readFirstKeys(partsOf(dtype), pages, keys, PAGE / 8 * panelBytes);
  for (let key: usize = 0; key < keys; key += PAGE, probs += PAGE << 2) {
    const panels = (min(PAGE, keys - key) + 7) >> 3;
    const panel = pageOf(pages, key);
    if (rows == 1) {
      gemv(dtype, probs, q, panel, 0, panels << 3, headDim, panelBytes, false);
    } else {
      const next = nextKeys(pages, key, keys, PAGE / 8 * panelBytes);
      blocks(dtype, probs, ldp, panel, panelBytes, rows, headDim, true, panels << 3, next);
    }
  }
}

/** Divides probs by their rows' sums, page by page, and out[rows][headDim] = probs · V. */
// @ts-ignore: decorator
@inline
function mix(
  dtype: i32, out: usize, probs: usize, pages: usize, rows: usize, keys: usize, headDim: usize, ldo: usize, ldp: usize,
): void {
  const kBytes: usize = dtype == F32 ? 32 : 16;
  const valuesAt = PAGE / 8 * headDim * kBytes;
  if (keys == 0) emptyProduct(out, 0, rows, headDim, ldo >> 2, false);
  if (rows == 1) divideRow(probs, keys, load<f32>(sumScratch));
  for (let key: usize = 0; key < keys; key += PAGE, probs += PAGE << 2) {
    const count = min(PAGE, keys - key);
    const panel = pageOf(pages, key) + valuesAt;
    if (rows == 1) {
      gemv(dtype, out, probs, panel, 0, headDim, count, PAGE * kBytes, key > 0);
    } else {
      spreadQuotients(rowScratch, probs, ldp, rows, count, sumScratch);
      const next = nextValues(pages, key, keys, valuesAt);
      blocks(dtype, out, ldo, panel, PAGE * kBytes, rows, count, key == 0, headDim, next);
    }
  }
}

/** The spread rows against K of each panel; a few read as many panels at `next` ahead, where that is not 0. */
// @ts-ignore: decorator
@inline
function blocks(
  dtype: i32, out: usize, ldo: usize, panel: usize, panelBytes: usize, rows: usize, K: usize, first: bool,
  columns: usize, next: usize,
): void {
  const parts = partsOf(dtype);
  const share = panelBytes / parts;
  const apart = ((columns + 7) >> 3) * share;
  for (let c: usize = 0; c < columns; c += 8, panel += panelBytes) {
    if (next && rows <= FEW_ROWS) {
      readAhead(parts, next, apart, share);
      next += share;
    }
    block(dtype, out + (c << 2), ldo, panel, rows, K, first, min<usize>(8, columns - c));
  }
}

/** Parts of a page that are read ahead side by side: of 4 KiB each where headDim is 64. */
// @ts-ignore: decorator
@inline
function partsOf(dtype: i32): usize {
  return dtype == F32 ? 8 : 4;
}

/** The spread rows against K of one panel; bfloat16 is widened once where more than one tile passes by. */
// @ts-ignore: decorator
@inline
function block(
  dtype: i32, out: usize, ldo: usize, panel: usize, rows: usize, K: usize, first: bool, columns: usize,
): void {
  if (dtype == F32) {
    panelBlock(F32, out, ldo, rowScratch, panel, rows, K, first, 0, columns);
  } else if (rows > TILE_ROWS && K <= K_BLOCK) {
    widenBlock(dtype, panel, K);
    panelBlock(F32, out, ldo, rowScratch, panelScratch, rows, K, first, 0, columns);
  } else {
    panelBlock(dtype, out, ldo, rowScratch, panel, rows, K, first, 0, columns);
  }
}
