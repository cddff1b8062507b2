/** One quantised row, or a few, against all panels: bound by reading memory, so everything here serves the stream. */
import { STREAMS } from './blocks';
import { copyBias, copyRows } from './gemm_tile';
import {
  addPairs, addScaled, I4, I4_BLOCK, I4_HEAD, I8, I8_BLOCK, I8_HEAD, minimums4, recordBytes, ROW_HEAD, ROW_HIGH,
  ROW_SHIFT, ROW_TERM, rowRecord, scales4,
} from './quant';
import { BYTE_ONES, end, ONES, step } from './quant_relaxed';
import { quantTotals, tileScratch } from './scratch';

/** Masks in memory, because V8 builds a splat anew at every use. */
const LOW_NIBBLE: usize = memory.data<u16>([0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f], 16);
const HIGH_NIBBLE: usize = memory.data<u16>([0xf0, 0xf0, 0xf0, 0xf0, 0xf0, 0xf0, 0xf0, 0xf0], 16);
const NIBBLES: usize = memory.data<u32>([0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f], 16);

/** A few rows take turns over the panels, which reads the weights from memory once; ldc in bytes. */
// @ts-ignore: decorator
@inline
export function quantGemv(
  dtype: i32, single: bool, out: usize, ldc: usize, qa: usize, w: usize, bias: usize, M: usize, N: usize,
  blocks: usize,
): void {
  const panelBytes = blocks * recordBytes(dtype);
  const rowBytes = blocks * rowRecord(dtype);
  for (let left = N >> 3; left; ) {
    const streams: usize = left < 2 ? 1 : min(STREAMS, left & ~1);
    const each = left / streams;
    for (let i: usize = 0; i < each; i++) {
      for (let row: usize = 0; row < M; row++) {
        panels(dtype, single, out + row * ldc, qa + row * rowBytes, w, bias, streams, each, panelBytes);
      }
      w += panelBytes;
      out += 32;
      if (bias) bias += 32;
    }
    const passed = each * (streams - 1);
    w += passed * panelBytes;
    out += passed << 5;
    if (bias) bias += passed << 5;
    left -= each * streams;
  }
  const columns = N & 7;
  if (columns) {
    if (bias) bias = copyBias(bias, columns);
    for (let row: usize = 0; row < M; row++) {
      panels(dtype, single, tileScratch, qa + row * rowBytes, w, bias, 1, 1, panelBytes);
      copyRows(out + row * ldc, 32, tileScratch, 32, 1, columns);
    }
  }
}

/** k of a block of int8 that are read before the next stream's turn. */
const HALF: usize = I8_BLOCK / 2;

/**
 * The row qa against `streams` panels (one, or an even number), each `apart` panels from the one before, block by
 * block, of int8 in halves: with longer turns too few streams would be under way at a time.
 */
// @ts-ignore: decorator
@inline
function panels(
  dtype: i32, single: bool, out: usize, qa: usize, w: usize, bias: usize, streams: usize, apart: usize,
  panelBytes: usize,
): void {
  const outApart = apart << 5;
  const outEnd = out + streams * outApart;
  for (let to = out; to < outEnd; to += outApart) clear(to);
  apart *= panelBytes;
  for (const end = w + panelBytes; w < end; w += recordBytes(dtype), qa += rowRecord(dtype)) {
    if (dtype == I4) {
      turn(dtype, single, Part.Whole, out, qa, w, streams, apart, outApart);
    } else {
      turn(dtype, single, Part.First, out, qa, w, streams, apart, outApart);
      turn(dtype, single, Part.Second, out, qa, w, streams, apart, outApart);
    }
  }
  if (bias) for (; out < outEnd; out += outApart, bias += outApart) addBias(out, bias);
}

/** What of a block is read before the next stream's turn. Sums of a first half wait in scratch. */
enum Part { Whole, First, Second }

/** Every stream's turn: so much of a block of its panel, and of the row at qa. */
// @ts-ignore: decorator
@inline
function turn(
  dtype: i32, single: bool, part: Part, out: usize, qa: usize, w: usize, streams: usize, apart: usize, outApart: usize,
): void {
  if (streams == 1) block<One>(dtype, single, part, quantTotals, out, 0, qa, w, 0);
  for (let to = out, from = w, sums = quantTotals, s = streams >> 1; s; s--) {
    block<Two>(dtype, single, part, sums, to, to + outApart, qa, from, from + apart);
    to += 2 * outApart;
    from += 2 * apart;
    sums += 64;
  }
}

class One {}
class Two {}

/** A part of one block of one or two panels (the type parameter is the count) and of the row at qa. */
// @ts-ignore: decorator
@inline
function block<Count>(
  dtype: i32, single: bool, part: Part, sums: usize, out0: usize, out1: usize, qa: usize, w0: usize, w1: usize,
): void {
  const scale = v128.load32_splat(qa);
  if (ASC_FEATURE_RELAXED_SIMD) relaxedBlock<Count>(dtype, single, part, sums, out0, out1, qa, w0, w1, scale);
  else if (dtype == I8) bytesBlock<Count>(part, sums, out0, out1, qa, w0, w1, scale);
  else nibblesBlock<Count>(out0, out1, qa, w0, w1, scale);
}

/** int16 rows, int8 weights. */
// @ts-ignore: decorator
@inline
function bytesBlock<Count>(
  part: Part, sums: usize, out0: usize, out1: usize, qa: usize, w0: usize, w1: usize, scale: v128,
): void {
  let c0 = i32x4.splat(0), c1 = i32x4.splat(0), c2 = i32x4.splat(0), c3 = i32x4.splat(0);
  let d0 = i32x4.splat(0), d1 = i32x4.splat(0), d2 = i32x4.splat(0), d3 = i32x4.splat(0);
  const k: usize = part == Part.Second ? HALF : 0;
  let a = qa + ROW_HEAD + 2 * k, p0 = w0 + I8_HEAD + 8 * k, p1 = w1 + I8_HEAD + 8 * k;
  for (const stop = a + 2 * HALF; a < stop; a += 8) {
    const x = v128.load64_splat(a);
    c0 = i32x4.add(c0, i32x4.dot_i16x8_s(x, v128.load8x8_s(p0)));
    c1 = i32x4.add(c1, i32x4.dot_i16x8_s(x, v128.load8x8_s(p0, 8)));
    c2 = i32x4.add(c2, i32x4.dot_i16x8_s(x, v128.load8x8_s(p0, 16)));
    c3 = i32x4.add(c3, i32x4.dot_i16x8_s(x, v128.load8x8_s(p0, 24)));
    p0 += 32;
    if (isTwo<Count>()) {
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(x, v128.load8x8_s(p1)));
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(x, v128.load8x8_s(p1, 8)));
      d2 = i32x4.add(d2, i32x4.dot_i16x8_s(x, v128.load8x8_s(p1, 16)));
      d3 = i32x4.add(d3, i32x4.dot_i16x8_s(x, v128.load8x8_s(p1, 24)));
      p1 += 32;
    }
  }
  finishHalf(part, sums, out0, addPairs(c0, c1), addPairs(c2, c3), w0, scale);
  if (isTwo<Count>()) finishHalf(part, sums + 32, out1, addPairs(d0, d1), addPairs(d2, d3), w1, scale);
}

/**
 * int16 rows, nibbles masked out where they lie in 16-bit lanes: a low one of k, k + 2 as it is, of k + 1, k + 3 after
 * a shift by 8; high ones count 16 times, so their sum (a multiple of 16, under 2²¹) is shifted at the end.
 */
// @ts-ignore: decorator
@inline
function nibblesBlock<Count>(
  out0: usize, out1: usize, qa: usize, w0: usize, w1: usize, scale: v128,
): void {
  const low = v128.load(LOW_NIBBLE), high = v128.load(HIGH_NIBBLE);
  let c0 = i32x4.splat(0), c1 = i32x4.splat(0), d0 = i32x4.splat(0), d1 = i32x4.splat(0);
  let a = qa + ROW_HEAD, p0 = w0 + I4_HEAD, p1 = w1 + I4_HEAD;
  for (const stop = a + 2 * I4_BLOCK; a < stop; a += 8) {
    const even = v128.load32_splat(a), odd = v128.load32_splat(a, 4);
    let bytes = v128.load(p0);
    c0 = i32x4.add(c0, i32x4.dot_i16x8_s(even, v128.and(bytes, low)));
    c1 = i32x4.add(c1, i32x4.dot_i16x8_s(even, v128.and(bytes, high)));
    bytes = i16x8.shr_u(bytes, 8);
    c0 = i32x4.add(c0, i32x4.dot_i16x8_s(odd, v128.and(bytes, low)));
    c1 = i32x4.add(c1, i32x4.dot_i16x8_s(odd, v128.and(bytes, high)));
    p0 += 16;
    if (isTwo<Count>()) {
      bytes = v128.load(p1);
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(even, v128.and(bytes, low)));
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(even, v128.and(bytes, high)));
      bytes = i16x8.shr_u(bytes, 8);
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(odd, v128.and(bytes, low)));
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(odd, v128.and(bytes, high)));
      p1 += 16;
    }
  }
  const term = v128.load32_splat(qa, ROW_TERM);
  finish8(I4, out0, c0, i32x4.shr_s(c1, 4), w0, scale, term);
  if (isTwo<Count>()) finish8(I4, out1, d0, i32x4.shr_s(d1, 4), w1, scale, term);
}

/** Rows and weights in bytes. */
// @ts-ignore: decorator
@inline
function relaxedBlock<Count>(
  dtype: i32, single: bool, part: Part, sums: usize, out0: usize, out1: usize, qa: usize, w0: usize, w1: usize,
  scale: v128,
): void {
  if (dtype == I4) relaxedNibbles<Count>(single, out0, out1, qa, w0, w1, scale);
  else if (load<u32>(qa, ROW_SHIFT)) relaxedBytes<Count>(single, true, part, sums, out0, out1, qa, w0, w1, scale);
  else relaxedBytes<Count>(single, false, part, sums, out0, out1, qa, w0, w1, scale);
}

// @ts-ignore: decorator
@inline
function relaxedNibbles<Count>(
  single: bool, out0: usize, out1: usize, qa: usize, w0: usize, w1: usize, scale: v128,
): void {
  const ones = v128.load(ONES), mask = v128.load(NIBBLES);
  const zero = i32x4.splat(0);
  let c0 = zero, c1 = zero, d0 = zero, d1 = zero;
  let a = qa + ROW_HEAD, p0 = w0 + I4_HEAD, p1 = w1 + I4_HEAD;
  for (const stop = a + I4_BLOCK; a < stop; a += 4) {
    const x = v128.load32_splat(a);
    let bytes = v128.load(p0);
    c0 = step(I4, single, c0, v128.and(bytes, mask), x, ones);
    c1 = step(I4, single, c1, v128.and(i16x8.shr_u(bytes, 4), mask), x, ones);
    p0 += 16;
    if (isTwo<Count>()) {
      bytes = v128.load(p1);
      d0 = step(I4, single, d0, v128.and(bytes, mask), x, ones);
      d1 = step(I4, single, d1, v128.and(i16x8.shr_u(bytes, 4), mask), x, ones);
      p1 += 16;
    }
  }
  const term = v128.load32_splat(qa, ROW_TERM);
  finish8(I4, out0, end(I4, single, c0, ones), end(I4, single, c1, ones), w0, scale, term);
  if (isTwo<Count>()) finish8(I4, out1, end(I4, single, d0, ones), end(I4, single, d1, ones), w1, scale, term);
}

/** `fine`: rows of two bytes. */
// @ts-ignore: decorator
@inline
function relaxedBytes<Count>(
  single: bool, fine: bool, part: Part, sums: usize, out0: usize, out1: usize, qa: usize, w0: usize, w1: usize,
  scale: v128,
): void {
  const ones = v128.load(ONES), byteOnes = v128.load(BYTE_ONES);
  const zero = i32x4.splat(0);
  let c0 = zero, c1 = zero, d0 = zero, d1 = zero;
  let high0 = zero, high1 = zero, high2 = zero, high3 = zero;
  // The sums of the weights, as in sumWeights.
  let s0 = zero, s1 = zero, t0 = zero, t1 = zero;
  const k: usize = part == Part.Second ? HALF : 0;
  let a = qa + ROW_HEAD + k, p0 = w0 + I8_HEAD + 8 * k, p1 = w1 + I8_HEAD + 8 * k;
  for (const stop = a + HALF; a < stop; a += 4) {
    const x = v128.load32_splat(a), y = fine ? v128.load32_splat(a, ROW_HIGH - ROW_HEAD) : x;
    let weights = v128.load(p0);
    c0 = step(I8, single, c0, weights, x, ones);
    if (fine) high0 = step(I8, single, high0, weights, y, ones);
    s0 = i16x8.add(s0, i16x8.relaxed_dot_i8x16_i7x16_s(weights, byteOnes));
    weights = v128.load(p0, 16);
    c1 = step(I8, single, c1, weights, x, ones);
    if (fine) high1 = step(I8, single, high1, weights, y, ones);
    s1 = i16x8.add(s1, i16x8.relaxed_dot_i8x16_i7x16_s(weights, byteOnes));
    p0 += 32;
    if (isTwo<Count>()) {
      weights = v128.load(p1);
      d0 = step(I8, single, d0, weights, x, ones);
      if (fine) high2 = step(I8, single, high2, weights, y, ones);
      t0 = i16x8.add(t0, i16x8.relaxed_dot_i8x16_i7x16_s(weights, byteOnes));
      weights = v128.load(p1, 16);
      d1 = step(I8, single, d1, weights, x, ones);
      if (fine) high3 = step(I8, single, high3, weights, y, ones);
      t1 = i16x8.add(t1, i16x8.relaxed_dot_i8x16_i7x16_s(weights, byteOnes));
      p1 += 32;
    }
  }
  const term = v128.load32_splat(qa, ROW_TERM);
  const shift = load<i32>(qa, ROW_SHIFT);
  finishHalf(
    part, sums, out0, whole(fine, c0, high0, s0, term, shift), whole(fine, c1, high1, s1, term, shift), w0, scale,
  );
  if (isTwo<Count>()) {
    finishHalf(
      part, sums + 32, out1,
      whole(fine, d0, high2, t0, term, shift), whole(fine, d1, high3, t1, term, shift), w1, scale,
    );
  }
}

/** A half's sum: low + the offsets' part, or with two bytes low + (high + the offsets' part) · 2^shift. */
// @ts-ignore: decorator
@inline
function whole(fine: bool, low: v128, high: v128, sums: v128, term: v128, shift: i32): v128 {
  const part = i32x4.dot_i16x8_s(sums, term);
  return i32x4.add(low, fine ? i32x4.shl(i32x4.add(high, part), shift) : part);
}

/** Sums of 8 outputs over half a block of int8: the first half's wait, the second's meet them. */
// @ts-ignore: decorator
@inline
function finishHalf(part: Part, sums: usize, total: usize, c0: v128, c1: v128, w: usize, scale: v128): void {
  if (part == Part.First) {
    v128.store(sums, c0);
    v128.store(sums, c1, 16);
  } else {
    c0 = i32x4.add(c0, v128.load(sums));
    c1 = i32x4.add(c1, v128.load(sums, 16));
    finish8(I8, total, c0, c1, w, scale, scale);
  }
}

// @ts-ignore: decorator
@inline
function finish8(dtype: i32, total: usize, c0: v128, c1: v128, w: usize, scale: v128, term: v128): void {
  addScaled(dtype, total, c0, scales4(w, 0), minimums4(dtype, w, 0), scale, term);
  addScaled(dtype, total + 16, c1, scales4(w, 1), minimums4(dtype, w, 1), scale, term);
}

// @ts-ignore: decorator
@inline
function clear(total: usize): void {
  v128.store(total, f32x4.splat(0));
  v128.store(total, f32x4.splat(0), 16);
}

// @ts-ignore: decorator
@inline
function addBias(total: usize, bias: usize): void {
  v128.store(total, f32x4.add(v128.load(total), v128.load(bias)));
  v128.store(total, f32x4.add(v128.load(total, 16), v128.load(bias, 16)), 16);
}

// @ts-ignore: decorator
@inline
function isTwo<Count>(): bool {
  return idof<Count>() == idof<Two>();
}
