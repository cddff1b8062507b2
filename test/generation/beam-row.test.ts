/** The bookkeeping of beams beside the reference's functions, step by step. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BeamRow, type Candidate } from '../../src/generation/beam-row.js';

interface Step {
  scores: number[];
  stops: boolean[];
  running: number[];
  running_scores: number[];
  kept: number[];
  kept_scores: number[];
  finished: boolean[];
  improvable: boolean;
}

interface Search {
  num_beams: number;
  early_stopping: boolean | 'never';
  length_penalty: number;
  maxLength: number;
  steps: Step[];
}

const { searches } = JSON.parse(readFileSync('test/goldens/generation/beam-steps.json', 'utf8')) as {
  searches: Search[];
};

/** Entries that the reference marks as out: their float32 scores are all alike, and their order is anybody's. */
const isOut = (score: number) => score < -1e8;

for (const { steps, ...options } of searches) {
  test(`${JSON.stringify(options)}: beams, scores and the end of the search are the reference’s, to the last bit`, () => {
    const row = new BeamRow([], { ...options, pow: Math.pow });
    for (const [length, step] of steps.entries()) {
      const count = step.scores.length;
      const indices = new Array(length + 1).fill(0);
      const candidates = step.scores.map((score, i): Candidate => {
        return { ids: [length * count + i], indices, score, stops: step.stops[i] };
      });
      row.advance(candidates);
      const running = row.running.map(({ ids, score }) => [isOut(score) ? -1 : ids[0], score]);
      const want = step.running_scores.map((score, i) => [isOut(score) ? -1 : step.running[i], score]);
      assert.equal(running, want, `step ${length}, running`);
      const best = row.best(options.num_beams);
      const kept = best.map(({ ids, score }) => [isOut(score) ? -1 : ids[0], score]);
      const wanted = step.kept_scores.map((score, i) => [isOut(score) ? -1 : step.kept[i], score]);
      assert.equal(kept, wanted, `step ${length}, kept`);
      assert.is(row.full, !step.finished.includes(false), `step ${length}, full`);
      assert.is(row.improvable, step.improvable, `step ${length}, improvable`);
      assert.is(row.closed, !row.improvable || (row.full && options.early_stopping === true));
    }
  });
}

test('the goldens hold searches that fill up and searches that end before their last step', () => {
  assert.ok(searches.length >= 12);
  assert.ok(searches.some(({ steps }) => steps.some(({ improvable }) => !improvable)));
  assert.ok(searches.some(({ steps }) => steps.some(({ finished }) => !finished.includes(false))));
});

test.run();
