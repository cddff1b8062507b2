/** Scores after each processor and warper, and after whole chains, beside PyTorch's. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { resolveOptions } from '../../src/generation/options.js';
import { processorList } from '../../src/generation/processor-list.js';
import { ScoreMath } from '../../src/generation/score-math.js';
import { ascending, kthLargest, minP, topP } from '../../src/generation/warpers.js';
import { Engine } from '../../src/runtime/engine.js';
import { normals, random } from '../kernels/harness.js';
import { PROCESSED_SCORE_ERROR } from '../tolerance.js';
import { readTensors } from './support.js';

const { tensors, metadata } = await readTensors('processors.safetensors');
const cases = JSON.parse(metadata.get('cases')!) as Record<string, Record<string, unknown>>;
const promptColumns = Number(metadata.get('prompt_length'));
const logits = tensors.get('logits')!;
const ids = tensors.get('input_ids')!;
const math = new ScoreMath(await Engine.create());

/** One row through the processors that the options ask for. */
function processed(options: Record<string, unknown>, row: number): Float32Array {
  const settings = resolveOptions(options);
  const [, vocabulary] = logits.dims;
  const columns = ids.dims[1];
  const { min_new_tokens, min_length, max_length } = settings;
  const minColumns = min_new_tokens === null ? (min_length ?? 0) : promptColumns + min_new_tokens;
  const context = { promptColumns, minColumns, maxColumns: max_length ?? 100, vocabulary, math };
  const scores = (logits.data as Float32Array).slice(row * vocabulary, (row + 1) * vocabulary);
  const list = Array.from(ids.data as BigInt64Array, Number).slice(row * columns, (row + 1) * columns);
  for (const process of processorList(settings, context)) process(list, scores, row);
  return scores;
}

for (const [name, options] of Object.entries(cases)) {
  test(`${name} ${JSON.stringify(options)}: the same ids filtered, scores and probabilities to 1e-6`, () => {
    const want = tensors.get(`scores.${name}`)!.data as Float32Array;
    const [rows, width] = logits.dims;
    let changed = false;
    for (let row = 0; row < rows; row++) {
      const got = processed(options, row);
      const expected = want.slice(row * width, (row + 1) * width);
      for (let id = 0; id < width; id++) {
        changed ||= expected[id] !== (logits.data as Float32Array)[row * width + id];
        if (got[id] === expected[id]) continue;
        const error = Math.abs(got[id] - expected[id]) / Math.max(1, Math.abs(expected[id]));
        assert.ok(
          error <= PROCESSED_SCORE_ERROR,
          `row ${row}, id ${id}: expected ${expected[id]}, got ${got[id]}`,
        );
      }
      const [p, q] = [math.softmax(got), math.softmax(expected)];
      for (let id = 0; id < width; id++)
        assert.ok(Math.abs(p[id] - q[id]) <= PROCESSED_SCORE_ERROR, `${row}, ${id}`);
    }
    // Cases named …reached show that a length that is reached lets everything through.
    assert.is(changed, !name.endsWith('reached'));
  });
}

test('the k-th largest is what a full sort gives, and the ascending order is by score, then id, without −Infinity', () => {
  for (const n of [1, 2, 7, 131, 2000]) {
    const scores = normals(n, n).map((v) => Math.round(v * 4) / 4);
    if (n > 2) scores.set([-0, 0, Number.NEGATIVE_INFINITY], n - 3);
    const sorted = scores.slice().sort();
    for (const k of [1, 2, 3, n >> 1, n].filter((count) => count >= 1 && count <= n)) {
      assert.is(kthLargest(scores, k), sorted[n - k], `n ${n}, k ${k}`);
    }
    const want = Array.from(scores.keys())
      .filter((id) => scores[id] > Number.NEGATIVE_INFINITY)
      .sort((a, b) => scores[a] - scores[b] || a - b);
    assert.equal(Array.from(ascending(scores)), want, `n ${n}`);
  }
});

test('of equal scores that a threshold parts, the higher ids are kept by top_p, all by top_k', () => {
  const scores = Float32Array.from([1, 2, 2, 2, 0]);
  const run = (options: Record<string, unknown>) => {
    const settings = resolveOptions({ do_sample: true, top_k: 0, ...options });
    const context = { promptColumns: 1, minColumns: 0, maxColumns: 9, vocabulary: 5, math };
    const copy = scores.slice();
    for (const process of processorList(settings, context)) process([0], copy, 0);
    return Array.from(copy, Number.isFinite);
  };
  assert.equal(run({ top_p: 0.5 }), [false, false, true, true, false]);
  assert.equal(run({ top_k: 1 }), [false, true, true, true, false]);
});

test('top_p and min_p filter as a plain sort over everything does, whatever is left out of the sorting', () => {
  for (let round = 0; round < 60; round++) {
    const n = 2 + 7 * round;
    const scores = normals(n, round + 50, 0.2 + (round % 7));
    for (let i = 3; i < n; i += 4) scores[i] = scores[i - 3];
    const probabilities = math.softmax(scores);
    const order = Array.from(scores.keys()).sort((a, b) => scores[a] - scores[b] || a - b);
    for (const keep of [1, 2]) {
      for (const p of [0, 0.02, 0.4, 0.9, 0.999]) {
        const want = scores.slice();
        let sum = 0;
        for (const id of order.slice(0, n - keep)) {
          sum += probabilities[id];
          // A sum this close to the threshold would hang on its rounding.
          assert.ok(Math.abs(sum - (1 - p)) > 1e-12, `another seed for ${n} ids`);
          if (sum <= 1 - p) want[id] = Number.NEGATIVE_INFINITY;
        }
        const got = scores.slice();
        topP(p, keep, math)([], got, 0);
        assert.equal(got, want, `top_p ${p}, ${n} ids, keep ${keep}`);
        const least = p * probabilities[order[n - 1]];
        const kept = new Set(order.slice(n - keep));
        const floor = scores.map((score, id) =>
          probabilities[id] < least && !kept.has(id) ? Number.NEGATIVE_INFINITY : score,
        );
        const low = scores.slice();
        minP(p, keep, math)([], low, 0);
        assert.equal(low, floor, `min_p ${p}, ${n} ids, keep ${keep}`);
      }
    }
  }
});

test('temperature, top_k and top_p together keep a share of at least top_p of what top_k leaves', () => {
  const next = random(5);
  for (let round = 0; round < 20; round++) {
    const scores = normals(300, round + 1, 3);
    const [k, p, t] = [1 + Math.floor(40 * next()), 0.3 + 0.69 * next(), 0.5 + next()];
    const context = { promptColumns: 1, minColumns: 0, maxColumns: 9, vocabulary: 300, math };
    const apply = (options: Record<string, unknown>) => {
      const copy = scores.slice();
      const settings = resolveOptions({ do_sample: true, temperature: t, top_k: k, ...options });
      for (const process of processorList(settings, context)) process([0], copy, 0);
      return copy;
    };
    const before = math.softmax(apply({}));
    const kept = apply({ top_p: p });
    const share = before.reduce((sum, value, id) => sum + (Number.isFinite(kept[id]) ? value : 0), 0);
    const least = before.reduce(
      (low, value, id) => (Number.isFinite(kept[id]) ? Math.min(low, value) : low),
      1,
    );
    assert.ok(share >= p - 1e-9, `share ${share} of ${p}`);
    assert.ok(share - least < p, 'and not one token more');
  }
});

test.run();
