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
/** A row of up to 128 float32. */
const ROW_BYTES: usize = 512;
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

/** In panelScratch: the keys' means, later what channels of V are multiplied with; up to four rows less the means. */
const KEY_MEANS: usize = 0;
const INVERSES: usize = 0;
const LESS: usize = ROW_BYTES;

/** ldk and ldv in bytes. */
function writeHead(
  pages: usize, k: usize, v: usize, indices: usize, count: usize, headDim: usize, ldk: usize, ldv: usize,
): void {
  const first = pageOf(pages, 0);
  const keyMeans = panelScratch + KEY_MEANS, valueMeans = first + meansOffset(headDim);
  meansOf(keyMeans, k, indices, count, headDim, ldk);
  meansOf(valueMeans, v, indices, count, headDim, ldv);
  memory.fill(panelScratch + LESS, 0, 4 * ROW_BYTES);
  let squares: f64 = 0;
  for (let key: usize = 0; key < count; key++) {
    subtract(panelScratch + LESS, k + sourceRow(indices, key) * ldk, keyMeans, headDim);
    squares += writeKey(pageOf(pages, key), key % PAGE, headDim);
  }
  const known = first + keysOffset(headDim);
  store<f32>(known, <f32>sqrt<f64>(squares / <f64>count));
  store<f32>(known, notFinite(keyMeans, headDim), KEYS_FINITE);
  for (let key: usize = 0; key < count; key += PAGE) {
    const scales = pageOf(pages, key) + channelScalesOffset(headDim);
    const n = min(PAGE, count - key);
    memory.fill(scales, 0, channelsOf(headDim) << 2);
    for (let j: usize = 0; j < n; j++) {
      subtract(panelScratch + LESS, v + sourceRow(indices, key + j) * ldv, valueMeans, headDim);
      widen(scales, panelScratch + LESS, channelsOf(headDim));
    }
    invert(panelScratch + INVERSES, scales, channelsOf(headDim));
    for (let j: usize = 0; j < n; j += 4) {
      for (let i: usize = 0; i < 4; i++) {
        const to = panelScratch + LESS + i * ROW_BYTES;
        if (j + i < n) subtract(to, v + sourceRow(indices, key + j + i) * ldv, valueMeans, headDim);
        else memory.fill(to, 0, headDim << 2);
      }
      writeValues(pageOf(pages, key) + smoothValuesOffset(headDim) + (j << 3), headDim);
    }
  }
}

/** The mean of each of headDim channels over `count` rows; not finite where one of them is not. */
function meansOf(out: usize, x: usize, indices: usize, count: usize, headDim: usize, ld: usize): void {
  memory.fill(out, 0, channelsOf(headDim) << 2);
  // Shares are added: a sum of large values could overflow.
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

function subtract(out: usize, x: usize, means: usize, headDim: usize): void {
  let d: usize = 0;
  for (; d + 16 <= headDim << 2; d += 16) v128.store(out + d, f32x4.sub(v128.load(x + d), v128.load(means + d)));
  for (; d < headDim << 2; d += 4) store<f32>(out + d, load<f32>(x + d) - load<f32>(means + d));
}

/** 0, or NaN if one of n values is not finite. */
function notFinite(x: usize, n: usize): f32 {
  let sum: f32 = 0;
  for (const end = x + (n << 2); x < end; x += 4) sum += load<f32>(x) - load<f32>(x);
  return sum;
}

/** The key at LESS, zeros behind it; returns the square of its norm. */
function writeKey(page: usize, slot: usize, headDim: usize): f64 {
  const quads = quadsOf(headDim);
  const from = panelScratch + LESS, end = from + (quads << 4);
  let top4 = f32x4.splat(0), squares = f32x4.splat(0);
  for (let p = from; p < end; p += 16) {
    const x = v128.load(p);
    top4 = f32x4.pmax(top4, f32x4.abs(x));
    squares = f32x4.relaxed_madd(x, x, squares);
  }
  const top = max<f32>(
    max<f32>(f32x4.extract_lane(top4, 0), f32x4.extract_lane(top4, 1)),
    max<f32>(f32x4.extract_lane(top4, 2), f32x4.extract_lane(top4, 3)),
  );
  const inverse = f32x4.splat(inverseOf(LEVELS, top));
  let to = page + ((slot >> 3) * quads * 8 + (slot & 7) << 2);
  let sums = i32x4.splat(0);
  for (let p = from; p < end; p += 16, to += 32) {
    const n = nearest(v128.load(p), inverse);
    sums = i32x4.add(sums, n);
    const n16 = i16x8.narrow_i32x4_s(n, n);
    store<i32>(to, i32x4.extract_lane(i8x16.narrow_i16x8_s(n16, n16), 0));
  }
  const scales = page + keyScalesOffset(headDim) + (slot << 2);
  store<f32>(scales, top / LEVELS);
  store<i32>(scales, -QUERY_ZERO * lanes(sums), KEY_STARTS);
  return <f64>f32x4.extract_lane(squares, 0) + <f64>f32x4.extract_lane(squares, 1)
    + <f64>f32x4.extract_lane(squares, 2) + <f64>f32x4.extract_lane(squares, 3);
}

/** sizes[d] = max(sizes[d], |x[d]|) for n channels, a multiple of 4. */
function widen(sizes: usize, x: usize, n: usize): void {
  for (const end = x + (n << 2); x < end; x += 16, sizes += 16) {
    v128.store(sizes, f32x4.pmax(v128.load(sizes), f32x4.abs(v128.load(x))));
  }
}

/** Sizes to scales, in place, and what values are multiplied with. */
function invert(inverses: usize, sizes: usize, n: usize): void {
  for (let d: usize = 0; d < n << 2; d += 4) {
    const size = load<f32>(sizes + d);
    store<f32>(inverses + d, inverseOf(LEVELS, size));
    store<f32>(sizes + d, size / LEVELS);
  }
}

/** The four values at LESS, zeros behind each, to a group of four keys. */
function writeValues(to: usize, headDim: usize): void {
  const inverses = panelScratch + INVERSES, less = panelScratch + LESS;
  for (let d: usize = 0; d < channelsOf(headDim) << 2; d += 32, to += PAGE * 8) {
    v128.store(to, beside(less + d, v128.load(inverses + d)));
    v128.store(to, beside(less + d + 16, v128.load(inverses + d, 16)), 16);
  }
}

/** What a value of size `top` is multiplied with to become `levels`; 0 where that would overflow or is not defined. */
// @ts-ignore: decorator
@inline
export function inverseOf(levels: f32, top: f32): f32 {
  const inverse: f32 = levels / top;
  return inverse < Infinity ? inverse : 0;
}

/** Four channels of four rows as bytes, those of a channel side by side. */
// @ts-ignore: decorator
@inline
function beside(x: usize, inverse: v128): v128 {
  const mask = i32x4.splat(0xff);
  const n0 = v128.and(nearest(v128.load(x), inverse), mask);
  const n1 = v128.and(nearest(v128.load(x, ROW_BYTES), inverse), mask);
  const n2 = v128.and(nearest(v128.load(x, 2 * ROW_BYTES), inverse), mask);
  const n3 = nearest(v128.load(x, 3 * ROW_BYTES), inverse);
  return v128.or(
    v128.or(n0, i32x4.shl(n1, 8)), v128.or(i32x4.shl(n2, 16), i32x4.shl(n3, 24)),
  );
}

/** Four values times `inverse` to the nearest integers; of what is no number, some. */
// @ts-ignore: decorator
@inline
export function nearest(x: v128, inverse: v128): v128 {
  return i32x4.sub(f32x4.relaxed_madd(x, inverse, f32x4.splat(ROUND)), i32x4.splat(reinterpret<i32>(ROUND)));
}

// @ts-ignore: decorator
@inline
function lanes(x: v128): i32 {
  return i32x4.extract_lane(x, 0) + i32x4.extract_lane(x, 1) + i32x4.extract_lane(x, 2) + i32x4.extract_lane(x, 3);
}
