/** Panels of 8 outputs in 8 and 4 bits (their records: quant.ts) from stored weights. */
import { blockOf, I4, I4_BLOCK, I4_HEAD, I8, I8_HEAD, recordBytes } from './quant';
import { i4Half, i8Half } from './quantize_scale';
import { loadHalf, peakBits, tailRow, zeroRow, zeroTheZeroRow } from './quantize_source';
import { BF16, F16, F32, bf16, f16 } from './widen';

export function i8_f32_pack(out: usize, src: usize, rows: usize, K: usize, ld: usize): i32 {
  return pack(I8, F32, out, src, rows, K, ld);
}

export function i8_bf16_pack(out: usize, src: usize, rows: usize, K: usize, ld: usize): i32 {
  return pack(I8, BF16, out, src, rows, K, ld);
}

export function i8_f16_pack(out: usize, src: usize, rows: usize, K: usize, ld: usize): i32 {
  return pack(I8, F16, out, src, rows, K, ld);
}

export function i4_f32_pack(out: usize, src: usize, rows: usize, K: usize, ld: usize): i32 {
  return pack(I4, F32, out, src, rows, K, ld);
}

export function i4_bf16_pack(out: usize, src: usize, rows: usize, K: usize, ld: usize): i32 {
  return pack(I4, BF16, out, src, rows, K, ld);
}

export function i4_f16_pack(out: usize, src: usize, rows: usize, K: usize, ld: usize): i32 {
  return pack(I4, F16, out, src, rows, K, ld);
}

/** One panel; −1, or r·K + k of the first weight in the first bad block's half that has no place in the format. */
// @ts-ignore: decorator
@inline
function pack(target: i32, dtype: i32, out: usize, src: usize, rows: usize, K: usize, ld: usize): i32 {
  const size: usize = dtype == F32 ? 4 : 2;
  zeroTheZeroRow();
  for (let k: usize = 0; k < K; k += blockOf(target), out += recordBytes(target)) {
    const whole = k + blockOf(target) <= K;
    if (!whole) copyTails(target, src + k * size, rows, (K - k) * size, ld * size, size);
    for (let half: usize = 0; half < 2; half++) {
      const first = half * 4;
      loadHalf(
        dtype, blockOf(target),
        rowOf(src, first, rows, k, ld, size, whole), rowOf(src, first + 1, rows, k, ld, size, whole),
        rowOf(src, first + 2, rows, k, ld, size, whole), rowOf(src, first + 3, rows, k, ld, size, whole),
      );
      if (v128.any_true(i32x4.ge_s(peakBits(), i32x4.splat(tooLarge(target))))) {
        return firstTooLarge(target, dtype, src, rows, K, ld, k, first);
      }
      if (target == I8) i8Half(out + half * 8, out + I8_HEAD + half * 16);
      else i4Half(out, out + I4_HEAD, half);
    }
    if (target == I4 && !whole) clearTails(out + I4_HEAD, K - k);
  }
  return -1;
}

/**
 * Bits of 2^127, in 4 bits of 2^126: from there on (infinity and NaN too) the scale times 127, or the range from the
 * least value to the largest, may pass the largest float32.
 */
// @ts-ignore: decorator
@inline
function tooLarge(target: i32): i32 {
  return target == I8 ? 0x7f000000 : 0x7e800000;
}

/** Where a block's values of row r begin: zeros behind the last row, a padded copy in the last block. */
// @ts-ignore: decorator
@inline
function rowOf(src: usize, r: usize, rows: usize, k: usize, ld: usize, size: usize, whole: bool): usize {
  if (r >= rows) return zeroRow();
  return whole ? src + (r * ld + k) * size : tailRow(r);
}

/** What K lacks is zero, in 4 bits the last value again: zeros would widen the range that they are to hold. */
function copyTails(target: i32, src: usize, rows: usize, bytes: usize, stride: usize, size: usize): void {
  for (let r: usize = 0; r < rows; r++) {
    const tail = tailRow(r);
    memory.fill(tail, 0, blockOf(target) * 4);
    memory.copy(tail, src + r * stride, bytes);
    if (target == I8) continue;
    for (let at = bytes; at < I4_BLOCK * size; at += size) memory.copy(tail + at, tail + bytes - size, size);
  }
}

/** q of the columns from `count` on becomes 0. */
function clearTails(values: usize, count: usize): void {
  for (let k = count; k < I4_BLOCK; k++) {
    const at = values + (k >> 2) * 16 + (k & 3);
    for (let o: usize = 0; o < 16; o += 4) store<u8>(at + o, 0);
  }
}

/** Row by row in the block's half of rows from `first` and columns from k on. */
function firstTooLarge(
  target: i32, dtype: i32, src: usize, rows: usize, K: usize, ld: usize, k: usize, first: usize,
): i32 {
  const end = min(k + blockOf(target), K);
  const last = min(first + 4, rows);
  for (let r = first; r < last; r++) {
    for (let i = k; i < end; i++) {
      const w = dtype == F32 ? load<f32>(src + ((r * ld + i) << 2))
        : dtype == BF16 ? bf16(src + ((r * ld + i) << 1)) : f16(src + ((r * ld + i) << 1));
      if ((reinterpret<i32>(w) & 0x7fffffff) >= tooLarge(target)) return <i32>(r * K + i);
    }
  }
  return unreachable();
}
