/** Panels `[ceil(N/8)][K][8]`: packing, gathering rows back out, and plain widening. */
import { bf16, bf16x4, f16, f16x4 } from './widen';

/** rows (1..8) × K elements of 4 bytes, `ld` elements apart, to one panel; missing rows are zeros. */
export function panel8_pack_32(out: usize, src: usize, rows: usize, K: usize, ld: usize): void {
  for (let r: usize = 0; r < 8; r++) {
    const row = src + ((r * ld) << 2);
    let to = out + (r << 2);
    for (let k: usize = 0; k < K; k++) {
      store<u32>(to, r < rows ? load<u32>(row + (k << 2)) : 0);
      to += 32;
    }
  }
}

/** The same for elements of 2 bytes. */
export function panel8_pack_16(out: usize, src: usize, rows: usize, K: usize, ld: usize): void {
  for (let r: usize = 0; r < 8; r++) {
    const row = src + ((r * ld) << 1);
    let to = out + (r << 1);
    for (let k: usize = 0; k < K; k++) {
      store<u16>(to, r < rows ? load<u16>(row + (k << 1)) : 0);
      to += 16;
    }
  }
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
