/** Panels `[ceil(N/8)][K][8]`: packing, gathering rows back out, and plain widening. */
import { bf16, bf16x4, f16, f16x4 } from './widen';

/** rows (1..8) × K elements of 4 bytes, `ld` elements apart, to one panel; missing rows are zeros. */
export function panel8_pack_32(out: usize, src: usize, rows: usize, K: usize, ld: usize): void {
  const step = ld << 2;
  // Whole panels four k at a time: two transposes of 4 × 4.
  const even = rows == 8 ? K & ~3 : 0;
  for (let k: usize = 0; k < even; k += 4, out += 128) {
    quarter32(out, src + (k << 2), step);
    quarter32(out + 16, src + (k << 2) + (step << 2), step);
  }
  for (let k = even; k < K; k++) {
    for (let r: usize = 0; r < 8; r++, out += 4) {
      store<u32>(out, r < rows ? load<u32>(src + r * step + (k << 2)) : 0);
    }
  }
}

/** Four rows × four k of 4 bytes, the k at out 32 bytes apart. */
// @ts-ignore: decorator
@inline
function quarter32(out: usize, src: usize, step: usize): void {
  const r0 = v128.load(src), r1 = v128.load(src + step);
  const r2 = v128.load(src + 2 * step), r3 = v128.load(src + 3 * step);
  const a = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5), b = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
  const c = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7), d = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
  v128.store(out, v128.shuffle<i64>(a, b, 0, 2));
  v128.store(out + 32, v128.shuffle<i64>(a, b, 1, 3));
  v128.store(out + 64, v128.shuffle<i64>(c, d, 0, 2));
  v128.store(out + 96, v128.shuffle<i64>(c, d, 1, 3));
}

/** The same for elements of 2 bytes. */
export function panel8_pack_16(out: usize, src: usize, rows: usize, K: usize, ld: usize): void {
  const step = ld << 1;
  // Whole panels eight k at a time: a transpose of 8 × 8.
  const even = rows == 8 ? K & ~7 : 0;
  for (let k: usize = 0; k < even; k += 8, out += 128) {
    const at = src + (k << 1), below = at + (step << 2);
    const r0 = v128.load(at), r1 = v128.load(at + step);
    const r2 = v128.load(at + 2 * step), r3 = v128.load(at + 3 * step);
    const a = lows(r0, r1), b = lows(r2, r3), c = highs(r0, r1), d = highs(r2, r3);
    const r4 = v128.load(below), r5 = v128.load(below + step);
    const r6 = v128.load(below + 2 * step), r7 = v128.load(below + 3 * step);
    const e = lows(r4, r5), f = lows(r6, r7), g = highs(r4, r5), h = highs(r6, r7);
    pairs(out, v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(e, f, 0, 4, 1, 5));
    pairs(out + 32, v128.shuffle<i32>(a, b, 2, 6, 3, 7), v128.shuffle<i32>(e, f, 2, 6, 3, 7));
    pairs(out + 64, v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(g, h, 0, 4, 1, 5));
    pairs(out + 96, v128.shuffle<i32>(c, d, 2, 6, 3, 7), v128.shuffle<i32>(g, h, 2, 6, 3, 7));
  }
  for (let k = even; k < K; k++) {
    for (let r: usize = 0; r < 8; r++, out += 2) {
      store<u16>(out, r < rows ? load<u16>(src + r * step + (k << 1)) : 0);
    }
  }
}

/** k 0 … 3 of two rows side by side. */
// @ts-ignore: decorator
@inline
function lows(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}

/** k 4 … 7 of two rows side by side. */
// @ts-ignore: decorator
@inline
function highs(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

/** Two k of rows 0 … 3 and of rows 4 … 7 to the two k of all eight. */
// @ts-ignore: decorator
@inline
function pairs(out: usize, upper: v128, lower: v128): void {
  v128.store(out, v128.shuffle<i64>(upper, lower, 0, 2));
  v128.store(out + 16, v128.shuffle<i64>(upper, lower, 1, 3));
}

/** out `[count][K]`: row ids[i] of a panelled matrix. */
export function f32_f32w_gather(out: usize, w: usize, ids: usize, count: usize, K: usize): void {
  for (let i: usize = 0; i < count; i++) {
    let from = rowStart(w, load<u32>(ids + (i << 2)), K, 2);
    for (let k: usize = 0; k < K; k++, out += 4, from += 32) store<f32>(out, load<f32>(from));
  }
}

export function f32_bf16w_gather(out: usize, w: usize, ids: usize, count: usize, K: usize): void {
  for (let i: usize = 0; i < count; i++) {
    let from = rowStart(w, load<u32>(ids + (i << 2)), K, 1);
    for (let k: usize = 0; k < K; k++, out += 4, from += 16) store<f32>(out, bf16(from));
  }
}

export function f32_f16w_gather(out: usize, w: usize, ids: usize, count: usize, K: usize): void {
  for (let i: usize = 0; i < count; i++) {
    let from = rowStart(w, load<u32>(ids + (i << 2)), K, 1);
    for (let k: usize = 0; k < K; k++, out += 4, from += 16) store<f32>(out, f16(from));
  }
}

/** Where row `id` begins, elements of 1 << shift bytes. */
// @ts-ignore: decorator
@inline
function rowStart(w: usize, id: usize, K: usize, shift: usize): usize {
  return w + ((((id >> 3) * K << 3) + (id & 7)) << shift);
}

export function f32_bf16_unpack(out: usize, src: usize, n: usize): void {
  let i: usize = 0;
  for (; i + 4 <= n; i += 4) v128.store(out + (i << 2), bf16x4(src + (i << 1)));
  for (; i < n; i++) store<f32>(out + (i << 2), bf16(src + (i << 1)));
}

export function f32_f16_unpack(out: usize, src: usize, n: usize): void {
  let i: usize = 0;
  for (; i + 4 <= n; i += 4) v128.store(out + (i << 2), f16x4(src + (i << 1)));
  for (; i < n; i++) store<f32>(out + (i << 2), f16(src + (i << 1)));
}

/** rows (1..8) × blocks bfloat16 scales into the heads of a quantised panel; −1, or the first that is not finite. */
export function panel8_put_scales(out: usize, src: usize, rows: usize, blocks: usize, record: usize): i32 {
  for (let block: usize = 0; block < blocks; block++, out += record) {
    for (let r: usize = 0; r < 8; r++) {
      const at = r * blocks + block;
      const scale = r < rows ? load<u16>(src + (at << 1)) : 0;
      if ((scale & 0x7f80) == 0x7f80) return <i32>at;
      store<u16>(out + (r << 1), scale);
    }
  }
  return -1;
}

/** The way back. */
export function panel8_take_scales(out: usize, panel: usize, rows: usize, blocks: usize, record: usize): void {
  for (let block: usize = 0; block < blocks; block++, panel += record) {
    for (let r: usize = 0; r < rows; r++) {
      store<u16>(out + ((r * blocks + block) << 1), load<u16>(panel + (r << 1)));
    }
  }
}
