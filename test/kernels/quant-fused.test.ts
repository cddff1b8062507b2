/** Norms and activations that leave quantised rows: byte for byte what the two kernels one after the other leave. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FUSED_MOST_K, ROW_FORMS, type RowForm } from '../../src/runtime/kernels.js';
import { quantizedRowBytes } from '../../src/runtime/quantized-rows.js';
import { normals } from './harness.js';
import { type Build, plain, relaxed } from './quant-builds.js';

const STEPS = ['layer_norm', 'rms_norm', 'gelu_tanh', 'silu_mul'] as const;
type Step = (typeof STEPS)[number];

const FORMS = Object.keys(ROW_FORMS) as RowForm[];
const EPS = 1e-6;

const BUILDS = [plain];
if (relaxed) BUILDS.push(relaxed);
else {
  test.skip('the relaxed build: this engine takes no relaxed SIMD', () => {});
  console.log('SKIP the relaxed build: this engine takes no relaxed SIMD');
}

/** What a step reads. */
interface Inputs {
  /** [M, K] */
  x: Float32Array;
  /** [M, K]: a norm's branch, if any, or what the gate is multiplied with. */
  y?: Float32Array;
  weight: Float32Array;
  bias: Float32Array;
}

/** What it leaves, as bytes: the rows, x and y. */
type Left = Uint8Array[];

const rowBytesOf = (form: RowForm, K: number) => quantizedRowBytes(form === 'q_rows_i4w' ? 'I4' : 'I8', K);

function inputs(step: Step, M: number, K: number, withBranch: boolean): Inputs {
  const x = normals(M * K, 31 * M + K, 2);
  const y = step === 'silu_mul' || withBranch ? normals(M * K, 37 * M + K) : undefined;
  // In every second row a value far beyond the rest: of its block the relaxed build takes 14 bits.
  for (let m = 0; m < M; m += 2) x[m * K + ((5 * m + 3) % K)]! *= 300;
  const weight = normals(K, 21).map((v) => 1 + v / 4);
  return { x, y, weight, bias: normals(K, 22) };
}

function place(build: Build, form: RowForm, M: number, K: number, { x, y, weight, bias }: Inputs) {
  build.reset();
  const rows = build.area(M * rowBytesOf(form, K));
  const [source, second] = [build.floats(x), y && build.floats(y)];
  const pointers = {
    out: rows.byteOffset,
    x: source.byteOffset,
    y: second?.byteOffset ?? 0,
    weight: build.floats(weight).byteOffset,
    bias: build.floats(bias).byteOffset,
  };
  const left = (context: string): Left => {
    build.checkGuards(context);
    const floats = second ? [source, second] : [source];
    return [rows, ...floats.map((f) => new Uint8Array(f.buffer, f.byteOffset, f.byteLength))].map((bytes) =>
      bytes.slice(),
    );
  };
  return { pointers, left };
}

function inTwo(build: Build, step: Step, form: RowForm, M: number, K: number, given: Inputs): Left {
  const { kernels } = build;
  const { pointers, left } = place(build, form, M, K, given);
  const { out, x, y, weight, bias } = pointers;
  const values = build.floats(new Float32Array(M * K)).byteOffset;
  if (step === 'layer_norm') kernels.f32_layer_norm(values, x, weight, bias, M, K, EPS, y);
  else if (step === 'rms_norm') kernels.f32_rms_norm(values, x, weight, M, K, EPS, y);
  else if (step === 'gelu_tanh') kernels.f32_gelu_tanh(values, x, M * K);
  else kernels.f32_silu_mul(values, x, y, M * K);
  kernels[form](out, values, M, K, K);
  return left(`${step}, ${form}, M ${M}, K ${K}`);
}

/** @param most rows of a call */
function fused(build: Build, step: Step, form: RowForm, M: number, K: number, given: Inputs, most = M): Left {
  const { kernels } = build;
  const { pointers, left } = place(build, form, M, K, given);
  const { weight, bias } = pointers;
  const code = ROW_FORMS[form];
  for (let m = 0; m < M; m += most) {
    const count = Math.min(most, M - m);
    const out = pointers.out + m * rowBytesOf(form, K);
    const x = pointers.x + 4 * m * K;
    const y = pointers.y && pointers.y + 4 * m * K;
    if (step === 'layer_norm') kernels.q_rows_layer_norm(out, x, weight, bias, count, K, EPS, y, code);
    else if (step === 'rms_norm') kernels.q_rows_rms_norm(out, x, weight, count, K, EPS, y, code);
    else if (step === 'gelu_tanh') kernels.q_rows_gelu_tanh(out, x, count, K, code);
    else kernels.q_rows_silu_mul(out, x, y, count, K, code);
  }
  return left(`fused ${step}, ${form}, M ${M}, K ${K}`);
}

function same(got: Left, want: Left, context: string): void {
  assert.is(got.length, want.length, context);
  for (const [i, area] of ['rows', 'x', 'y'].slice(0, want.length).entries()) {
    const at = got[i]!.findIndex((byte, j) => byte !== want[i]![j]);
    if (at >= 0)
      assert.unreachable(`${context}: ${area}, byte ${at}: expected ${want[i]![at]}, got ${got[i]![at]}`);
  }
}

const hasBranch = (step: Step) => step === 'layer_norm' || step === 'rms_norm';

for (const build of BUILDS) {
  for (const step of STEPS) {
    const title = `${build.name}, ${step}`;

    test(`${title}: 1 to 9 rows of 1 to 1537 values, in every form, are those of two kernels`, () => {
      let cases = 0;
      for (const form of FORMS) {
        for (const withBranch of hasBranch(step) ? [false, true] : [false]) {
          for (const M of [1, 2, 3, 4, 5, 7, 8, 9]) {
            for (const K of [1, 2, 3, 5, 8, 31, 32, 33, 63, 64, 65, 70, 127, 129, 192, 577, 768, 1537]) {
              const given = inputs(step, M, K, withBranch);
              const want = inTwo(build, step, form, M, K, given);
              const context = `${title}, ${form}, M ${M}, K ${K}, branch ${withBranch}`;
              same(fused(build, step, form, M, K, given), want, context);
              cases++;
            }
          }
        }
      }
      assert.is(cases, 3 * (hasBranch(step) ? 2 : 1) * 8 * 18);
    });

    test(`${title}: any split over rows leaves the same bytes, no rows leave all as it was`, () => {
      for (const form of FORMS) {
        const [M, K] = [23, 321];
        const given = inputs(step, M, K, true);
        const whole = fused(build, step, form, M, K, given);
        for (const most of [1, 2, 3, 7, 22]) {
          same(
            fused(build, step, form, M, K, given, most),
            whole,
            `${title}, ${form}, ${most} rows at a time`,
          );
        }
        const none = fused(build, step, form, 0, K, inputs(step, 0, K, true));
        assert.is(none[0]!.length, 0);
      }
    });

    test(`${title}: the longest rows, ${FUSED_MOST_K} and one less, find room`, () => {
      for (const form of FORMS) {
        for (const K of [FUSED_MOST_K - 1, FUSED_MOST_K]) {
          const given = inputs(step, 3, K, true);
          const want = inTwo(build, step, form, 3, K, given);
          same(fused(build, step, form, 3, K, given), want, `${title}, ${form}, K ${K}`);
        }
      }
    });

    test(`${title}: NaN, infinities, zeros, tiny and huge values leave the bytes of two kernels`, () => {
      const specials = [
        Number.NaN,
        Number.POSITIVE_INFINITY,
        Number.NEGATIVE_INFINITY,
        0,
        -0,
        1e-45,
        1e-35,
        3e38,
        -3e38,
      ];
      for (const form of FORMS) {
        for (const [i, special] of specials.entries()) {
          const [M, K] = [5, 150];
          const given = inputs(step, M, K, i % 2 === 0);
          // One value of a row, the last block of another, a row of nothing else.
          given.x[K + 7 * i] = special;
          given.x.fill(special, 3 * K - 22, 3 * K);
          given.x.fill(special, 3 * K, 4 * K);
          if (given.y) given.y[4 * K + 3] = special;
          const want = inTwo(build, step, form, M, K, given);
          same(fused(build, step, form, M, K, given), want, `${title}, ${form}, ${special}`);
        }
      }
    });
  }
}

test.run();
