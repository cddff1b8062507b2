import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { quantizedRowBytes } from '../../src/runtime/quantized-rows.js';
import { QUANT_BLOCK, type QuantizedDtype, quantBlocks, weightBytes } from '../../src/runtime/weight.js';
import { normals, random, sameBits } from './harness.js';
import { type Build, plain, relaxed } from './quant-builds.js';
import { matrix, packed, product, type QuantizedMatrix, quantizedRows } from './quant-model.js';

/** Every build with every form of its dot product; none of them may differ from the model in a bit. */
interface Variant {
  title: string;
  build: Build;
  form: number;
  /** Rows from q_rows_i8w_fine. */
  fine?: boolean;
}
const VARIANTS: Variant[] = [
  { title: 'plain', build: plain, form: 0 },
  { title: 'plain, fine rows', build: plain, form: 0, fine: true },
];
if (relaxed) {
  VARIANTS.push({ title: 'relaxed, sums of two', build: relaxed, form: 0 });
  VARIANTS.push({ title: 'relaxed, sums of two, fine rows', build: relaxed, form: 0, fine: true });
  VARIANTS.push({ title: 'relaxed, sums of four', build: relaxed, form: 1 });
  VARIANTS.push({ title: 'relaxed, sums of four, fine rows', build: relaxed, form: 1, fine: true });
} else {
  test.skip('the relaxed build: this engine takes no relaxed SIMD', () => {});
  console.log('SKIP the relaxed build: this engine takes no relaxed SIMD');
}
const dtypesOf = ({ fine }: Variant): QuantizedDtype[] => (fine ? ['I8'] : ['I8', 'I4']);

interface Options {
  ldc?: number;
  lda?: number;
  bias?: Float32Array;
}

/** q integers over their whole range, scales and minimums of ordinary size and either sign, a few of them 0. */
function randomMatrix(dtype: QuantizedDtype, N: number, K: number, seed: number): QuantizedMatrix {
  const next = random(seed);
  const q = dtype === 'I8' ? () => Math.floor(next() * 255) - 127 : () => Math.floor(next() * 16);
  const head = () => (next() < 0.05 ? 0 : (next() - 0.2) / 50);
  return dtype === 'I8' ? matrix(dtype, N, K, q, head) : matrix(dtype, N, K, q, head, () => -8 * head());
}

function modelled(variant: Variant, x: Float32Array, w: QuantizedMatrix, M: number, bias?: Float32Array) {
  return product(quantizedRows(kindOf(variant, w.dtype), x, M, w.K), w, M, bias);
}

function kindOf({ build, fine }: Variant, dtype: QuantizedDtype) {
  if (dtype === 'I4') return 'int8';
  if (!build.relaxed) return 'int16';
  return fine ? 'fine' : 'offset';
}

/** The operands in memory, and a product of any part of them. */
function operands(variant: Variant, x: Float32Array, w: QuantizedMatrix, M: number, options: Options = {}) {
  const { build } = variant;
  const { kernels } = build;
  const { dtype, N, K } = w;
  const { ldc = N, lda = K, bias } = options;
  build.reset();
  kernels.set_dot_form(variant.form);
  const spaced = build.floats(new Float32Array(Math.max(0, (M - 1) * lda + K)).fill(Number.NaN));
  for (let m = 0; m < M; m++) spaced.set(x.subarray(m * K, (m + 1) * K), m * lda);
  const rowBytes = quantizedRowBytes(dtype, K);
  const qa = build.area(M * rowBytes);
  const { q_rows_i4w, q_rows_i8w, q_rows_i8w_fine } = kernels;
  const quantize = dtype === 'I4' ? q_rows_i4w : variant.fine ? q_rows_i8w_fine : q_rows_i8w;
  quantize(qa.byteOffset, spaced.byteOffset, M, K, lda);
  const panels = build.area(weightBytes('panel', dtype, N, K));
  panels.set(packed(w));
  const biases = bias && build.floats(bias);
  const out = build.floats(new Float32Array(M * ldc).fill(-7));
  const gemm = dtype === 'I8' ? kernels.f32_i8w_gemm : kernels.f32_i4w_gemm;
  const run = (m0: number, m1: number, n0: number, n1: number) =>
    gemm(
      out.byteOffset + 4 * (m0 * ldc + n0),
      qa.byteOffset + m0 * rowBytes,
      panels.byteOffset + weightBytes('panel', dtype, n0, K),
      biases ? biases.byteOffset + 4 * n0 : 0,
      m1 - m0,
      n1 - n0,
      K,
      ldc,
    );
  /** The rows without what lies between them, which must be as it was. */
  const result = (context: string) => {
    build.checkGuards(context);
    const rows = new Float32Array(M * N);
    for (let m = 0; m < M; m++) {
      rows.set(out.subarray(m * ldc, m * ldc + N), m * N);
      for (let n = N; n < ldc; n++) assert.is(out[m * ldc + n], -7, `${context}: column ${n} of row ${m}`);
    }
    return rows;
  };
  return { run, result };
}

function check(
  variant: Variant,
  w: QuantizedMatrix,
  M: number,
  x: Float32Array,
  options: Options = {},
): void {
  const context = `${variant.title}, ${w.dtype}, M ${M}, N ${w.N}, K ${w.K}, ${JSON.stringify(options)}`;
  const { run, result } = operands(variant, x, w, M, options);
  run(0, M, 0, w.N);
  sameBits(result(context), modelled(variant, x, w, M, options.bias), context);
}

for (const variant of VARIANTS) {
  for (const dtype of dtypesOf(variant)) {
    const title = `${variant.title}, ${dtype} weights`;

    test(`${title}: every row and column remainder has the model's bits`, () => {
      let cases = 0;
      for (const M of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 23]) {
        for (const N of [1, 2, 7, 8, 9, 15, 16, 17, 23, 24, 27, 32, 33, 41]) {
          const bias = (M + N) % 2 ? normals(N, N) : undefined;
          check(variant, randomMatrix(dtype, N, 70, M * 50 + N), M, normals(M * 70, N), { bias });
          cases++;
        }
      }
      assert.is(cases, 196);
    });

    test(`${title}: every remainder of k about the blocks, and more blocks or rows than one pass takes`, () => {
      const lengths = [
        1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 33, 47, 63, 64, 65, 96, 127, 128, 129, 191, 193, 383, 385, 1555,
        1600,
      ];
      for (const K of lengths) {
        for (const M of [1, 2, 3, 5]) check(variant, randomMatrix(dtype, 19, K, K), M, normals(M * K, K + M));
      }
      check(variant, randomMatrix(dtype, 11, 1700, 3), 66, normals(66 * 1700, 4), { bias: normals(11, 5) });
      check(variant, randomMatrix(dtype, 17, 450, 6), 263, normals(263 * 450, 7));
      for (const M of [128, 132, 133]) check(variant, randomMatrix(dtype, 9, 70, M), M, normals(M * 70, M));
    });

    test(`${title}: blocks with outliers beside others, in some rows of a tile or all, have the model's bits`, () => {
      const size = QUANT_BLOCK[dtype];
      const K = 11 * size;
      for (const M of [1, 2, 3, 4, 6, 7, 9, 10, 12, 20, 40, 131]) {
        const x = normals(M * K, M);
        for (let m = 0; m < M; m++) {
          // In every row the fourth block; in most others of their own, the first and the last among them.
          x[m * K + 3 * size + (m % size)]! *= 900;
          if (m % 3) x[m * K + ((m * 5) % 11) * size + 7]! = m % 2 ? 4000 : -70000;
          if (m % 7 === 6) x.copyWithin(m * K, 0, K);
        }
        if (kindOf(variant, dtype) === 'offset') {
          const [{ scales }, all] = [quantizedRows('offset', x, M, K), quantizedRows('fine', x, M, K)];
          const fine = scales.filter((scale, i) => scale === all.scales[i]).length;
          assert.ok(fine > 0 && fine <= M, `${fine} blocks of 14 bits in ${M} rows`);
        }
        check(variant, randomMatrix(dtype, 29, K, 12), M, x, { bias: normals(29, M) });
      }
    });

    test(`${title}: prime strides of rows and of the output; nothing between the rows is read or written`, () => {
      for (const [M, N, K, lda, ldc] of [
        [9, 19, 70, 79, 23],
        [1, 19, 64, 67, 29],
        [5, 24, 33, 37, 31],
        [2, 13, 96, 97, 17],
      ] as const) {
        const bias = normals(N, 9);
        check(variant, randomMatrix(dtype, N, K, 8), M, normals(M * K, 10), { lda, ldc, bias });
      }
    });

    test(`${title}: any split over rows and panels gives the same bits`, () => {
      const [M, N, K] = [37, 53, 421];
      const x = normals(M * K, 1, 3);
      const w = randomMatrix(dtype, N, K, 2);
      const bias = normals(N, 3);
      const whole = operands(variant, x, w, M, { bias });
      whole.run(0, M, 0, N);
      const want = whole.result(title);
      for (const [rows, columns] of [
        [1, 64],
        [2, 8],
        [3, 16],
        [5, 24],
        [4, 48],
        [36, 40],
      ] as const) {
        const parts = operands(variant, x, w, M, { bias });
        for (let m = 0; m < M; m += rows) {
          for (let n = 0; n < N; n += columns)
            parts.run(m, Math.min(M, m + rows), n, Math.min(N, n + columns));
        }
        sameBits(parts.result(title), want, `${title}: parts of ${rows} rows and ${columns} columns`);
      }
    });

    test(`${title}: the largest integers of either sign pass no accumulator`, () => {
      const q = dtype === 'I8' ? [-127, 127] : [0, 15];
      const size = QUANT_BLOCK[dtype];
      const rows = [
        () => 1000,
        () => -1000,
        (k: number) => (k % 2 ? 1000 : -1000),
        (k: number) => (k % size < size - 1 ? 1000 : -1000),
        (k: number) => (k % size === 5 ? -1000 : 999.9),
        // Steps of 1 whose lowest and highest values round apart: 128 steps, of which 127 are kept.
        (k: number) => (k % size === 3 ? 127.5 : 0.5),
      ];
      const K = 192;
      const signs = [
        () => 0,
        () => 1,
        (k: number) => k % 2,
        (k: number) => (k >> 1) % 2,
        (k: number) => (k >> 2) % 2,
      ];
      const w = matrix(
        dtype,
        27,
        K,
        (n, k) => q[signs[n % 5]!(k)]!,
        () => 1,
        () => (dtype === 'I4' ? -8 : 0),
      );
      for (const M of [1, 5]) {
        for (const row of rows) {
          check(
            variant,
            w,
            M,
            Float32Array.from({ length: M * K }, (_, i) => row(i % K)),
          );
        }
      }
    });

    test(`${title}: identity weights give the rows back, off by at most half a step of their block`, () => {
      const size = QUANT_BLOCK[dtype];
      const K = 3 * size;
      const w = matrix(
        dtype,
        K,
        K,
        (n, k) => (n === k ? 1 : 0),
        () => 1,
      );
      const M = 12;
      const x = normals(M * K, 77);
      // Blocks of one sign, far from zero, constant, tiny, huge and zero.
      for (let k = 0; k < K; k++) {
        x[k] = Math.abs(x[k]!);
        x[K + k] = 100 + x[k]! / 10;
        x[2 * K + k] = -5;
        x[3 * K + k]! *= 1e-20;
        x[4 * K + k]! *= 1e30;
        x[5 * K + k] = 0;
        x[6 * K + k] = 1e-32 * (k % 3);
        x[7 * K + k] = k === 40 ? 900 : x[7 * K + k]!;
      }
      const { run, result } = operands(variant, x, w, M);
      run(0, M, 0, K);
      const out = result(title);
      for (let i = 0; i < M * K; i++) {
        const block = x.subarray(i - (i % size), i - (i % size) + size);
        const [high, low] = [Math.max(...block), Math.min(...block)];
        const top = Math.max(high, -low);
        const step =
          dtype === 'I4'
            ? top / 127
            : variant.build.relaxed
              ? Math.max((high - low) / (variant.fine ? 16250 : 127), top / 16384)
              : top / 32767;
        const bound = 0.5 * step + 2 ** -22 * top + 2 ** -100;
        assert.ok(
          Math.abs(out[i]! - x[i]!) <= bound,
          `${title}: element ${i}: expected ${x[i]}, got ${out[i]}`,
        );
      }
    });

    test(`${title}: a NaN or an infinity makes its own row NaN, no other`, () => {
      const [M, N, K] = [5, 11, 70];
      const w = matrix(
        dtype,
        N,
        K,
        (n, k) => ((n + k) % 7) - (dtype === 'I8' ? 3 : 0),
        () => 0.5,
        () => (dtype === 'I8' ? 0 : -1.5),
      );
      for (const special of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const x = normals(M * K, 3);
        x[2 * K + 68] = special;
        const { run, result } = operands(variant, x, w, M);
        run(0, M, 0, N);
        const out = result(title);
        for (let i = 0; i < out.length; i++) {
          assert.is(
            Number.isNaN(out[i]),
            Math.floor(i / N) === 2,
            `${title}: ${special}, element ${i}: ${out[i]}`,
          );
        }
      }
    });

    test(`${title}: one row quantised on the way has the bits of both kernels, whole and split over panels`, () => {
      for (const K of [1, 31, 64, 70, 576, 1537, 12288]) {
        const N = K > 2000 ? 24 : 53;
        const { build, form, fine } = variant;
        const x = normals(K, K);
        x[K >> 1]! *= 500;
        const w = randomMatrix(dtype, N, K, K);
        const bias = normals(N, 2);
        const want = modelled(variant, x, w, 1, bias);
        build.reset();
        build.kernels.set_dot_form(form);
        const [row, biases] = [build.floats(x), build.floats(bias)];
        const panels = build.area(weightBytes('panel', dtype, N, K));
        panels.set(packed(w));
        const { f32_i4w_gemv, f32_i8w_gemv, f32_i8w_fine_gemv } = build.kernels;
        const gemv = dtype === 'I4' ? f32_i4w_gemv : fine ? f32_i8w_fine_gemv : f32_i8w_gemv;
        for (const step of [N, 16]) {
          const out = build.floats(new Float32Array(N).fill(-7));
          for (let n = 0; n < N; n += step) {
            const at = panels.byteOffset + weightBytes('panel', dtype, n, K);
            const columns = Math.min(step, N - n);
            gemv(out.byteOffset + 4 * n, row.byteOffset, at, biases.byteOffset + 4 * n, columns, K);
          }
          build.checkGuards(`${title}: K ${K}`);
          sameBits(out, want, `${title}: K ${K}, steps of ${step}`);
        }
      }
    });

    test(`${title}: no terms give the bias or zero`, () => {
      const w = matrix(
        dtype,
        9,
        0,
        () => 0,
        () => 0,
      );
      for (const M of [1, 5]) {
        const bias = normals(9, 1);
        for (const given of [bias, undefined]) {
          const { run, result } = operands(variant, new Float32Array(0), w, M, { bias: given });
          run(0, M, 0, 9);
          const want = Float32Array.from({ length: M * 9 }, (_, i) => given?.[i % 9] ?? 0);
          sameBits(result(title), want, title);
        }
      }
    });

    test(`${title}: rows gathered back are scale · q, exactly, or in 4 bits + minimum, rounded once`, () => {
      for (const [N, K] of [
        [1, 1],
        [8, 32],
        [8, 64],
        [21, 70],
        [33, 131],
      ] as const) {
        const { build } = variant;
        const w = randomMatrix(dtype, N, K, N);
        build.reset();
        const panels = build.area(weightBytes('panel', dtype, N, K));
        panels.set(packed(w));
        const ids = [N - 1, 0, N >> 1, 0, Math.min(4, N - 1)];
        const area = build.area(4 * ids.length);
        new Int32Array(area.buffer, area.byteOffset, ids.length).set(ids);
        const out = build.floats(new Float32Array(ids.length * K));
        const gather = dtype === 'I8' ? build.kernels.f32_i8w_gather : build.kernels.f32_i4w_gather;
        gather(out.byteOffset, panels.byteOffset, area.byteOffset, ids.length, K);
        build.checkGuards(`${title}: N ${N}, K ${K}`);
        const blocks = quantBlocks(dtype, K);
        const want = Float32Array.from({ length: ids.length * K }, (_, i) => {
          const [n, k] = [ids[Math.floor(i / K)]!, i % K];
          const block = n * blocks + Math.floor(k / QUANT_BLOCK[dtype]);
          const value = w.scales[block]! * w.q[n * K + k]!;
          return dtype === 'I8' ? value : value + w.minimums[block]!;
        });
        sameBits(out, want, `${title}: N ${N}, K ${K}`);
      }
    });
  }
}

test.run();
