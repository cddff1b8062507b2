/**
 * One head's attention over smoothed pages (pages_smooth.ts), all of it in bytes for the 7-bit dot product: queries of
 * 7 or 14 bits against int8 keys, probabilities of 14 or 7 bits against int8 values, each row as its noise asks for.
 * A group of rows passes by all keys page by page, six rows at a time: scores, then at once their exponentials relative
 * to the largest of the page, as integers, a strip that stays in the second-level cache. When all pages are known, they
 * are weighed against each other, and the strip passes by all values. Pages are added in order in float32; the mixture
 * is divided by the sum of the integers themselves, so that their rounding leaves no part of the mean.
 *
 * A sum's bits do not depend on the rows beside it: a row that needs 7 bits among rows of 14 has 0 in the lower byte,
 * and factors differ by 128 exactly.
 */
import { visible } from './attention';
import { copyRows, emptyProduct } from './gemm_tile';
import { PAGE, pageOf } from './pages';
import {
  channelScalesOffset, KEY_STARTS, keyScalesOffset, KEYS_FINITE, keysOffset, meansOffset, quadsOf, smoothValuesOffset,
} from './pages_smooth';
import { noBytes, pageBytes, pageTop } from './probabilities_smooth';
import { quantiseQueries, raise } from './queries_smooth';
import { singleDot } from './quant_gemm';
import { panelScratch, rowScratch, sumScratch, tileScratch } from './scratch';
import { NOTHING, SMOOTH_ROW, SMOOTH_ROWS, smoothTiles } from './smooth_tile';
import { allRounded, bytesOf, numbersApart, numbersOf, stripProbabilities, weighPages } from './strip_smooth';

/** Rows of a strip: 120 KB at 1024 keys. */
const ROW_GROUP: usize = 60;

/** In sumScratch: what a row's sums with keys count, and for each tile whether its queries have two bytes. */
const FACTORS: usize = 0;
const FINE: usize = FACTORS + ROW_GROUP * 4;

/** In panelScratch: scores of a tile with a page, later what each row is divided by. */
const SCORE_ROW: usize = PAGE * 4;

/** out[r] = softmax(scale · q[r]·Kᵀ) · V over the keys that row r sees, smoothed pages; headDim <= 128. */
export function f32_s8kv_attention(
  out: usize, q: usize, pages: usize, probs: usize, rows: usize, keys: usize, causalStart: i32, headDim: usize,
  ldq: usize, ldo: usize, scale: f32, heads: usize, pageCount: usize,
): void {
  if (!ASC_FEATURE_RELAXED_SIMD) unreachable();
  else attentions(out, q, pages, 0, probs, rows, keys, causalStart, headDim, ldq, ldo, scale, heads, pageCount);
}

/** The same, and the probabilities at probs, behind which as much is used besides. */
export function f32_s8kv_attention_probs(
  out: usize, q: usize, pages: usize, probs: usize, rows: usize, keys: usize, causalStart: i32, headDim: usize,
  ldq: usize, ldo: usize, scale: f32, heads: usize, pageCount: usize,
): void {
  if (!ASC_FEATURE_RELAXED_SIMD) unreachable();
  else {
    const strip = probs + rows * ((keys + PAGE - 1) / PAGE) * SCORE_ROW;
    attentions(out, q, pages, probs, strip, rows, keys, causalStart, headDim, ldq, ldo, scale, heads, pageCount);
  }
}

function attentions(
  out: usize, q: usize, pages: usize, probs: usize, strip: usize, rows: usize, keys: usize, causalStart: i32,
  headDim: usize, ldq: usize, ldo: usize, scale: f32, heads: usize, pageCount: usize,
): void {
  if (headDim == 0) return;
  ldq <<= 2;
  ldo <<= 2;
  const ldp = (keys + PAGE - 1) / PAGE * SCORE_ROW;
  for (; heads; heads--, pages += pageCount << 2) {
    for (let r: usize = 0; r < rows; r += ROW_GROUP) {
      const count = min(ROW_GROUP, rows - r);
      const start = causalStart < 0 ? -1 : causalStart + <i32>r;
      attention(out, q, pages, probs ? probs + r * ldp : 0, strip, count, keys, start, headDim, ldq, ldo, scale);
      out += count * ldo;
      q += count * ldq;
    }
  }
}

/** Up to ROW_GROUP rows. */
function attention(
  out: usize, q: usize, pages: usize, probs: usize, strip: usize, rows: usize, keys: usize, causalStart: i32,
  headDim: usize, ldq: usize, ldo: usize, scale: f32,
): void {
  const seen = visible(rows - 1, keys, causalStart);
  const ldp = (keys + PAGE - 1) / PAGE * SCORE_ROW;
  if (probs) memory.fill(probs, 0, rows * ldp);
  if (seen == 0) return emptyProduct(out, 0, rows, headDim, ldo >> 2, false);
  const first = pageOf(pages, 0);
  const known = first + keysOffset(headDim);
  const count = (seen + PAGE - 1) / PAGE;
  quantiseQueries(
    rowScratch, sumScratch + FACTORS, sumScratch + FINE, q, rows, headDim, ldq, scale, load<f32>(known),
  );
  for (let i: usize = 0; i < count; i++) score(strip, pages, rows, i, count, seen, keys, causalStart, headDim);
  weighPages(strip, panelScratch, rows, count, seen, sumScratch + FACTORS, load<f32>(known, KEYS_FINITE));
  if (probs) stripProbabilities(probs, ldp, strip, panelScratch, rows, count);
  for (let i: usize = 0; i < count; i++) mix(out, ldo, strip, pages, rows, i, count, seen, headDim);
  for (let r: usize = 0; r < rows; r++, out += ldo) {
    if (visible(r, keys, causalStart) == 0) memory.fill(out, 0, headDim << 2);
    else divide(out, headDim, load<f32>(panelScratch + (r << 2)), first + meansOffset(headDim));
  }
}

/** The rows' integers of page i, their sums and the largest scores. */
function score(
  strip: usize, pages: usize, rows: usize, i: usize, count: usize, seen: usize, keys: usize, causalStart: i32,
  headDim: usize,
): void {
  const key = i * PAGE;
  const page = pageOf(pages, key);
  const scales = page + keyScalesOffset(headDim);
  const panelBytes = quadsOf(headDim) << 5;
  const panels = (min(PAGE, seen - key) + 7) >> 3;
  const bytes = bytesOf(strip, rows, i);
  const tops = numbersOf(strip, rows, count, i), sums = tops + count * numbersApart(rows);
  for (let row: usize = 0; row < rows; row += SMOOTH_ROWS) {
    const tileRows = min(SMOOTH_ROWS, rows - row);
    smoothTiles(
      singleDot, tileRows, load<u8>(sumScratch + row / SMOOTH_ROWS, FINE) != 0, panelScratch, SCORE_ROW,
      rowScratch + row * SMOOTH_ROW, page, panelBytes, panels, panelBytes, scales + KEY_STARTS, 32,
      sumScratch + FACTORS + (row << 2), scales, true,
    );
    for (let r: usize = 0; r < tileRows; r++) {
      const x = panelScratch + r * SCORE_ROW;
      const to = bytes + (row + r) * SMOOTH_ROW;
      const at = row + r << 2;
      const all = visible(row + r, keys, causalStart);
      if (all > key) {
        const n = min(PAGE, all - key);
        const top = pageTop(x, n);
        store<f32>(tops + at, top);
        store<i32>(sums + at, pageBytes(to, x, n, top));
      } else {
        noBytes(to);
        store<f32>(tops + at, -Infinity);
        store<i32>(sums + at, 0);
      }
    }
  }
}

/** out[rows][headDim] (+)= the strip's integers of page i times what they count, times V less its means. */
function mix(
  out: usize, ldo: usize, strip: usize, pages: usize, rows: usize, i: usize, count: usize, seen: usize, headDim: usize,
): void {
  const page = pageOf(pages, i * PAGE);
  const scales = page + channelScalesOffset(headDim);
  const values = page + smoothValuesOffset(headDim);
  const length = (min(PAGE, seen - i * PAGE) + 3 & ~3) << 3;
  const numbers = numbersOf(strip, rows, count, i);
  const columns = headDim & 7, whole = headDim - columns;
  for (let row: usize = 0; row < rows; row += SMOOTH_ROWS, out += SMOOTH_ROWS * ldo) {
    const tileRows = min(SMOOTH_ROWS, rows - row);
    const s = bytesOf(strip, rows, i) + row * SMOOTH_ROW;
    const factors = numbers + (row << 2);
    const fine = !allRounded(factors, rows, count, tileRows);
    if (!fine) raise(factors, tileRows);
    smoothTiles(
      singleDot, tileRows, fine, out, ldo, s, values, length, whole >> 3, PAGE * 8, NOTHING, 0, factors, scales, i == 0,
    );
    if (columns) {
      const narrow = out + (whole << 2);
      if (i) copyRows(tileScratch, 32, narrow, ldo, tileRows, columns);
      smoothTiles(
        singleDot, tileRows, fine, tileScratch, 32, s, values + whole * PAGE, length, 1, 0, NOTHING, 0, factors,
        scales + (whole << 2), i == 0,
      );
      copyRows(narrow, ldo, tileScratch, 32, tileRows, columns);
    }
  }
}

/** In place: a row of sums to values, and the means added. */
function divide(out: usize, headDim: usize, inverse: f32, means: usize): void {
  const inverse4 = f32x4.splat(inverse);
  const end = out + (headDim << 2);
  for (; out + 16 <= end; out += 16, means += 16) {
    v128.store(out, f32x4.add(f32x4.mul(v128.load(out), inverse4), v128.load(means)));
  }
  for (; out < end; out += 4, means += 4) store<f32>(out, load<f32>(out) * inverse + load<f32>(means));
}
