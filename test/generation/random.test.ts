/** The generator of draws, and sampling with it. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { generate } from '../../src/generation/generate.js';
import { freshSeed, Random } from '../../src/generation/random.js';
import { ScoreMath } from '../../src/generation/score-math.js';
import { Engine } from '../../src/runtime/engine.js';
import type { HostTensor } from '../../src/runtime/tensor.js';
import { normals } from '../kernels/harness.js';
import { defaultsOf, rowAlone, rowsOf, tiny } from './support.js';

interface Stream {
  key: [number, number, number];
  uint32: number[];
  float64: number;
}

const { random: streams } = JSON.parse(readFileSync('test/goldens/generation/runs.json', 'utf8')) as {
  random: Stream[];
};

test('the streams are those of the Python twin, for every part of the key', () => {
  assert.ok(streams.length >= 5);
  for (const { key, uint32, float64 } of streams) {
    const stream = new Random(...key);
    assert.equal(
      uint32.map(() => stream.uint32()),
      uint32,
      `${key}`,
    );
    assert.is(stream.float64(), float64, `${key}`);
  }
  assert.is(new Set(streams.map(({ uint32 }) => String(uint32))).size, streams.length);
});

test('uniform draws: in [0, 1), even over 64 cells and pairs of cells (chi-square, 5 standard deviations)', () => {
  const stream = new Random(12345);
  const cells = new Float64Array(64);
  const pairs = new Float64Array(64);
  const count = 64 * 2000;
  let before = 0;
  for (let i = 0; i < count; i++) {
    const u = stream.float64();
    assert.ok(u >= 0 && u < 1);
    cells[Math.floor(64 * u)]++;
    pairs[8 * before + Math.floor(8 * u)]++;
    before = Math.floor(8 * u);
  }
  for (const [name, counts] of [
    ['cells', cells],
    ['pairs', pairs],
  ] as const) {
    const chi = counts.reduce((sum, n) => sum + (n - count / 64) ** 2 / (count / 64), 0);
    assert.ok(Math.abs(chi - 63) < 5 * Math.sqrt(2 * 63), `${name}: ${chi} for 63 degrees of freedom`);
  }
});

test('tokens are drawn as often as their probabilities say (chi-square, 5 standard deviations)', async () => {
  const engine = await Engine.create();
  const math = new ScoreMath(engine);
  const scores = normals(40, 9, 1.5);
  scores[7] = Number.NEGATIVE_INFINITY;
  const probabilities = math.softmax(scores);
  const stream = new Random(99);
  const counts = new Float64Array(40);
  const total = 100_000;
  for (let i = 0; i < total; i++) counts[math.sample(scores, stream.float64())]++;
  assert.is(counts[7], 0);
  const chi = counts.reduce((sum, n, id) => {
    const expected = total * probabilities[id];
    return id === 7 ? sum : sum + (n - expected) ** 2 / expected;
  }, 0);
  assert.ok(Math.abs(chi - 38) < 5 * Math.sqrt(2 * 38), `${chi} for 38 degrees of freedom`);
  engine.dispose();
});

const options = { do_sample: true, temperature: 1.5, max_new_tokens: 12 } as const;

async function sampled(checkpoint: string, args: object, row?: number): Promise<number[][]> {
  const { model, inputs } = await tiny(checkpoint);
  const given = row === undefined ? inputs : rowAlone(inputs, row);
  const output = await generate(model, defaultsOf(model), { ...given, ...options, ...args });
  return rowsOf(output as HostTensor<Int32Array>).map((ids) => ids.slice(-12));
}

test('the same seed draws the same, another seed and no seed draw differently', async () => {
  const draw = (args: object) => sampled('one-image', args).then(String);
  const first = await draw({ seed: 1 });
  assert.is(await draw({ seed: 1 }), first);
  assert.is.not(await draw({ seed: 2 }), first);
  assert.is.not(await draw({ seed: 1 + 2 ** 32 }), first);
  assert.is.not(await draw({}), await draw({}));
  assert.ok(Number.isSafeInteger(freshSeed()) && freshSeed() >= 0);
});

test('row 0 of a batch draws what it draws alone; with seeds of their own, all rows do', async () => {
  const batch = await sampled('batch-0123-images', { seed: 77 });
  assert.is(batch.length, 4);
  assert.equal((await sampled('batch-0123-images', { seed: 77 }, 0))[0], batch[0]);
  const seeds = [5, 6, 7, 8];
  const own = await sampled('batch-0123-images', { seed: seeds });
  for (const [row, seed] of seeds.entries()) {
    assert.equal((await sampled('batch-0123-images', { seed }, row))[0], own[row], `row ${row}`);
  }
});

test('num_return_sequences: the first of each row is what the row draws without it, and they differ', async () => {
  const one = await sampled('batch-0123-images', { seed: 3 });
  const three = await sampled('batch-0123-images', { seed: 3, num_return_sequences: 3 });
  assert.is(three.length, 12);
  assert.equal(
    [0, 3, 6, 9].map((row) => three[row]),
    one,
  );
  assert.is(new Set(three.map(String)).size, 12);
});

test.run();
