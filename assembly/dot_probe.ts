/** What dot-form.ts times: the 7-bit dot product in each of its two forms (quant_relaxed.ts), and nothing else. */
import { I8 } from './quant';
import { ONES, step } from './quant_relaxed';
import { rowScratch } from './scratch';

/** `turns` times eight products; a sum of theirs, or a compiler could leave them out. */
export function dot_probe(form: i32, turns: i32): i32 {
  if (!ASC_FEATURE_RELAXED_SIMD) return 0;
  return form ? products(true, turns) : products(false, turns);
}

/** Four weights × two rows: what they are does not matter, but no two products of a turn, or of turns, are the same. */
// @ts-ignore: decorator
@inline
function products(single: bool, turns: i32): i32 {
  const ones = v128.load(ONES);
  let c0 = ones, c1 = ones, c2 = ones, c3 = ones, c4 = ones, c5 = ones, c6 = ones, c7 = ones;
  for (; turns; turns--) {
    const from = rowScratch + (<usize>(turns & 15) << 7);
    const x = v128.load(from), y = v128.load(from, 16);
    let w = v128.load(from, 32);
    c0 = step(I8, single, c0, w, x, ones);
    c1 = step(I8, single, c1, w, y, ones);
    w = v128.load(from, 48);
    c2 = step(I8, single, c2, w, x, ones);
    c3 = step(I8, single, c3, w, y, ones);
    w = v128.load(from, 64);
    c4 = step(I8, single, c4, w, x, ones);
    c5 = step(I8, single, c5, w, y, ones);
    w = v128.load(from, 80);
    c6 = step(I8, single, c6, w, x, ones);
    c7 = step(I8, single, c7, w, y, ones);
  }
  const low = i32x4.add(i32x4.add(c0, c1), i32x4.add(c2, c3)), high = i32x4.add(i32x4.add(c4, c5), i32x4.add(c6, c7));
  return i32x4.extract_lane(i32x4.add(low, high), 0);
}
