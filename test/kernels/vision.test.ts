import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { area, checkGuards, floats, kernels, normals, reset, sameBits } from './harness.js';

test('patchify: the product with a flattened [out][C][P][P] weight is the convolution, every size of patch', () => {
  for (const [C, H, W, P] of [
    [3, 4, 4, 2],
    [1, 1, 1, 1],
    [3, 6, 9, 3],
    [3, 8, 12, 4],
    [2, 15, 10, 5],
    [3, 14, 28, 7],
    [3, 32, 48, 16],
    [1, 14, 14, 14],
  ] as const) {
    reset();
    const pixels = normals(C * H * W, P);
    const [rows, columns] = [H / P, W / P];
    const out = area(C * H * W);
    kernels.f32_patchify(out.ptr, floats(pixels).ptr, C, H, W, P);
    checkGuards(`${C}×${H}×${W} by ${P}`);
    const want = new Float32Array(C * H * W);
    for (let c = 0; c < C; c++) {
      for (let y = 0; y < H; y++) {
        for (let x = 0; x < W; x++) {
          const patch = Math.floor(y / P) * columns + Math.floor(x / P);
          want[patch * C * P * P + c * P * P + (y % P) * P + (x % P)] = pixels[(c * H + y) * W + x]!;
        }
      }
    }
    assert.ok(rows * columns > 0);
    sameBits(out.f32, want, `${C}×${H}×${W} by ${P}`);
  }
});

/** The reference's view and permute steps, one after the other, on a flat array. */
function pixelShuffle(x: Float32Array, side: number, D: number, s: number): Float32Array {
  // view [side][side/s][D·s], permute to [side/s][side][D·s]
  const [w, run] = [side / s, D * s];
  const first = new Float32Array(x.length);
  for (let i = 0; i < side; i++) {
    for (let j = 0; j < w; j++) {
      first.set(x.subarray((i * w + j) * run, (i * w + j + 1) * run), (j * side + i) * run);
    }
  }
  // view [side/s][side/s][D·s²], permute the first two
  const [h, block] = [side / s, run * s];
  const second = new Float32Array(x.length);
  for (let i = 0; i < w; i++) {
    for (let j = 0; j < h; j++) {
      second.set(first.subarray((i * h + j) * block, (i * h + j + 1) * block), (j * w + i) * block);
    }
  }
  return second;
}

test('pixel_shuffle: the order of the reference’s views and permutes, scale 1 to 4, widths with a remainder', () => {
  for (const [side, s] of [
    [4, 2],
    [6, 2],
    [6, 3],
    [9, 3],
    [8, 4],
    [12, 4],
    [3, 1],
  ] as const) {
    for (const D of [1, 3, 4, 5, 8, 11]) {
      reset();
      const x = normals(side * side * D, D);
      const out = area(x.length);
      kernels.f32_pixel_shuffle(out.ptr, floats(x).ptr, side, D, s);
      checkGuards(`side ${side}, D ${D}, scale ${s}`);
      sameBits(out.f32, pixelShuffle(x, side, D, s), `side ${side}, D ${D}, scale ${s}`);
    }
  }
});

test('all_zero: a single value anywhere is seen, zeros of either sign are not', () => {
  for (const n of [0, 1, 2, 3, 4, 5, 7, 8, 9, 13]) {
    reset();
    const x = floats(Array.from({ length: n }, (_, i) => (i % 2 ? -0 : 0)));
    assert.is(kernels.f32_all_zero(x.ptr, n), 1, `n ${n}`);
    for (let i = 0; i < n; i++) {
      for (const value of [1, -1, 2 ** -149, Number.NaN, Number.NEGATIVE_INFINITY]) {
        const kept = x.f32[i]!;
        x.f32[i] = value;
        assert.is(kernels.f32_all_zero(x.ptr, n), 0, `n ${n}, ${value} at ${i}`);
        x.f32[i] = kept;
      }
    }
  }
});

test.run();
