/**
 * Pages of 128 keys in int8 or int16, a float32 scale for each key and each value: K as panels over keys with pairs of
 * channels side by side `[16][headDim/2, rounded up][8][2]`, V as panels over channels with pairs of keys side by side
 * `[ceil(headDim/8)][64][8][2]`, as the dot product of int16 pairs takes them, then the 128 scales of K and those of V.
 */
import { channelsOf, PAGE, pageOf, sourceRow } from './pages';

/** How a page's elements are stored. */
export const I8: i32 = 0;
export const I16: i32 = 1;

/** Pairs of channels of a key. */
// @ts-ignore: decorator
@inline
export function pairsOf(headDim: usize): usize {
  return (headDim + 1) >> 1;
}

/** Offset of V in a page; `shift` is 0 for int8, 1 for int16. */
// @ts-ignore: decorator
@inline
export function valuesOffset(headDim: usize, shift: usize): usize {
  return PAGE * 2 * pairsOf(headDim) << shift;
}

/** Offset of the scales in a page. */
// @ts-ignore: decorator
@inline
export function scalesOffset(headDim: usize, shift: usize): usize {
  return valuesOffset(headDim, shift) + (PAGE * channelsOf(headDim) << shift);
}

/**
 * Writes `count` keys and values of each head to key indices start, start + 1, …: each x/scale to the nearest of
 * −127 … 127.
 */
export function i8_kv_write(
  pages: usize, k: usize, v: usize, indices: usize, count: usize, start: usize, headDim: usize, ldk: usize, ldv: usize,
  heads: usize, pageCount: usize,
): void {
  write(I8, pages, k, v, indices, count, start, headDim, ldk, ldv, heads, pageCount);
}

/** The same in int16, a key's norm scaled to 32767 and a value's largest size. */
export function i16_kv_write(
  pages: usize, k: usize, v: usize, indices: usize, count: usize, start: usize, headDim: usize, ldk: usize, ldv: usize,
  heads: usize, pageCount: usize,
): void {
  write(I16, pages, k, v, indices, count, start, headDim, ldk, ldv, heads, pageCount);
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
  const shift: usize = dtype == I8 ? 0 : 1;
  const limit: f32 = dtype == I8 ? 127 : 32767;
  const pairs = pairsOf(headDim);
  const channels = channelsOf(headDim);
  for (let j: usize = 0; j < count; j++) {
    const key = start + j;
    const row = sourceRow(indices, j);
    const page = pageOf(pages, key);
    const slot = key % PAGE;
    const scales = page + scalesOffset(headDim, shift) + (slot << 2);

    let from = k + ((row * ldk) << 2);
    const size = dtype == I8 ? largestSize(from, headDim) : norm(from, headDim);
    let inverse = size > 0 ? limit / size : 0;
    store<f32>(scales, size / limit);
    let to = page + ((slot >> 3) * pairs * 16 + (slot & 7) * 2 << shift);
    let d: usize = 0;
    for (; d + 8 <= headDim; d += 8, to += <usize>64 << shift) putPairs(dtype, to, from + (d << 2), inverse);
    for (; d < 2 * pairs; d++) {
      const value = d < headDim ? quantised(load<f32>(from + (d << 2)), inverse) : 0;
      put(dtype, to + ((d & 1) << shift), value);
      if (d & 1) to += <usize>16 << shift;
    }

    from = v + ((row * ldv) << 2);
    const largest = largestSize(from, headDim);
    inverse = largest > 0 ? limit / largest : 0;
    store<f32>(scales + PAGE * 4, largest / limit);
    to = page + valuesOffset(headDim, shift) + ((slot >> 1) * 16 + (slot & 1) << shift);
    let c: usize = 0;
    for (; c + 8 <= headDim; c += 8, to += PAGE * 8 << shift) {
      putBeside(dtype, to - ((slot & 1) << shift), slot & 1, from + (c << 2), inverse);
    }
    for (; c < channels; c++) {
      put(dtype, to + ((c & 7) * 2 << shift), c < headDim ? quantised(load<f32>(from + (c << 2)), inverse) : 0);
    }
  }
}

// @ts-ignore: decorator
@inline
function put(dtype: i32, to: usize, value: i32): void {
  if (dtype == I8) store<i8>(to, <i8>value);
  else store<i16>(to, <i16>value);
}

/** Eight channels of a key from x on, 8 pairs of channels apart. */
// @ts-ignore: decorator
@inline
function putPairs(dtype: i32, to: usize, x: usize, inverse: f32): void {
  const low = quantised4(x, inverse), high = quantised4(x + 16, inverse);
  if (dtype == I8) {
    const values = v128.shuffle<i8>(low, high, 0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
    v128.store_lane<i16>(to, values, 0);
    v128.store_lane<i16>(to, values, 1, 16);
    v128.store_lane<i16>(to, values, 2, 32);
    v128.store_lane<i16>(to, values, 3, 48);
  } else {
    const values = v128.shuffle<i16>(low, high, 0, 2, 4, 6, 8, 10, 12, 14);
    v128.store_lane<i32>(to, values, 0);
    v128.store_lane<i32>(to, values, 1, 32);
    v128.store_lane<i32>(to, values, 2, 64);
    v128.store_lane<i32>(to, values, 3, 96);
  }
}

/** Eight channels of a value from x on, as the first (odd 0) or second of the pairs at `to`. */
// @ts-ignore: decorator
@inline
function putBeside(dtype: i32, to: usize, odd: usize, x: usize, inverse: f32): void {
  const low = quantised4(x, inverse), high = quantised4(x + 16, inverse);
  if (dtype == I8) {
    const shift = <i32>odd << 3, mask = i32x4.splat(0x00ff00ff << shift);
    const values = i16x8.shl(v128.shuffle<i16>(low, high, 0, 2, 4, 6, 8, 10, 12, 14), shift);
    v128.store(to, v128.bitselect(values, v128.load(to), mask));
  } else {
    const shift = <i32>odd << 4, mask = i32x4.splat(0xffff << shift);
    v128.store(to, v128.bitselect(i32x4.shl(low, shift), v128.load(to), mask));
    v128.store(to, v128.bitselect(i32x4.shl(high, shift), v128.load(to, 16), mask), 16);
  }
}

/** Four values from x on as `quantised` has them. */
// @ts-ignore: decorator
@inline
function quantised4(x: usize, inverse: f32): v128 {
  const sum = f32x4.add(f32x4.mul(v128.load(x), f32x4.splat(inverse)), f32x4.splat(ROUND));
  return i32x4.sub(sum, i32x4.splat(reinterpret<i32>(ROUND)));
}

/** 1.5·2^23: added to a float32 of size up to 2^22 it leaves the nearest integer in the low bits. */
const ROUND: f32 = 12582912;

/** x·inverse to the nearest integer, ties to even; NaN gives 0 in the low half (the scale says NaN then). */
// @ts-ignore: decorator
@inline
export function quantised(x: f32, inverse: f32): i32 {
  return reinterpret<i32>(x * inverse + ROUND) - reinterpret<i32>(ROUND);
}

/** The largest |x| of n values, NaN if there is one. */
function largestSize(x: usize, n: usize): f32 {
  let top = f32x4.splat(0);
  let i: usize = 0;
  for (; i + 4 <= n; i += 4) top = f32x4.max(top, f32x4.abs(v128.load(x + (i << 2))));
  let size = max<f32>(
    max<f32>(f32x4.extract_lane(top, 0), f32x4.extract_lane(top, 1)),
    max<f32>(f32x4.extract_lane(top, 2), f32x4.extract_lane(top, 3)),
  );
  for (; i < n; i++) size = max<f32>(size, abs<f32>(load<f32>(x + (i << 2))));
  return size;
}

/** √Σx² of n values. */
export function norm(x: usize, n: usize): f32 {
  let sums = f32x4.splat(0);
  let i: usize = 0;
  for (; i + 4 <= n; i += 4) {
    const value = v128.load(x + (i << 2));
    sums = f32x4.add(sums, f32x4.mul(value, value));
  }
  let sum = f32x4.extract_lane(sums, 0) + f32x4.extract_lane(sums, 1) + f32x4.extract_lane(sums, 2)
    + f32x4.extract_lane(sums, 3);
  for (; i < n; i++) sum += load<f32>(x + (i << 2)) * load<f32>(x + (i << 2));
  return sqrt<f32>(sum);
}
