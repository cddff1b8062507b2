/** What quantising reads: a block's columns of 4 rows, turned so that a lane is a row, in scratch. */
import { I8_BLOCK } from './quant';
import { rowScratch } from './scratch';
import { BF16, F16, F32, bf16x4, f16x4 } from './widen';

// The scratch area of products' rows: no product runs while a panel is packed.
const TURNED_BYTES: usize = I8_BLOCK * 16;
const ROW_BYTES: usize = I8_BLOCK * 4;

/** Column k of the 4 rows. */
// @ts-ignore: decorator
@inline
export function column(k: usize): usize {
  return rowScratch + (k << 4);
}

/** The rows' largest magnitudes; a NaN's bits are above infinity's. */
// @ts-ignore: decorator
@inline
export function peakBits(): v128 {
  return v128.load(rowScratch, TURNED_BYTES);
}

/** A copy of row r's last values. */
// @ts-ignore: decorator
@inline
export function tailRow(r: usize): usize {
  return rowScratch + TURNED_BYTES + 16 + r * ROW_BYTES;
}

// @ts-ignore: decorator
@inline
export function zeroRow(): usize {
  return tailRow(8);
}

export function zeroTheZeroRow(): void {
  memory.fill(zeroRow(), 0, ROW_BYTES);
}

/** Fills the columns and peakBits from `count` values at each of a, b, c, d. */
// @ts-ignore: decorator
@inline
export function loadHalf(dtype: i32, count: usize, a: usize, b: usize, c: usize, d: usize): void {
  if (dtype == F32) loadF32(count, a, b, c, d);
  else if (dtype == BF16) loadBf16(count, a, b, c, d);
  else loadF16(count, a, b, c, d);
}

function loadF32(count: usize, a: usize, b: usize, c: usize, d: usize): void {
  loadRows(F32, count, a, b, c, d);
}

function loadBf16(count: usize, a: usize, b: usize, c: usize, d: usize): void {
  loadRows(BF16, count, a, b, c, d);
}

function loadF16(count: usize, a: usize, b: usize, c: usize, d: usize): void {
  loadRows(F16, count, a, b, c, d);
}

// @ts-ignore: decorator
@inline
function loadRows(dtype: i32, count: usize, a: usize, b: usize, c: usize, d: usize): void {
  const step: usize = dtype == F32 ? 16 : 8;
  let peak = i32x4.splat(0);
  for (let k: usize = 0; k < count; k += 4) {
    const ra = values4(dtype, a);
    const rb = values4(dtype, b);
    const rc = values4(dtype, c);
    const rd = values4(dtype, d);
    const ab = v128.shuffle<i32>(ra, rb, 0, 4, 1, 5);
    const cd = v128.shuffle<i32>(rc, rd, 0, 4, 1, 5);
    const abHigh = v128.shuffle<i32>(ra, rb, 2, 6, 3, 7);
    const cdHigh = v128.shuffle<i32>(rc, rd, 2, 6, 3, 7);
    const k0 = v128.shuffle<i64>(ab, cd, 0, 2);
    const k1 = v128.shuffle<i64>(ab, cd, 1, 3);
    const k2 = v128.shuffle<i64>(abHigh, cdHigh, 0, 2);
    const k3 = v128.shuffle<i64>(abHigh, cdHigh, 1, 3);
    peak = i32x4.max_s(peak, i32x4.max_s(i32x4.max_s(bits(k0), bits(k1)), i32x4.max_s(bits(k2), bits(k3))));
    v128.store(column(k), k0);
    v128.store(column(k), k1, 16);
    v128.store(column(k), k2, 32);
    v128.store(column(k), k3, 48);
    a += step;
    b += step;
    c += step;
    d += step;
  }
  v128.store(rowScratch, peak, TURNED_BYTES);
}

// @ts-ignore: decorator
@inline
function values4(dtype: i32, at: usize): v128 {
  if (dtype == F32) return v128.load(at);
  return dtype == BF16 ? bf16x4(at) : f16x4(at);
}

/** Magnitudes as integers, which are in the order of the values. */
// @ts-ignore: decorator
@inline
function bits(x: v128): v128 {
  return v128.and(x, i32x4.splat(0x7fffffff));
}
