/** Rows as the tiles read them: each value in four equal lanes, the rows of a tile side by side. */
import { TILE_ROWS } from './blocks';

/** Rows of `a` (lda in bytes) in tiles of TILE_ROWS and what is left over, each `[K][rows][4 equal lanes]`. */
export function spreadRows(s: usize, a: usize, lda: usize, M: usize, K: usize): void {
  for (let row: usize = 0; row < M; row += TILE_ROWS) {
    const rows = min(TILE_ROWS, M - row);
    const step = rows << 4;
    for (let r: usize = 0; r < rows; r++, a += lda) spreadRow(false, s + (r << 4), step, a, K, a);
    s += K * step;
  }
}

/** The same of rows that are first divided in place, row i by the float32 at sums + 4·i. */
export function spreadQuotients(s: usize, a: usize, lda: usize, M: usize, K: usize, sums: usize): void {
  for (let row: usize = 0; row < M; row += TILE_ROWS) {
    const rows = min(TILE_ROWS, M - row);
    const step = rows << 4;
    for (let r: usize = 0; r < rows; r++, a += lda, sums += 4) spreadRow(true, s + (r << 4), step, a, K, sums);
    s += K * step;
  }
}

/** K values, each four times, `step` bytes apart. `divide` is a constant wherever this is called. */
// @ts-ignore: decorator
@inline
export function spreadRow(divide: bool, to: usize, step: usize, from: usize, K: usize, divisor: usize): void {
  const sum = v128.load_splat<f32>(divisor);
  const whole = from + ((K & ~3) << 2);
  const end = from + (K << 2);
  const step2 = step << 1;
  for (; from < whole; from += 16) {
    let x = v128.load(from);
    if (divide) {
      x = f32x4.div(x, sum);
      v128.store(from, x);
    }
    v128.store(to, v128.shuffle<i32>(x, x, 0, 0, 0, 0));
    v128.store(to + step, v128.shuffle<i32>(x, x, 1, 1, 1, 1));
    to += step2;
    v128.store(to, v128.shuffle<i32>(x, x, 2, 2, 2, 2));
    v128.store(to + step, v128.shuffle<i32>(x, x, 3, 3, 3, 3));
    to += step2;
  }
  for (; from < end; from += 4, to += step) {
    let x = v128.load_splat<f32>(from);
    if (divide) {
      x = f32x4.div(x, sum);
      v128.store_lane<f32>(from, x, 0);
    }
    v128.store(to, x);
  }
}
