import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compareValues, unflatten } from '../../src/parity/compare.js';
import { summarize } from '../../src/parity/parity.js';
import { comparedRows, exceedsStrict, judge, nmseBound } from '../../src/parity/verdict.js';
import { PARITY_ERROR_FLOOR } from '../tolerance.js';

const floats = (...values: number[]) => Float32Array.from(values);
const doubles = (...values: number[]) => Float64Array.from(values);

test('NMSE is Σ(a−b)²/Σb² in float64, with the largest difference, its place and both values', () => {
  const found = compareValues(floats(1, 2.5, 3), doubles(1, 2, 4));
  assert.is(found.nmse, 1.25 / 21);
  assert.equal([found.maxAbs, found.worst, found.ours, found.reference], [1, 2, 3, 4]);
  assert.equal([found.maxReference, found.count, found.nonFinite], [4, 3, false]);
});

test('where the reference is zero throughout, ours must be', () => {
  assert.is(compareValues(floats(0, -0), floats(0, 0)).nmse, 0);
  assert.is(compareValues(floats(0, 1e-30), floats(0, 0)).nmse, Infinity);
  const verdict = judge(
    'modules.x',
    { dims: [2], data: floats(0, 1e-30) },
    { reference: floats(0, 0) },
    1e-10,
  );
  assert.equal([verdict.holds, verdict.problem], [false, 'nmse']);
});

for (const bad of [Number.NaN, Infinity, -Infinity]) {
  test(`${bad} on either side, or on both, does not hold`, () => {
    const sides = [
      [floats(1, bad), floats(1, 2)],
      [floats(1, 2), floats(1, bad)],
      [floats(1, bad), floats(1, bad)],
    ];
    for (const [data, reference] of sides) {
      const verdict = judge('modules.x', { dims: [2], data }, { reference }, 1e-3);
      assert.equal([verdict.holds, verdict.problem], [false, 'non-finite']);
      assert.match(verdict.detail!, /at \[1\]/);
    }
  });
}

test('a tensor must hold against its float64 and its float32 entry', () => {
  const ours = { dims: [2], data: floats(1, 2) };
  assert.ok(judge('x', ours, { reference: floats(1, 2), float64: doubles(1, 2) }, 1e-10).holds);
  assert.not(judge('x', ours, { reference: floats(1, 2.001), float64: doubles(1, 2) }, 1e-10).holds);
  assert.not(judge('x', ours, { reference: floats(1, 2), float64: doubles(1, 2.001) }, 1e-10).holds);
});

test('the ratio is our largest error over PyTorch’s own, which is at least 2⁻²³·max|float64|', () => {
  const ours = { dims: [2], data: floats(1.75, 2) };
  const verdict = judge('x', ours, { reference: floats(1.25, 2), float64: doubles(1, 2) }, 1e-10);
  assert.is(verdict.ratio, 3);
  assert.ok(exceedsStrict(verdict));
  const exact = judge('x', ours, { reference: floats(1, 2), float64: doubles(1, 2) }, 1e-10);
  assert.is(exact.ratio, 0.75 / (2 * PARITY_ERROR_FLOOR));
  const zero = judge(
    'x',
    { dims: [1], data: floats(0) },
    { reference: floats(0), float64: doubles(0) },
    1e-10,
  );
  assert.is(zero.ratio, 0);
  const two = judge(
    'x',
    { dims: [1], data: floats(3) },
    { reference: floats(2), float64: doubles(1) },
    1e-10,
  );
  assert.equal([two.ratio, exceedsStrict(two)], [2, false]);
});

const mask = { dims: [2, 3], data: floats(1, 1, 0, 0, 1, 1) };
const masked = { batch: 2, sequence: 3, attention_mask: mask, columns: [0, 1, 2] };
const kept = (name: string, dims: number[], columns = [0, 1, 2]) => {
  const rows = comparedRows(name, dims, { ...masked, columns });
  return rows && [...Array.from(rows.keep), rows.length];
};

test('text rows with attention_mask 0 are left out; of attentions the query rows, not the columns', () => {
  for (const name of ['modules.model', 'modules.model.text_model.layers.0.mlp', 'outputs.hidden_states.1']) {
    assert.equal(kept(name, [2, 3, 5]), [1, 1, 0, 0, 1, 1, 5], name);
  }
  const heads = [1, 1, 0, 1, 1, 0, 0, 1, 1, 0, 1, 1];
  assert.equal(kept('outputs.attentions.0', [2, 2, 3, 3]), [...heads, 3]);
});

test('logits of some columns are left out by these columns', () => {
  assert.equal(kept('outputs.logits', [2, 2, 7], [1, 2]), [1, 0, 1, 1, 7]);
  assert.equal(kept('modules.lm_head', [2, 1, 7], [0]), [1, 0, 7]);
});

test('vision, connector, rotary tables and image states are compared in full', () => {
  for (const name of [
    'modules.model.vision_model.encoder.layers.0',
    'modules.model.connector',
    'modules.model.text_model.rotary_emb.0',
    'outputs.image_hidden_states',
    'outputs.loss',
  ]) {
    assert.is(kept(name, [2, 3, 5]), undefined, name);
  }
  assert.is(kept('modules.model.text_model.embed_tokens', [5]), undefined);
});

test('rows that are left out count nowhere', () => {
  const rows = { keep: [0, 1], length: 2 };
  const found = compareValues(floats(Number.NaN, 9, 1, 2), floats(0, 0, 1, 2), rows);
  assert.equal([found.nmse, found.maxAbs, found.count, found.worst], [0, 0, 2, 2]);
});

test('bounds: 1e-10 in float32, 1e-5 in float16, 1e-3 in bfloat16', () => {
  assert.equal([nmseBound('float32'), nmseBound('float16'), nmseBound('bfloat16')], [1e-10, 1e-5, 1e-3]);
});

test('logits that change with taps fail the whole report', () => {
  const base = {
    golden: 'g',
    metadata: {},
    dtype: 'float32',
    bound: 1e-10,
    tensors: [],
    threads: 1,
    relaxed: false,
    seconds: 0,
  } as const;
  assert.ok(summarize({ ...base, sameBits: true }).holds);
  assert.not(summarize({ ...base, sameBits: false }).holds);
});

test('a flat index as one per dimension', () => {
  assert.equal(unflatten(2 * 12 + 1 * 4 + 3, [5, 3, 4]), [2, 1, 3]);
  assert.equal(unflatten(0, []), []);
});

test.run();
