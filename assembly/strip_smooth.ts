/**
 * A strip of probabilities over smoothed pages: for each page and row the integers of probabilities_smooth.ts, and what
 * they stand for. Strip of R rows and P pages: `[P][R][256]` bytes, then three arrays `[P][R, rounded up to 4]`:
 *   a page's largest score, later what one of its integers counts, in parts of the row's largest probability;
 *   the sum of its integers;
 *   −1 where they have been rounded to 7 bits, else 0.
 */
import { LARGEST, roundBytes } from './probabilities_smooth';
import { exp2Approximate } from './probabilities_int';
import { PAGE } from './pages';
import { SMOOTH_LOW, SMOOTH_ROW } from './smooth_tile';

/**
 * What 7 bits may add to the square of a row's error, in parts of its output's square if values were independent of
 * each other: as much as the 7 bits of the rows leave in the values and in the product behind attention.
 */
const NOISE: f32 = 5e-4;
/** The square of a page's noise in 7 bits, in parts of its largest probability: 128 keys · (1/127)² / 12. */
const PAGE_NOISE: f32 = 6.62e-4;

/** Bytes from a page's numbers to those of the next one. */
// @ts-ignore: decorator
@inline
export function numbersApart(rows: usize): usize {
  return ((rows + 3) & ~3) << 2;
}

/** A page's integers of the first row. */
// @ts-ignore: decorator
@inline
export function bytesOf(strip: usize, rows: usize, page: usize): usize {
  return strip + page * rows * SMOOTH_ROW;
}

/** Its number of the first row: the largest score or the unit. The sum lies `pages · numbersApart` further on. */
// @ts-ignore: decorator
@inline
export function numbersOf(strip: usize, rows: usize, pages: usize, page: usize): usize {
  return strip + pages * rows * SMOOTH_ROW + page * numbersApart(rows);
}

/**
 * From the pages' largest scores and sums to their units; integers are rounded to 7 bits where that adds little noise.
 * `inverses` gets for each row 1 / Σ unit · integer, NaN for a row with a largest score or a `factor` that is not
 * finite, or `finite` NaN; both arrays have room for whole vectors. What it does to a row depends on that row alone.
 */
export function weighPages(
  strip: usize, inverses: usize, rows: usize, pages: usize, keys: usize, factors: usize, finite: f32,
): void {
  const apart = numbersApart(rows);
  const sums = pages * apart;
  const rounded = sums << 1;
  // The square of a row's output, in values, is at least that of its largest probability, and that of all alike.
  const most = f32x4.splat(NOISE / PAGE_NOISE / LARGEST / LARGEST / <f32>pages);
  const spread = f32x4.splat(1 / <f32>keys);
  const step = f32x4.splat(1 / LARGEST);
  for (let row: usize = 0; row < rows; row += 4) {
    const from = numbersOf(strip, rows, pages, 0) + (row << 2);
    const end = from + sums;
    let top = v128.load(from);
    for (let at = from + apart; at < end; at += apart) top = f32x4.pmax(top, v128.load(at));
    let total = f32x4.splat(0);
    for (let at = from; at < end; at += apart) {
      const unit = f32x4.mul(exp2Approximate(f32x4.sub(v128.load(at), top)), step);
      v128.store(at, unit);
      total = f32x4.relaxed_madd(unit, f32x4.convert_i32x4_s(v128.load(at + sums)), total);
    }
    const size = f32x4.pmax(f32x4.mul(f32x4.mul(total, total), spread), f32x4.splat(1));
    const limit = f32x4.mul(size, most);
    total = f32x4.splat(0);
    let bytes = bytesOf(strip, rows, 0) + row * SMOOTH_ROW;
    for (let at = from; at < end; at += apart, bytes += rows * SMOOTH_ROW) {
      const unit = v128.load(at);
      const isCoarse = f32x4.le(f32x4.mul(unit, unit), limit);
      v128.store(at + rounded, isCoarse);
      roundRows(bytes, at + sums, i32x4.bitmask(isCoarse), min<usize>(4, rows - row));
      total = f32x4.relaxed_madd(unit, f32x4.convert_i32x4_s(v128.load(at + sums)), total);
    }
    const factor = v128.load(factors + (row << 2));
    const poison = f32x4.add(f32x4.sub(top, top), f32x4.sub(factor, factor));
    const inverse = f32x4.div(f32x4.splat(1), total);
    v128.store(inverses + (row << 2), f32x4.add(f32x4.add(inverse, poison), f32x4.splat(finite)));
  }
}

/** Rounds a page's integers of those of up to four rows whose bit is set in `mask`, and stores their sums. */
// @ts-ignore: decorator
@inline
function roundRows(bytes: usize, sums: usize, mask: i32, rows: usize): void {
  if (!mask) return;
  for (let i: usize = 0; i < rows; i++) {
    if (mask >> <i32>i & 1) store<i32>(sums + (i << 2), roundBytes(bytes + i * SMOOTH_ROW));
  }
}

/** Whether `count` rows' integers are all rounded; numbers as `numbersOf` gives them, of the first of the rows. */
export function allRounded(numbers: usize, rows: usize, pages: usize, count: usize): bool {
  const rounded = numbers + (pages * numbersApart(rows) << 1);
  let all = -1;
  for (let i: usize = 0; i < count; i++) all &= load<i32>(rounded + (i << 2));
  return all != 0;
}

/** The strip as float32 at probs `[rows][pages · 128]`; ldp in bytes. */
export function stripProbabilities(
  probs: usize, ldp: usize, strip: usize, inverses: usize, rows: usize, pages: usize,
): void {
  for (let row: usize = 0; row < rows; row++, probs += ldp) {
    for (let page: usize = 0; page < pages; page++) {
      const unit = load<f32>(numbersOf(strip, rows, pages, page) + (row << 2)) * load<f32>(inverses + (row << 2));
      const bytes = bytesOf(strip, rows, page) + row * SMOOTH_ROW;
      for (let i: usize = 0; i < PAGE; i++) {
        const integer = <i32>load<u8>(bytes + i) << 7 | <i32>load<u8>(bytes + i, SMOOTH_LOW);
        store<f32>(probs + (page * PAGE + i << 2), <f32>integer * unit);
      }
    }
  }
}
