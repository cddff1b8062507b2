/** Moving pixels and image states about. */

/** pixels `[C][H][W]` to rows `[(H/P)·(W/P)][C·P·P]`, patches row by row, within one C, then row, then column. */
export function f32_patchify(out: usize, pixels: usize, C: usize, H: usize, W: usize, P: usize): void {
  for (let y: usize = 0; y + P <= H; y += P) {
    for (let x: usize = 0; x + P <= W; x += P) {
      for (let c: usize = 0; c < C; c++) {
        for (let row: usize = 0; row < P; row++, out += P << 2) {
          copyRun(out, pixels + (((c * H + y + row) * W + x) << 2), P);
        }
      }
    }
  }
}

/**
 * x `[side·side][D]` to `[(side/s)²][s·s·D]`: each output row is a block of s × s neighbours, row by row
 * (SmolVLMConnector.pixel_shuffle).
 */
export function f32_pixel_shuffle(out: usize, x: usize, side: usize, D: usize, s: usize): void {
  const run = s * D;
  for (let y: usize = 0; y + s <= side; y += s) {
    for (let column: usize = 0; column + s <= side; column += s) {
      for (let row: usize = 0; row < s; row++, out += run << 2) {
        copyRun(out, x + ((((y + row) * side + column) * D) << 2), run);
      }
    }
  }
}

/** 1 if all n values are zero, of either sign. */
export function f32_all_zero(x: usize, n: usize): i32 {
  let i: usize = 0;
  for (; i + 4 <= n; i += 4) {
    // Shifting the sign out leaves 0 for both zeros.
    if (v128.any_true(i32x4.shl(v128.load(x + (i << 2)), 1))) return 0;
  }
  for (; i < n; i++) if (load<u32>(x + (i << 2)) << 1) return 0;
  return 1;
}

// @ts-ignore: decorator
@inline
function copyRun(out: usize, from: usize, n: usize): void {
  let i: usize = 0;
  for (; i + 4 <= n; i += 4) v128.store(out + (i << 2), v128.load(from + (i << 2)));
  for (; i < n; i++) store<f32>(out + (i << 2), load<f32>(from + (i << 2)));
}
