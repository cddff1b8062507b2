/**
 * Quantised operands: w ≈ scale · q in 8 bits, scale · q + minimum in 4, with one bfloat16 scale (and minimum) per
 * output and block of 64 k, in 4 bits of 32; and rows of `a` with one float32 scale per block (see quant_rows.ts). A
 * block's sums Σ q·a and Σ a are exact integers in every kernel and both builds, so how they are computed never shows:
 * out = 0 + the blocks in order,
 *   I8: f32(Σ q·a) · (scale of w · scale of a)
 *   I4: f32(Σ q·a) · (scale of w · scale of a) + minimum of w · (scale of a · f32(Σ a))
 * then the bias, each operation rounded to float32. (The two terms of I4 meet first: they nearly cancel.)
 *
 * A panel of 8 outputs is a run of block records, K filled up with zeros:
 *   I8: 8 scales, then for each of 16 groups of 4 k: 2 halves × [4 outputs][4 k] int8, −127 … 127
 *   I4: 8 scales, 8 minimums, then for each of 8 groups of 4 k: [4 outputs][4 k] bytes, q = 0 … 15 of output o in the
 *       low nibble, of output o + 4 in the high one
 */
import { bf16x4 } from './widen';

export const I8: i32 = 0;
export const I4: i32 = 1;

/** k that share a scale. Half as many in 8 bits would be 12 to 25 % more time for products: see ARCHITECTURE.md. */
export const I8_BLOCK: usize = 64;
export const I4_BLOCK: usize = 32;
/** The 8 scales that every record begins with. */
export const SCALES: usize = 16;
/** Scales and, in 4 bits, minimums: what lies before a record's values. */
export const I8_HEAD: usize = SCALES;
export const I4_HEAD: usize = 2 * SCALES;
export const I8_RECORD: usize = I8_HEAD + 8 * I8_BLOCK;
export const I4_RECORD: usize = I4_HEAD + 4 * I4_BLOCK;

/**
 * A row's block record: scale, term, shift, 4 bytes unused; then the values, int16 in the plain build, else bytes:
 * those of lower weight, and where the shift is not 0 behind them those that count 2^shift times.
 */
export const ROW_TERM: usize = 4;
export const ROW_SHIFT: usize = 8;
export const ROW_HEAD: usize = 16;
export const ROW_HIGH: usize = ROW_HEAD + I8_BLOCK;

// @ts-ignore: decorator
@inline
export function blockOf(dtype: i32): usize {
  return dtype == I8 ? I8_BLOCK : I4_BLOCK;
}

// @ts-ignore: decorator
@inline
export function blocksOf(dtype: i32, K: usize): usize {
  return (K + blockOf(dtype) - 1) / blockOf(dtype);
}

// @ts-ignore: decorator
@inline
export function rowRecord(dtype: i32): usize {
  return ROW_HEAD + 2 * blockOf(dtype);
}

// @ts-ignore: decorator
@inline
export function recordBytes(dtype: i32): usize {
  return dtype == I8 ? I8_RECORD : I4_RECORD;
}

/**
 * total + one block's integer sums of four outputs: scale4 and minimum4 are the weights', scale and term the row's
 * (minimum4 and term only of I4: scale · Σ a).
 */
// @ts-ignore: decorator
@inline
export function addScaled(
  dtype: i32, total: usize, sum: v128, scale4: v128, minimum4: v128, scale: v128, term: v128,
): void {
  let value = f32x4.mul(f32x4.convert_i32x4_s(sum), f32x4.mul(scale4, scale));
  if (dtype == I4) value = f32x4.add(value, f32x4.mul(minimum4, term));
  v128.store(total, f32x4.add(v128.load(total), value));
}

/** The scales of outputs 0–3 (half 0) or 4–7 of the record at w. */
// @ts-ignore: decorator
@inline
export function scales4(w: usize, half: usize): v128 {
  return bf16x4(w + half * 8);
}

/** The same of the minimums; of I8 nothing that is used. */
// @ts-ignore: decorator
@inline
export function minimums4(dtype: i32, w: usize, half: usize): v128 {
  return dtype == I4 ? bf16x4(w + SCALES + half * 8) : f32x4.splat(0);
}

// @ts-ignore: decorator
@inline
export function headBytes(dtype: i32): usize {
  return dtype == I8 ? I8_HEAD : I4_HEAD;
}

/** Sums of neighbouring lanes: of (o0 o0 o1 o1), (o2 o2 o3 o3) the four outputs. */
// @ts-ignore: decorator
@inline
export function addPairs(low: v128, high: v128): v128 {
  return i32x4.add(v128.shuffle<i32>(low, high, 0, 2, 4, 6), v128.shuffle<i32>(low, high, 1, 3, 5, 7));
}
