/**
 * The real 256M size with counter weights: one tile, a chat turn's prompt, 32 greedy tokens. The weights (BF16, half a
 * gigabyte) are computed where the loader reads them, so they exist once, in wasm memory.
 */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { PositionDtype } from '../../src/model/config.js';
import { loadModel } from '../../src/model/load.js';
import { type CounterOptions, counterFolder, counterPixels, fnv1a } from '../support/counter.js';
import { greedy } from '../support/greedy.js';
import { TIE_GAP } from '../tolerance.js';

interface FullSize {
  position_dtype: PositionDtype;
  counter: CounterOptions;
  config: object;
  pixel_values: { name: string; seed: number; shape: number[]; fnv1a: number };
  input_ids: number[];
  input_ids_fnv1a: number;
  new_ids: number[];
  gaps_float64: number[];
}

const golden: FullSize = JSON.parse(readFileSync('test/goldens/full-size-256m.json', 'utf8'));
const { position_dtype, counter, config, pixel_values, input_ids, new_ids, gaps_float64 } = golden;

test('256M size, one 512 × 512 tile: 32 greedy ids are PyTorch’s, at least 8 of them distinct', async () => {
  assert.is(new_ids.length, 32);
  assert.ok(new Set(new_ids).size >= 8);
  assert.ok(Math.min(...gaps_float64) > 100 * TIE_GAP, 'no step is a tie');
  const { name, seed, shape } = pixel_values;
  const pixels = counterPixels(
    shape.reduce((product, n) => product * n, 1),
    name,
    seed,
  );
  assert.is(fnv1a(new Uint8Array(pixels.buffer)), pixel_values.fnv1a);
  const ids = BigInt64Array.from(input_ids, BigInt);
  assert.is(fnv1a(new Uint8Array(ids.buffer)), golden.input_ids_fnv1a);

  const started = performance.now();
  const seconds = () => ((performance.now() - started) / 1000).toFixed(1);
  const { config: parsed, ...rest } = await loadModel(counterFolder(config, counter));
  const model = { ...rest, config: { ...parsed, position_dtype } };
  const loaded = seconds();
  const inputs = {
    input_ids: { dims: [1, ids.length], data: ids },
    pixel_values: { dims: shape, data: pixels },
  };
  const made: number[] = [];
  let first = '';
  const options = { max_new_tokens: new_ids.length, eos_token_id: [], pad_token_id: 0 };
  for await (const [id] of greedy(model, inputs, options)) {
    if (made.length === 0) first = seconds();
    made.push(id);
  }
  const { engine } = model.ops;
  const megabytes = (engine.bytes / 2 ** 20).toFixed(0);
  const times = `weights made and loaded ${loaded} s, first token ${first} s, last ${seconds()} s`;
  console.log(`${times}, ${megabytes} MiB of wasm memory`);
  engine.dispose();
  assert.equal(made, new_ids);
});

test.run();
