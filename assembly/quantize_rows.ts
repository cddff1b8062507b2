/**
 * The values of quantised panels from and to the rows that a file holds: int8 `[rows][K]`, or nibbles
 * `[rows][ceil(K/2)]` (an even k in the low half of its byte). Scales and minimums: panel8_put_scales and
 * panel8_take_scales, panel.ts.
 */
import { blocksOf, I4, I4_BLOCK, I4_HEAD, I4_RECORD, I8, I8_BLOCK, I8_HEAD, I8_RECORD } from './quant';
import { tailRow, zeroRow, zeroTheZeroRow } from './quantize_source';

/** −1, or r·K + k of the first q of −128 of the first block and half of the rows with one. */
export function i8_repack(out: usize, q: usize, rows: usize, K: usize): i32 {
  zeroTheZeroRow();
  const blocks = blocksOf(I8, K);
  for (let block: usize = 0; block < blocks; block++, out += I8_RECORD) {
    const k = block * I8_BLOCK;
    const whole = k + I8_BLOCK <= K;
    if (!whole) copyTails(q + k, rows, K - k, K);
    for (let r: usize = 0; r < 8; r += 4) {
      const a = rowAt(q, r, rows, k, K, whole);
      const b = rowAt(q, r + 1, rows, k, K, whole);
      const c = rowAt(q, r + 2, rows, k, K, whole);
      const d = rowAt(q, r + 3, rows, k, K, whole);
      for (let i: usize = 0; i < I8_BLOCK; i += 16) {
        const least = i8x16.min_s(
          i8x16.min_s(v128.load(a + i), v128.load(b + i)), i8x16.min_s(v128.load(c + i), v128.load(d + i)),
        );
        if (v128.any_true(i8x16.eq(least, i8x16.splat(-128)))) return firstLeast(q, r, rows, k, K);
        turn(out + I8_HEAD + r * 4 + i * 8, 32, v128.load(a + i), v128.load(b + i), v128.load(c + i), v128.load(d + i));
      }
    }
  }
  return -1;
}

/** −1: every nibble has its place. */
export function i4_repack(out: usize, q: usize, rows: usize, K: usize): i32 {
  zeroTheZeroRow();
  const blocks = blocksOf(I4, K);
  const stride = (K + 1) >> 1;
  for (let block: usize = 0; block < blocks; block++, out += I4_RECORD) {
    const k = block * I4_BLOCK;
    const whole = k + I4_BLOCK <= K;
    if (!whole) copyNibbleTails(q + (k >> 1), rows, K - k, stride);
    const r0 = nibblePair(q, 0, rows, k >> 1, stride, whole, 0);
    const r1 = nibblePair(q, 1, rows, k >> 1, stride, whole, 0);
    const r2 = nibblePair(q, 2, rows, k >> 1, stride, whole, 0);
    const r3 = nibblePair(q, 3, rows, k >> 1, stride, whole, 0);
    turn(out + I4_HEAD, 16, r0, r1, r2, r3);
    const s0 = nibblePair(q, 0, rows, k >> 1, stride, whole, 1);
    const s1 = nibblePair(q, 1, rows, k >> 1, stride, whole, 1);
    const s2 = nibblePair(q, 2, rows, k >> 1, stride, whole, 1);
    const s3 = nibblePair(q, 3, rows, k >> 1, stride, whole, 1);
    turn(out + I4_HEAD + 64, 16, s0, s1, s2, s3);
  }
  return -1;
}

/** The first `rows` rows of a panel as a file has them. */
export function i8_unpack_rows(q: usize, panel: usize, rows: usize, K: usize): void {
  const blocks = blocksOf(I8, K);
  for (let block: usize = 0; block < blocks; block++, panel += I8_RECORD) {
    const k = block * I8_BLOCK;
    for (let r: usize = 0; r < 8; r += 4) {
      for (let i: usize = 0; i < I8_BLOCK; i += 16) {
        turnBack(tailRow(r) + i, panel + I8_HEAD + r * 4 + i * 8, 32);
      }
    }
    storeRows(q + k, rows, min(I8_BLOCK, K - k), K);
  }
}

export function i4_unpack_rows(q: usize, panel: usize, rows: usize, K: usize): void {
  const blocks = blocksOf(I4, K);
  for (let block: usize = 0; block < blocks; block++, panel += I4_RECORD) {
    const k = block * I4_BLOCK;
    // The rows' nibbles in pairs: row r's in the low halves of 32 bytes, row r + 4's in the high halves.
    turnBack(tailRow(0), panel + I4_HEAD, 16);
    turnBack(tailRow(0) + 16, panel + I4_HEAD + 64, 16);
    for (let r: usize = 0; r < 4; r++) {
      const first = v128.load(tailRow(r));
      const second = v128.load(tailRow(r) + 16);
      const low = i8x16.splat(0xf);
      v128.store(tailRow(r), joinNibbles(v128.and(first, low), v128.and(second, low)));
      v128.store(tailRow(r + 4), joinNibbles(i8x16.shr_u(first, 4), i8x16.shr_u(second, 4)));
    }
    storeRows(q + (k >> 1), rows, min(I4_BLOCK, K - k + 1) >> 1, (K + 1) >> 1);
  }
}

/** Where the bytes of row r from byte `at` on begin: zeros behind the last row, a padded copy in the last block. */
// @ts-ignore: decorator
@inline
function rowAt(q: usize, r: usize, rows: usize, at: usize, stride: usize, whole: bool): usize {
  if (r >= rows) return zeroRow();
  return whole ? q + r * stride + at : tailRow(r);
}

function copyTails(q: usize, rows: usize, bytes: usize, stride: usize): void {
  for (let r: usize = 0; r < rows; r++) {
    memory.fill(tailRow(r), 0, I8_BLOCK);
    memory.copy(tailRow(r), q + r * stride, bytes);
  }
}

/** The last `count` nibbles of each row, filled up with q = 0. */
function copyNibbleTails(q: usize, rows: usize, count: usize, stride: usize): void {
  for (let r: usize = 0; r < rows; r++) {
    memory.fill(tailRow(r), 0, I4_BLOCK >> 1);
    memory.copy(tailRow(r), q + r * stride, (count + 1) >> 1);
    if (count & 1) {
      const last = tailRow(r) + (count >> 1);
      store<u8>(last, load<u8>(last) & 0xf);
    }
  }
}

/** 16 k (the block's first or second) of row r in the low halves of the bytes, of row r + 4 in the high halves. */
// @ts-ignore: decorator
@inline
function nibblePair(q: usize, r: usize, rows: usize, at: usize, stride: usize, whole: bool, part: i32): v128 {
  const low = spreadNibbles(rowAt(q, r, rows, at, stride, whole), part);
  const high = spreadNibbles(rowAt(q, r + 4, rows, at, stride, whole), part);
  return v128.or(low, i8x16.shl(high, 4));
}

// @ts-ignore: decorator
@inline
function spreadNibbles(at: usize, part: i32): v128 {
  const both = v128.load64_zero(at + <usize>part * 8);
  const even = v128.and(both, i8x16.splat(0xf));
  const odd = i8x16.shr_u(both, 4);
  return v128.shuffle<i8>(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

/** 32 bytes with a nibble each to 16 bytes. */
// @ts-ignore: decorator
@inline
function joinNibbles(first: v128, second: v128): v128 {
  const even = v128.shuffle<i8>(first, second, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const odd = v128.shuffle<i8>(first, second, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  return v128.or(even, i8x16.shl(odd, 4));
}

/** Four rows of 4 words to four groups `step` bytes apart, each with one word of every row. */
// @ts-ignore: decorator
@inline
function turn(out: usize, step: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
  const cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  const abHigh = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  const cdHigh = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  v128.store(out, v128.shuffle<i64>(ab, cd, 0, 2));
  v128.store(out + step, v128.shuffle<i64>(ab, cd, 1, 3));
  v128.store(out + 2 * step, v128.shuffle<i64>(abHigh, cdHigh, 0, 2));
  v128.store(out + 3 * step, v128.shuffle<i64>(abHigh, cdHigh, 1, 3));
}

/** The same back: to four tail rows, 128 bytes apart. */
// @ts-ignore: decorator
@inline
function turnBack(out: usize, from: usize, step: usize): void {
  turn(
    out, tailRow(1) - tailRow(0),
    v128.load(from), v128.load(from + step), v128.load(from + 2 * step), v128.load(from + 3 * step),
  );
}

/** The first `bytes` bytes of the tail rows to rows of the file. */
function storeRows(q: usize, rows: usize, bytes: usize, stride: usize): void {
  for (let r: usize = 0; r < rows; r++) {
    const to = q + r * stride, from = tailRow(r);
    let at: usize = 0;
    for (; at + 16 <= bytes; at += 16) v128.store(to + at, v128.load(from + at));
    if (at < bytes) memory.copy(to + at, from + at, bytes - at);
  }
}

function firstLeast(q: usize, first: usize, rows: usize, k: usize, K: usize): i32 {
  for (let r = first; r < rows; r++) {
    for (let i = k; i < min(k + I8_BLOCK, K); i++) if (load<i8>(q + r * K + i) == -128) return <i32>(r * K + i);
  }
  return unreachable();
}
