/** What is done once for many tiles: rows spread out for them, and panels made ready. */
import { K_BLOCK, ROW_BLOCK } from './blocks';
import { I4, I8, I8_RECORD, recordBytes, ROW_HEAD, ROW_RECORD, scales4, SCALES } from './quant';
import { quantHeadScratch, quantPanelScratch } from './scratch';

/** Four rows' scales (and corrections, relaxed build) in four equal lanes each. */
export const SPREAD_HEAD: usize = ASC_FEATURE_RELAXED_SIMD ? 128 : 64;
/** One block of a tile's four rows: the head, then [8 groups of 4 k][4 rows][16 bytes: the 4 k over and over]. */
export const SPREAD_RECORD: usize = SPREAD_HEAD + 8 * 4 * 16;
/** A block's 8 float32 scales, then (relaxed build, I8) the sums of its weights as in relaxed.ts. */
export const HEAD_RECORD: usize = 64;

/** Rows (each rowBytes long) to tiles of four, [blocks][SPREAD_RECORD]; rows that are missing become zeros. */
export function spreadRows(dtype: i32, s: usize, qa: usize, rowBytes: usize, rows: usize, blocks: usize): void {
  const tileBytes = blocks * SPREAD_RECORD;
  for (let row: usize = 0; row < rows; row += 4, s += tileBytes) {
    if (rows - row < 4) memory.fill(s, 0, tileBytes);
    for (let r: usize = 0; r < min<usize>(4, rows - row); r++) {
      let from = qa + (row + r) * rowBytes;
      for (let to = s + (r << 4); to < s + tileBytes; to += SPREAD_RECORD, from += ROW_RECORD) {
        v128.store(to, v128.load32_splat(from));
        if (ASC_FEATURE_RELAXED_SIMD) v128.store(to, v128.load32_splat(from, 4), 64);
        spreadValues(dtype, to + SPREAD_HEAD, from + ROW_HEAD);
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function spreadValues(dtype: i32, to: usize, from: usize): void {
  for (const end = to + 8 * 64; to < end; to += 64) {
    if (ASC_FEATURE_RELAXED_SIMD) {
      v128.store(to, v128.load32_splat(from));
      from += 4;
    } else {
      let values = v128.load64_splat(from);
      if (dtype == I4) values = v128.shuffle<i16>(values, values, 0, 2, 1, 3, 0, 2, 1, 3);
      v128.store(to, values);
      from += 8;
    }
  }
}

/** Fills quantHeadScratch for some blocks of a panel and gives the place of their weights as bytes, I8_RECORD apart. */
// @ts-ignore: decorator
@inline
export function preparePanel(dtype: i32, w: usize, blocks: usize): usize {
  const panel = dtype == I8 ? w : quantPanelScratch;
  const end = w + blocks * recordBytes(dtype);
  let head = quantHeadScratch;
  for (let to = quantPanelScratch; w < end; w += recordBytes(dtype), head += HEAD_RECORD) {
    v128.store(head, scales4(w, 0));
    v128.store(head, scales4(w, 1), 16);
    if (dtype == I4) {
      unpack(to + SCALES, w + SCALES);
      to += I8_RECORD;
    } else if (ASC_FEATURE_RELAXED_SIMD) {
      sumWeights(head + 32, w + SCALES);
    }
  }
  return panel;
}

/** Nibbles to bytes: q in the plain build, q + 8 in the relaxed one. */
// @ts-ignore: decorator
@inline
function unpack(to: usize, from: usize): void {
  const mask = i8x16.splat(0x0f), eight = i8x16.splat(8);
  for (const end = from + 128; from < end; from += 16, to += 32) {
    const bytes = v128.load(from);
    let low = v128.and(bytes, mask), high = i8x16.shr_u(bytes, 4);
    if (!ASC_FEATURE_RELAXED_SIMD) {
      low = i8x16.sub(low, eight);
      high = i8x16.sub(high, eight);
    }
    v128.store(to, low);
    v128.store(to, high, 16);
  }
}

/** Per output the sums of the weights k, k + 1 of all groups and k + 2, k + 3: 16 · 127 at most each. */
// @ts-ignore: decorator
@inline
function sumWeights(to: usize, from: usize): void {
  const ones = i8x16.splat(1);
  let low = i16x8.splat(0), high = i16x8.splat(0);
  for (const end = from + 256; from < end; from += 32) {
    low = i16x8.add(low, i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(from), ones));
    high = i16x8.add(high, i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(from, 16), ones));
  }
  v128.store(to, low);
  v128.store(to, high, 16);
}

/** What the spread rows may take of rowScratch. */
export const SPREAD_BYTES: usize = ROW_BLOCK * K_BLOCK * 16;
