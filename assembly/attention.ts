/**
 * One head's attention over keys and values in pages of 128 keys: K as panels over keys `[16][headDim][8]`, behind it V
 * as panels over channels `[ceil(headDim/8)][128][8]`, so that scores and outputs are matrix products of panels.
 * A page of V is one K-block of the product, aligned to the key's own index.
 */
import { gemm_f32 } from './gemm_f32';
import { softmaxRow } from './softmax';

const PAGE: usize = 128;
/** Rows whose scores are made together: enough for the tiles, few enough that their scores stay in the cache. */
const ROW_GROUP: usize = 32;

/** Writes `count` keys and values to key indices start, start + 1, … of the pages. */
export function f32_kv_write(
  pages: usize, k: usize, v: usize, indices: usize, count: usize, start: usize, headDim: usize, ldk: usize, ldv: usize,
): void {
  const channels = (headDim + 7) & ~7;
  for (let j: usize = 0; j < count; j++) {
    const key = start + j;
    const row = indices ? <usize>load<u32>(indices + (j << 2)) : j;
    const page = <usize>load<u32>(pages + (key / PAGE << 2));
    const slot = key % PAGE;

    let from = k + ((row * ldk) << 2);
    let to = page + (((slot >> 3) * headDim * 8 + (slot & 7)) << 2);
    for (let d: usize = 0; d < headDim; d++, from += 4, to += 32) store<f32>(to, load<f32>(from));

    from = v + ((row * ldv) << 2);
    to = page + ((PAGE * headDim + slot * 8) << 2);
    for (let c: usize = 0; c < channels; c++, from += 4) {
      store<f32>(to + ((c >> 3) * (PAGE * 32) + ((c & 7) << 2)), c < headDim ? load<f32>(from) : 0);
    }
  }
}

/** out[r] = softmax(scale · q[r]·Kᵀ) · V over the keys that row r sees. */
export function f32_attention(
  out: usize, q: usize, pages: usize, probs: usize, rows: usize, keys: usize, causalStart: i32, headDim: usize,
  ldq: usize, ldo: usize, scale: f32,
): void {
  const ldp = (keys + PAGE - 1) / PAGE * PAGE;
  for (let r: usize = 0; r < rows; r += ROW_GROUP) {
    const count = min(ROW_GROUP, rows - r);
    // What the last row of the group sees; the others see a part of it, and have probability 0 for the rest.
    const seen = visible(r + count - 1, keys, causalStart);
    const p = probs + ((r * ldp) << 2);
    scores(p, q + ((r * ldq) << 2), pages, count, seen, headDim, ldq, ldp);
    for (let i: usize = 0; i < count; i++) {
      const n = visible(r + i, keys, causalStart);
      const row = p + ((i * ldp) << 2);
      if (n) softmaxRow(row, n, scale);
      memory.fill(row + (n << 2), 0, (((keys + 7) & ~7) - n) << 2);
    }
    mix(out + ((r * ldo) << 2), p, pages, count, seen, headDim, ldo, ldp);
  }
}

/** How many keys row r sees. */
// @ts-ignore: decorator
@inline
function visible(r: usize, keys: usize, causalStart: i32): usize {
  return causalStart < 0 ? keys : min(keys, <usize>causalStart + r + 1);
}

/** probs[rows][keys] = q · Kᵀ, page by page. */
function scores(
  probs: usize, q: usize, pages: usize, rows: usize, keys: usize, headDim: usize, ldq: usize, ldp: usize,
): void {
  for (let key: usize = 0; key < keys; key += PAGE, probs += PAGE << 2, pages += 4) {
    gemm_f32(probs, q, load<u32>(pages), 0, rows, min(PAGE, keys - key), headDim, headDim, ldq, ldp, false);
  }
}

/** out[rows][headDim] = probs · V, page by page. */
function mix(
  out: usize, probs: usize, pages: usize, rows: usize, keys: usize, headDim: usize, ldo: usize, ldp: usize,
): void {
  if (keys == 0) gemm_f32(out, probs, 0, 0, rows, headDim, 0, PAGE, ldp, ldo, false);
  for (let key: usize = 0; key < keys; key += PAGE, probs += PAGE << 2, pages += 4) {
    const values = <usize>load<u32>(pages) + ((PAGE * headDim) << 2);
    gemm_f32(out, probs, values, 0, rows, headDim, min(PAGE, keys - key), PAGE, ldp, ldo, key > 0);
  }
}
