/**
 * Queries against smoothed keys: 64 + q in 7 bits, or 8192 + q in 14 where the rounding of 7 would change the scores by
 * more than a little. (The keys' sums begin with what makes up for 64, see pages_smooth.ts.)
 */
import { quadsOf, inverseOf, nearest } from './pages_smooth';
import { panelScratch } from './scratch';
import { SMOOTH_LOW, SMOOTH_ROW, SMOOTH_ROWS } from './smooth_tile';

/** Scores come in powers of two. */
const LOG2_E: f32 = 1.44269504;
const LEVELS: f32 = 63;
const FINE_LEVELS: f32 = 8191;
/**
 * What 7 bits may change a score by, the root mean square over the head's keys, in powers of two: 3.5 % of a
 * probability. Scores with a deviation of 2 have as much from the 7 bits of the rows that queries and keys are products
 * of.
 */
const NOISE: f32 = 0.05;
/** A query's root mean square error in 7 bits in parts of its largest channel: a step, 1/63, over √12. */
const STEP_NOISE: f32 = 0.00458;

/**
 * `rows` rows of q as bytes at `to` (SMOOTH_ROW each), at `factors` what their sums with keys count in scores. A tile's
 * rows are all in 7 bits, and its `fine` byte 0, or count a 128th. keySize: the root mean square of the keys' norms.
 */
export function quantiseQueries(
  to: usize, factors: usize, fine: usize, q: usize, rows: usize, headDim: usize, ldq: usize, scale: f32, keySize: f32,
): void {
  const x = panelScratch;
  const length = (headDim + 15 & ~15) << 2;
  memory.fill(x, 0, length);
  const unit = scale * LOG2_E;
  for (let row: usize = 0; row < rows; row += SMOOTH_ROWS, fine++, factors += SMOOTH_ROWS << 2) {
    const count = min(SMOOTH_ROWS, rows - row);
    let isFineTile = false;
    for (let i: usize = 0; i < count; i++, q += ldq, to += SMOOTH_ROW) {
      memory.copy(x, q, headDim << 2);
      const top = largestSize(x, length);
      // Not <=: NaN, too, is taken in 14 bits.
      const isFine = !(top * STEP_NOISE * keySize * unit <= NOISE);
      if (isFine) {
        quantiseRow(true, to, x, length, inverseOf(FINE_LEVELS, top));
        isFineTile = true;
      } else {
        quantiseRow(false, to, x, length, inverseOf(LEVELS, top));
      }
      const step: f32 = isFine ? top / FINE_LEVELS : top / LEVELS / 128;
      store<f32>(factors + (i << 2), step * unit);
    }
    store<u8>(fine, isFineTile ? 1 : 0);
    if (!isFineTile) raise(factors, count);
  }
}

/** `length` bytes of float32 as bytes: in two parts, of which the lower one of 7 bits is 0. */
// @ts-ignore: decorator
@inline
function quantiseRow(isFine: bool, to: usize, x: usize, length: usize, inverse: f32): void {
  const inverse4 = f32x4.splat(inverse);
  const zero = i16x8.splat(isFine ? 8192 : 64), lowMask = i16x8.splat(127);
  for (const end = x + length; x < end; x += 64, to += 16) {
    let a = i16x8.narrow_i32x4_s(nearest(v128.load(x), inverse4), nearest(v128.load(x, 16), inverse4));
    let b = i16x8.narrow_i32x4_s(nearest(v128.load(x, 32), inverse4), nearest(v128.load(x, 48), inverse4));
    a = i16x8.add(a, zero);
    b = i16x8.add(b, zero);
    if (isFine) {
      v128.store(to, i8x16.narrow_i16x8_u(i16x8.shr_u(a, 7), i16x8.shr_u(b, 7)));
      v128.store(to, i8x16.narrow_i16x8_u(v128.and(a, lowMask), v128.and(b, lowMask)), SMOOTH_LOW);
    } else {
      v128.store(to, i8x16.narrow_i16x8_u(a, b));
      v128.store(to, i32x4.splat(0), SMOOTH_LOW);
    }
  }
}

/** Factors of sums that count the higher byte, exactly. */
export function raise(factors: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) store<f32>(factors + (i << 2), load<f32>(factors + (i << 2)) * 128);
}

/** The largest size of `length` bytes of float32; NaN if one is. */
// @ts-ignore: decorator
@inline
function largestSize(x: usize, length: usize): f32 {
  let top = f32x4.splat(0);
  for (const end = x + length; x < end; x += 16) top = f32x4.max(top, f32x4.abs(v128.load(x)));
  return max<f32>(
    max<f32>(f32x4.extract_lane(top, 0), f32x4.extract_lane(top, 1)),
    max<f32>(f32x4.extract_lane(top, 2), f32x4.extract_lane(top, 3)),
  );
}
