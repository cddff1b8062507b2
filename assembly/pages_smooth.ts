/**
 * Pages of 128 keys in int8 for the 7-bit dot product. What a head's keys have in common is taken off before they are
 * quantised: a softmax does not change when every score changes by the same q·mean, and the channels that all keys have
 * large values in would take the steps of the others. The values' mean is added to the mixture at the end.
 *
 * One page: K as panels over keys with four channels side by side `[16][ceil(headDim/4)][8][4]`, V as panels over
 * channels with four keys side by side `[ceil(headDim/8)][32][8][4]`, then for each key a float32 scale and what its
 * sums begin with (below), for each channel of V a float32 scale (of this page) and the mean (of all keys; only in the
 * head's first page), and there what is known of all keys: the square root of their mean |k − mean|², and 0, or NaN
 * where one is not finite.
 */
import { channelsOf, PAGE, pageOf, sourceRow } from './pages';
import { panelScratch } from './scratch';

/** Queries are 64 + q in 7 bits (8192 + q in 14): the sums of a key begin with −64 · its sum. */
const QUERY_ZERO: i32 = 64;
const LEVELS: f32 = 127;
/** 1.5·2^23: added to a float32 of size up to 2^22 it leaves the nearest integer in the low bits. */
const ROUND: f32 = 12582912;

/** Groups of four channels of a key. */
// @ts-ignore: decorator
@inline
export function quadsOf(headDim: usize): usize {
  return (headDim + 3) >> 2;
}

/** Offset of V in a page. */
// @ts-ignore: decorator
@inline
export function smoothValuesOffset(headDim: usize): usize {
  return PAGE * 4 * quadsOf(headDim);
}

/** Offset of the keys' scales; what their sums begin with follows. */
// @ts-ignore: decorator
@inline
export function keyScalesOffset(headDim: usize): usize {
  return smoothValuesOffset(headDim) + PAGE * channelsOf(headDim);
}

export const KEY_STARTS: usize = PAGE * 4;

/** Offset of the scales of V's channels. */
// @ts-ignore: decorator
@inline
export function channelScalesOffset(headDim: usize): usize {
  return keyScalesOffset(headDim) + 2 * KEY_STARTS;
}

/** Offset of the means of V's channels. */
// @ts-ignore: decorator
@inline
export function meansOffset(headDim: usize): usize {
  return channelScalesOffset(headDim) + (channelsOf(headDim) << 2);
}

/** Offset of what is known of all keys: their size, and KEYS_FINITE further on 0 or NaN. */
// @ts-ignore: decorator
@inline
export function keysOffset(headDim: usize): usize {
  return meansOffset(headDim) + (channelsOf(headDim) << 2);
}

export const KEYS_FINITE: usize = 4;

/** Writes all keys and values of each head, `count` of them. `start` is 0: the means are of all of them. */
export function s8_kv_write(
  pages: usize, k: usize, v: usize, indices: usize, count: usize, start: usize, headDim: usize, ldk: usize, ldv: usize,
  heads: usize, pageCount: usize,
): void {
  if (!ASC_FEATURE_RELAXED_SIMD || start) unreachable();
  if (ASC_FEATURE_RELAXED_SIMD && count > 0) {
    for (; heads; heads--) {
      writeHead(pages, k, v, indices, count, headDim, ldk << 2, ldv << 2);
      pages += pageCount << 2;
      k += headDim << 2;
      v += headDim << 2;
    }
  }
}

function writeHead(
  pages: usize, k: usize, v: usize, indices: usize, count: usize, headDim: usize, ldk: usize, ldv: usize,
): void {
  const first = pageOf(pages, 0);
  const means = panelScratch;
  meansOf(means, k, indices, count, headDim, ldk);
  meansOf(first + meansOffset(headDim), v, indices, count, headDim, ldv);
  let squares: f64 = 0;
  for (let key: usize = 0; key < count; key++) {
    squares += writeKey(
      pageOf(pages, key), key % PAGE, k + sourceRow(indices, key) * ldk, means, headDim,
    );
  }
  const keys = first + keysOffset(headDim);
  store<f32>(keys, <f32>sqrt<f64>(squares / <f64>count));
  store<f32>(keys, notFinite(means, headDim), KEYS_FINITE);
  for (let key: usize = 0; key < count; key += PAGE) {
    writeValues(
      pageOf(pages, key), v, indices, key, min(PAGE, count - key), first + meansOffset(headDim), headDim, ldv,
    );
  }
}

/** The mean of each of headDim channels over `count` rows; NaN or infinite where one of them is not finite. */
function meansOf(out: usize, x: usize, indices: usize, count: usize, headDim: usize, ld: usize): void {
  memory.fill(out, 0, channelsOf(headDim) << 2);
  const share: f32 = 1 / <f32>count;
  const share4 = f32x4.splat(share);
  for (let j: usize = 0; j < count; j++) {
    const row = x + sourceRow(indices, j) * ld;
    let d: usize = 0;
    for (; d + 16 <= headDim << 2; d += 16) {
      v128.store(out + d, f32x4.relaxed_madd(v128.load(row + d), share4, v128.load(out + d)));
    }
    for (; d < headDim << 2; d += 4) store<f32>(out + d, load<f32>(out + d) + load<f32>(row + d) * share);
  }
}

/** 0, or NaN if one of the values is not finite. */
function notFinite(x: usize, n: usize): f32 {
  let sum: f32 = 0;
  for (const end = x + (n << 2); x < end; x += 4) sum += load<f32>(x) - load<f32>(x);
  return sum;
}

/** One key less the means; returns the square of its norm. */
function writeKey(page: usize, slot: usize, k: usize, means: usize, headDim: usize): f64 {
  const less = panelScratch + 2048;
  const quads = quadsOf(headDim);
  let d: usize = 0;
  for (; d < headDim; d++) store<f32>(less + (d << 2), load<f32>(k + (d << 2)) - load<f32>(means + (d << 2)));
  for (; d < quads << 2; d++) store<f32>(less + (d << 2), 0);
  let top4 = f32x4.splat(0), squares = f32x4.splat(0);
  for (let i: usize = 0; i < quads << 4; i += 16) {
    const x = v128.load(less + i);
    top4 = f32x4.pmax(top4, f32x4.abs(x));
    squares = f32x4.relaxed_madd(x, x, squares);
  }
  const top = max<f32>(
    max<f32>(f32x4.extract_lane(top4, 0), f32x4.extract_lane(top4, 1)),
    max<f32>(f32x4.extract_lane(top4, 2), f32x4.extract_lane(top4, 3)),
  );
  const inverse = inverseOf(LEVELS, top);
  const inverse4 = f32x4.splat(inverse);
  let to = page + ((slot >> 3) * quads * 8 + (slot & 7) << 2);
  let sums = i32x4.splat(0);
  for (let i: usize = 0; i < quads << 4; i += 16, to += 32) {
    const n = nearest(v128.load(less + i), inverse4);
    sums = i32x4.add(sums, n);
    store<u32>(to, bytes(n));
  }
  const scales = page + keyScalesOffset(headDim) + (slot << 2);
  store<f32>(scales, top / LEVELS);
  store<i32>(scales, -QUERY_ZERO * lanes(sums), KEY_STARTS);
  return <f64>f32x4.extract_lane(squares, 0) + <f64>f32x4.extract_lane(squares, 1)
    + <f64>f32x4.extract_lane(squares, 2) + <f64>f32x4.extract_lane(squares, 3);
}

/** What a value of size `top` is multiplied with to become `levels`; 0 where that would overflow or is not defined. */
// @ts-ignore: decorator
@inline
export function inverseOf(levels: f32, top: f32): f32 {
  const inverse: f32 = levels / top;
  return inverse < Infinity ? inverse : 0;
}

/** A page's values less the means, four keys at a time; of keys that are missing zeros. */
function writeValues(
  page: usize, v: usize, indices: usize, key: usize, count: usize, means: usize, headDim: usize, ldv: usize,
): void {
  const scales = page + channelScalesOffset(headDim);
  memory.fill(scales, 0, channelsOf(headDim) << 2);
  for (let j: usize = 0; j < count; j++) {
    const row = v + sourceRow(indices, key + j) * ldv;
    let d: usize = 0;
    for (; d + 16 <= headDim << 2; d += 16) {
      const size = f32x4.abs(f32x4.sub(v128.load(row + d), v128.load(means + d)));
      v128.store(scales + d, f32x4.pmax(v128.load(scales + d), size));
    }
    for (; d < headDim << 2; d += 4) {
      const size = abs<f32>(load<f32>(row + d) - load<f32>(means + d));
      if (size > load<f32>(scales + d)) store<f32>(scales + d, size);
    }
  }
  const inverses = panelScratch;
  for (let d: usize = 0; d < channelsOf(headDim) << 2; d += 4) {
    store<f32>(inverses + d, inverseOf(LEVELS, load<f32>(scales + d)));
    store<f32>(scales + d, load<f32>(scales + d) / LEVELS);
  }
  const less = panelScratch + 1024;
  for (let j: usize = 0; j < count; j += 4) {
    memory.fill(less, 0, 4 * 512);
    for (let i: usize = 0; i < min<usize>(4, count - j); i++) {
      const row = v + sourceRow(indices, key + j + i) * ldv;
      const to = less + (i << 9);
      let d: usize = 0;
      for (; d + 16 <= headDim << 2; d += 16) v128.store(to + d, f32x4.sub(v128.load(row + d), v128.load(means + d)));
      for (; d < headDim << 2; d += 4) store<f32>(to + d, load<f32>(row + d) - load<f32>(means + d));
    }
    let to = page + smoothValuesOffset(headDim) + (j << 3);
    for (let d: usize = 0; d < channelsOf(headDim) << 2; d += 32, to += PAGE * 8) {
      v128.store(to, beside(less + d, v128.load(inverses + d)));
      v128.store(to, beside(less + d + 16, v128.load(inverses + d, 16)), 16);
    }
  }
}

/** Four channels of four keys, 512 bytes apart, as bytes. */
// @ts-ignore: decorator
@inline
function beside(x: usize, inverse: v128): v128 {
  const mask = i32x4.splat(0xff);
  const low = v128.or(
    v128.and(nearest(v128.load(x), inverse), mask),
    i32x4.shl(v128.and(nearest(v128.load(x, 512), inverse), mask), 8),
  );
  const high = v128.or(
    v128.and(nearest(v128.load(x, 1024), inverse), mask),
    i32x4.shl(nearest(v128.load(x, 1536), inverse), 8),
  );
  return v128.or(low, i32x4.shl(high, 16));
}

/** Four values times `inverse` to the nearest integers; of what is no number, some. */
// @ts-ignore: decorator
@inline
export function nearest(x: v128, inverse: v128): v128 {
  return i32x4.sub(f32x4.relaxed_madd(x, inverse, f32x4.splat(ROUND)), i32x4.splat(reinterpret<i32>(ROUND)));
}

/** Four integers as signed bytes. */
// @ts-ignore: decorator
@inline
function bytes(x: v128): u32 {
  x = i16x8.narrow_i32x4_s(x, x);
  return i32x4.extract_lane(i8x16.narrow_i16x8_s(x, x), 0);
}

// @ts-ignore: decorator
@inline
function lanes(x: v128): i32 {
  return i32x4.extract_lane(x, 0) + i32x4.extract_lane(x, 1) + i32x4.extract_lane(x, 2) + i32x4.extract_lane(x, 3);
}
