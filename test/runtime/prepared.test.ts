/** Steps before products: as float32 values or straight as quantised rows, by what the products are. */
import '../support/kernel-calls.js';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Engine } from '../../src/runtime/engine.js';
import { FUSED_MOST_K } from '../../src/runtime/kernels.js';
import { Ops } from '../../src/runtime/ops.js';
import type { Linear } from '../../src/runtime/products.js';
import type { Steps } from '../../src/runtime/steps.js';
import { type PanelDtype, panelBytes, type Weight, weightBytes } from '../../src/runtime/weight.js';
import { normals } from '../kernels/harness.js';
import { type KernelName, watchKernels } from '../support/kernel-calls.js';

const engine = await Engine.create();
const ops = new Ops(engine);

function vector(values: Float32Array): Weight {
  const pointer = engine.allocateWeights(4 * values.length);
  engine.f32(pointer, values.length).set(values);
  return {
    name: '',
    dtype: 'F32',
    layout: 'vector',
    shape: [values.length],
    N: values.length,
    K: 1,
    pointer,
  };
}

/** A random matrix, in panels of a dtype. */
function matrix(dtype: PanelDtype, N: number, K: number): Linear {
  const pointer = engine.allocateWeights(weightBytes('panel', dtype, N, K));
  const source = engine.allocateWeights(4 * N * K);
  engine.f32(source, N * K).set(normals(N * K, N, 0.1));
  const { kernels } = engine;
  const pack = { F32: kernels.panel8_pack_32, I8: kernels.i8_f32_pack, I4: kernels.i4_f32_pack }[
    dtype as 'F32'
  ];
  for (let n = 0; n < N; n += 8) {
    pack(pointer + (n / 8) * panelBytes(dtype, K), source + 4 * n * K, Math.min(8, N - n), K, K);
  }
  return { weight: { name: '', dtype, layout: 'panel', shape: [N, K], N, K, pointer } };
}

/** The products of a norm of [M, K] with weights, and which kernels made them. @param look takes the values first */
async function productsOfNorm(M: number, K: number, linears: Linear[], look: boolean) {
  const calls = new Set<KernelName>();
  const weight = vector(normals(K, 2));
  const values: Float32Array[] = [];
  await watchKernels(
    (name) => calls.add(name),
    () =>
      engine.run(function* (): Steps<void> {
        const x = engine.upload(normals(M * K, 3), [M, K]);
        const branch = engine.upload(normals(M * K, 4), [M, K]);
        const normed = ops.rmsNorm(branch, x, weight, 1e-5, branch);
        if (look) yield* normed.tensor();
        const outs = yield* ops.linears(normed, linears);
        yield* engine.drain();
        values.push(...[x, ...outs].map((tensor) => engine.download(tensor)));
      }),
  );
  return { values, isFused: calls.has('q_rows_rms_norm'), isWritten: calls.has('f32_rms_norm') };
}

const K = 96;
const [f32, i8, i4, i8other] = [
  matrix('F32', 24, K),
  matrix('I8', 24, K),
  matrix('I4', 19, K),
  matrix('I8', 11, K),
];
const fine = { ...i8other, fine: true };
const wide = matrix('I8', 3, FUSED_MOST_K + 1);
const widest = matrix('I8', 3, FUSED_MOST_K);

for (const [title, M, columns, linears, isFused] of [
  ['int8 weights', 7, K, [i8, i8other], true],
  ['int4 weights', 7, K, [i4], true],
  ['two rows', 2, K, [i8], true],
  ['rows of 14 bits', 7, K, [fine], true],
  ['one row', 1, K, [i8, i8other], false],
  ['no rows', 0, K, [i8], false],
  ['float32 weights', 7, K, [f32], false],
  ['int8 weights beside float32', 7, K, [i8, f32], false],
  ['int8 weights beside int4', 7, K, [i4, i8], false],
  ['rows of 14 bits beside 7', 7, K, [i8, fine], false],
  [`rows of ${FUSED_MOST_K}`, 2, FUSED_MOST_K, [widest], true],
  [`rows of ${FUSED_MOST_K + 1}`, 2, FUSED_MOST_K + 1, [wide], false],
] as const) {
  const way = isFused ? 'no float32 values are written' : 'the values are written';
  test(`${title}: ${way}, and products and sums have the same bits when they were looked at`, async () => {
    const [seen, unseen] = [
      await productsOfNorm(M, columns, [...linears], true),
      await productsOfNorm(M, columns, [...linears], false),
    ];
    assert.is(unseen.isFused, isFused);
    assert.is(unseen.isWritten, !isFused);
    assert.is(seen.isFused, false);
    assert.equal(unseen.values, seen.values);
    assert.ok(M === 0 || unseen.values.every((values) => values.some((value) => value !== 0)));
  });
}

test('the values are computed once however often they are asked for, and no more once they are rows', async () => {
  const weight = vector(normals(K, 5));
  await engine.run(function* (): Steps<void> {
    const x = engine.upload(normals(4 * K, 6), [4, K]);
    const branch = engine.upload(normals(4 * K, 7), [4, K]);
    const out = engine.tensor(4, K);
    const normed = ops.rmsNorm(out, x, weight, 1e-5, branch);
    const [first, second] = [yield* normed.tensor(), yield* normed.tensor()];
    yield* engine.drain();
    assert.is(first, second);
    const sums = normals(4 * K, 6).map((value, i) => Math.fround(value + normals(4 * K, 7)[i]!));
    assert.equal(engine.download(x), sums);

    const other = ops.activation('gelu_tanh', x);
    yield* ops.linear(other, i8);
    let error: unknown;
    try {
      yield* other.tensor();
    } catch (thrown) {
      error = thrown;
    }
    assert.match(String(error), 'a step was computed as quantised rows already');
    yield* engine.drain();
  });
});

for (const name of ['gelu_erf', 'gelu_quick', 'relu', 'selu', 'silu', 'gelu_tanh'] as const) {
  test(`${name}: alone or as a gate, looked at or not, products have the same bits`, async () => {
    const [M, linear] = [5, i8];
    const results: Float32Array[][] = [];
    for (const look of [true, false]) {
      results.push(
        await engine.run(function* () {
          const [x, gate, up] = [8, 9, 10].map((seed) => engine.upload(normals(M * K, seed), [M, K]));
          const outs = [];
          for (const step of [ops.activation(name, x!), ops.gate(name, gate!, up!)]) {
            if (look) yield* step.tensor();
            outs.push(yield* ops.linear(step, linear));
          }
          yield* engine.drain();
          return outs.map((out) => engine.download(out));
        }),
      );
    }
    assert.equal(results[0], results[1]);
    assert.ok(results[0]!.every((values) => values.every((value) => Number.isFinite(value) && value !== 0)));
  });
}

test.after(() => engine.dispose());
test.run();
