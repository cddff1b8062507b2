/**
 * One head's attention over integer pages (pages_int.ts). Queries and probabilities become int16 on the way, and both
 * products are exact sums in int32:
 * - q is scaled so that its norm is 32767. With an int16 key of the same norm |q·k| <= 2^30 (Cauchy–Schwarz; it holds
 *   for each part of the sum), with an int8 key |q·k| <= 32767·127·√headDim.
 * - A page's probabilities, each times its value's scale, are scaled so that none exceeds 32767, and over int16 values
 *   so that their sum does not exceed 65535: 65535·32767 < 2^31; over int8 values 128·32767·127 < 2^30.
 * Pages are added in order in float32, the probabilities' sums in float64, and the result is divided by the sum at the
 * end.
 */
import { FEW_ROWS, nextKeys, nextValues, readAhead, readFirstKeys } from './ahead';
import { K_BLOCK, ROW_BLOCK } from './blocks';
import { visible } from './attention';
import { copyRows, emptyProduct } from './gemm_tile';
import { INT_TILE_ROWS, intPanel } from './int_tile';
import { PAGE, pageOf } from './pages';
import { I8, I16, norm, pairsOf, quantised, scalesOffset, valuesOffset } from './pages_int';
import { fillAndTop, pageProbabilities, scaleRow } from './probabilities_int';
import { panelScratch, rowScratch, sumScratch, tileScratch } from './scratch';
import { spreadRow } from './spread';

const ROW_GROUP: usize = 32;
/** Scores come in powers of two. */
const LOG2_E: f32 = 1.44269504;

/** For each row of a group: the largest score, the sum of its probabilities (float64), what an integer stands for. */
const TOPS: usize = 0;
const TOTALS: usize = TOPS + ROW_GROUP * 4;
const FACTORS: usize = TOTALS + ROW_GROUP * 8;

/** out[r] = softmax(scale · q[r]·Kᵀ) · V over the keys that row r sees, pages of int8. */
export function f32_i8kv_attention(
  out: usize, q: usize, pages: usize, probs: usize, rows: usize, keys: usize, causalStart: i32, headDim: usize,
  ldq: usize, ldo: usize, scale: f32, heads: usize, pageCount: usize,
): void {
  attentions(I8, out, q, pages, probs, rows, keys, causalStart, headDim, ldq, ldo, scale, heads, pageCount);
}

/** The same over pages of int16. */
export function f32_i16kv_attention(
  out: usize, q: usize, pages: usize, probs: usize, rows: usize, keys: usize, causalStart: i32, headDim: usize,
  ldq: usize, ldo: usize, scale: f32, heads: usize, pageCount: usize,
): void {
  attentions(I16, out, q, pages, probs, rows, keys, causalStart, headDim, ldq, ldo, scale, heads, pageCount);
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
  const group = max<usize>(1, min(ROW_GROUP, ROW_BLOCK * K_BLOCK / pairsOf(headDim)));
  for (let r: usize = 0; r < rows; r += group) {
    const count = min(group, rows - r);
    const seen = visible(r + count - 1, keys, causalStart);
    const p = probs + r * ldp;
    scores(dtype, p, q + r * ldq, pages, count, seen, headDim, ldq, ldp, scale);
    for (let i: usize = 0; i < count; i++) {
      const top = fillAndTop(p + i * ldp, visible(r + i, keys, causalStart), (keys + 7) & ~7);
      store<f32>(sumScratch + (i << 2), top, TOPS);
      store<f64>(sumScratch + (i << 3), 0, TOTALS);
    }
    const o = out + r * ldo;
    mix(dtype, o, p, pages, count, seen, headDim, ldo, ldp);
    for (let i: usize = 0; i < count; i++) {
      const total = load<f64>(sumScratch + (i << 3), TOTALS);
      const inverse: f32 = total == 0 ? 1 : <f32>(1 / total);
      scaleRow(o + i * ldo, headDim, inverse);
      scaleRow(p + i * ldp, seen, inverse);
      // What the group does not see.
      const end = (keys + 7) & ~7;
      const used = (seen + 7) & ~7;
      if (used < end) memory.fill(p + i * ldp + (used << 2), 0, (end - used) << 2);
    }
  }
}

/** probs[rows][keys] = log2(e) · scale · q · Kᵀ for whole panels of keys: those past the last key are of no meaning. */
// @ts-ignore: decorator
@inline
function scores(
  dtype: i32, probs: usize, q: usize, pages: usize, rows: usize, keys: usize, headDim: usize, ldq: usize, ldp: usize,
  scale: f32,
): void {
  const shift: usize = dtype == I8 ? 0 : 1;
  const pairs = pairsOf(headDim);
  const panelBytes = pairs << (4 + shift);
  const values: usize = valuesOffset(headDim, shift);
  spreadQueries(q, rows, headDim, ldq, scale);
  if (rows <= FEW_ROWS) readFirstKeys(partsOf(dtype), pages, keys, values);
  for (let key: usize = 0; key < keys; key += PAGE, probs += PAGE << 2) {
    const page = pageOf(pages, key);
    const scales = page + scalesOffset(headDim, shift);
    const panels = (min(PAGE, keys - key) + 7) >> 3;
    const next = nextKeys(pages, key, keys, values);
    for (let i: usize = 0; i < panels; i++) {
      if (rows <= FEW_ROWS) aheadOf(dtype, next, i, panels, panelBytes);
      intPanel(
        dtype, probs + (i << 5), ldp, rowScratch, page + i * panelBytes, rows, pairs, sumScratch + FACTORS,
        scales + (i << 5), true,
      );
    }
  }
}

/** Before panel i of `panels`: reads what belongs to it ahead of as many panels at `next`, where that is not 0. */
// @ts-ignore: decorator
@inline
function aheadOf(dtype: i32, next: usize, i: usize, panels: usize, panelBytes: usize): void {
  const parts = partsOf(dtype);
  const share = panelBytes / parts;
  if (next) readAhead(parts, next + i * share, panels * share, share);
}

/** Parts of a page that are read ahead side by side: of 4 KiB each where headDim is 64. */
// @ts-ignore: decorator
@inline
function partsOf(dtype: i32): usize {
  return dtype == I8 ? 2 : 4;
}

/** Rows of q as int16 pairs in tiles, what each integer stands for times log2(e) · scale in the factors. */
function spreadQueries(q: usize, rows: usize, headDim: usize, ldq: usize, scale: f32): void {
  const pairs = pairsOf(headDim);
  for (let r: usize = 0; r < rows; r++, q += ldq) {
    const size = norm(q, headDim);
    const inverse: f32 = size > 0 ? 32767 / size : 0;
    store<f32>(sumScratch + (r << 2), size / 32767 * scale * LOG2_E, FACTORS);
    const tileRows = min(INT_TILE_ROWS, rows - (r & ~(INT_TILE_ROWS - 1)));
    let to = rowScratch + ((r & ~(INT_TILE_ROWS - 1)) * pairs + (r & (INT_TILE_ROWS - 1)) << 4);
    for (let d: usize = 0; d < headDim; d += 2, to += tileRows << 4) {
      const low = quantised(load<f32>(q + (d << 2)), inverse);
      const high = d + 1 < headDim ? quantised(load<f32>(q + (d << 2), 4), inverse) : 0;
      v128.store(to, i32x4.splat((low & 0xffff) | (high << 16)));
    }
  }
}

/** Makes exponentials of the scores, page by page, and out[rows][headDim] = their product with V. */
// @ts-ignore: decorator
@inline
function mix(
  dtype: i32, out: usize, probs: usize, pages: usize, rows: usize, keys: usize, headDim: usize, ldo: usize, ldp: usize,
): void {
  const shift: usize = dtype == I8 ? 0 : 1;
  const factors = sumScratch + FACTORS;
  const panelBytes: usize = PAGE * 8 << shift;
  const values: usize = valuesOffset(headDim, shift);
  if (keys == 0) emptyProduct(out, 0, rows, headDim, ldo >> 2, false);
  for (let key: usize = 0; key < keys; key += PAGE, probs += PAGE << 2) {
    const first = key == 0;
    const page = pageOf(pages, key);
    const scales = page + scalesOffset(headDim, shift) + PAGE * 4;
    const pairs = (min(PAGE, keys - key) + 1) >> 1;
    for (let r: usize = 0; r < rows; r++) {
      pageProbabilities(
        dtype, panelScratch, probs + r * ldp, scales, pairs, sumScratch + TOPS + (r << 2),
        sumScratch + TOTALS + (r << 3), factors + (r << 2),
      );
      const tileRow = r & (INT_TILE_ROWS - 1);
      const tileRows = min(INT_TILE_ROWS, rows - (r - tileRow));
      const to = rowScratch + ((r - tileRow) * pairs + tileRow << 4);
      spreadRow(false, to, tileRows << 4, panelScratch, pairs, panelScratch);
    }
    let panel = page + values;
    const next = nextValues(pages, key, keys, values);
    let c: usize = 0;
    for (; c + 8 <= headDim; c += 8, panel += panelBytes) {
      if (rows <= FEW_ROWS) aheadOf(dtype, next, c >> 3, headDim >> 3, panelBytes);
      intPanel(dtype, out + (c << 2), ldo, rowScratch, panel, rows, pairs, factors, 0, first);
    }
    if (c < headDim) narrow(dtype, out + (c << 2), ldo, panel, rows, pairs, factors, first, headDim - c);
  }
}

/** A last, narrow panel: what a whole tile would write beyond goes through scratch. */
function narrow(
  dtype: i32, out: usize, ldo: usize, panel: usize, rows: usize, pairs: usize, factors: usize, first: bool,
  columns: usize,
): void {
  for (let r: usize = 0; r < rows; r += INT_TILE_ROWS, out += INT_TILE_ROWS * ldo) {
    const count = min(INT_TILE_ROWS, rows - r);
    if (!first) copyRows(tileScratch, 32, out, ldo, count, columns);
    const s = rowScratch + (r * pairs << 4);
    if (dtype == I8) intPanel(I8, tileScratch, 32, s, panel, count, pairs, factors + (r << 2), 0, first);
    else intPanel(I16, tileScratch, 32, s, panel, count, pairs, factors + (r << 2), 0, first);
    copyRows(out, ldo, tileScratch, 32, count, columns);
  }
}
