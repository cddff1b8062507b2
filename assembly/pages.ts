/**
 * Keys and values in pages of 128 keys for one key/value head: K as panels over keys `[16][headDim][8]`, behind it V as
 * panels over channels `[ceil(headDim/8)][128][8]`, so that scores and outputs are matrix products of panels. A page of
 * V is one K-block of the product, aligned to the key's own index.
 */
import { BF16, F32 } from './widen';

/** Keys of a page. */
export const PAGE: usize = 128;

/** headDim rounded up to whole panels. */
// @ts-ignore: decorator
@inline
export function channelsOf(headDim: usize): usize {
  return (headDim + 7) & ~7;
}

/** Row of k and v that key j of a call is read from. */
// @ts-ignore: decorator
@inline
export function sourceRow(indices: usize, j: usize): usize {
  return indices ? <usize>load<u32>(indices + (j << 2)) : j;
}

/** Address of the page of a key. */
// @ts-ignore: decorator
@inline
export function pageOf(pages: usize, key: usize): usize {
  return <usize>load<u32>(pages + (key / PAGE << 2));
}

/** Writes `count` keys and values of each head to key indices start, start + 1, … of its pages. */
export function f32_kv_write(
  pages: usize, k: usize, v: usize, indices: usize, count: usize, start: usize, headDim: usize, ldk: usize, ldv: usize,
  heads: usize, pageCount: usize,
): void {
  write(F32, pages, k, v, indices, count, start, headDim, ldk, ldv, heads, pageCount);
}

/** The same rounded to bfloat16. */
export function bf16_kv_write(
  pages: usize, k: usize, v: usize, indices: usize, count: usize, start: usize, headDim: usize, ldk: usize, ldv: usize,
  heads: usize, pageCount: usize,
): void {
  write(BF16, pages, k, v, indices, count, start, headDim, ldk, ldv, heads, pageCount);
}

// @ts-ignore: decorator
@inline
function write(
  dtype: i32, pages: usize, k: usize, v: usize, indices: usize, count: usize, start: usize, headDim: usize, ldk: usize,
  ldv: usize, heads: usize, pageCount: usize,
): void {
  for (; heads; heads--) {
    writeHead(dtype, pages, k, v, indices, count, start, headDim, ldk, ldv);
    pages += pageCount << 2;
    k += headDim << 2;
    v += headDim << 2;
  }
}

// @ts-ignore: decorator
@inline
function writeHead(
  dtype: i32, pages: usize, k: usize, v: usize, indices: usize, count: usize, start: usize, headDim: usize, ldk: usize,
  ldv: usize,
): void {
  const shift: usize = dtype == F32 ? 2 : 1;
  const channels = channelsOf(headDim);
  for (let j: usize = 0; j < count; j++) {
    const key = start + j;
    const row = sourceRow(indices, j);
    const page = pageOf(pages, key);
    const slot = key % PAGE;

    let from = k + ((row * ldk) << 2);
    let to = page + (((slot >> 3) * headDim * 8 + (slot & 7)) << shift);
    for (let d: usize = 0; d < headDim; d++, from += 4, to += <usize>8 << shift) put(dtype, to, load<f32>(from));

    from = v + ((row * ldv) << 2);
    to = page + ((PAGE * headDim + slot * 8) << shift);
    for (let c: usize = 0; c < channels; c += 8, from += 32, to += (PAGE * 8) << shift) {
      for (let i: usize = 0; i < 8; i++) {
        put(dtype, to + (i << shift), c + i < headDim ? load<f32>(from + (i << 2)) : 0);
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function put(dtype: i32, to: usize, value: f32): void {
  if (dtype == F32) store<f32>(to, value);
  else store<u16>(to, bf16Bits(value));
}

/** The nearest bfloat16, ties to even; infinity from half a step above the largest on; NaN stays NaN. */
function bf16Bits(value: f32): u32 {
  const bits = reinterpret<u32>(value);
  if (value != value) return (bits >> 16) | 0x40;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
