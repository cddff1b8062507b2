/**
 * The whole model at the real 256M size with counter weights (BF16): one 512 × 512 tile, a prefill, decoding, memory. Each
 * figure stands beside a ceiling measured in the same run, just before it.
 * Usage, after `npm run build`: node build/bench/model.js. The last line is JSON.
 */
import { readFileSync } from 'node:fs';
import type { SmolVLMConfig } from '../src/model/config.js';
import { forward, imageStates } from '../src/model/forward.js';
import { head } from '../src/model/head.js';
import { loadModel } from '../src/model/load.js';
import type { Model } from '../src/model/model.js';
import { counterFolder, counterPixels } from '../test/support/counter.js';
import { Ceilings } from './ceilings.js';

interface Row {
  work: string;
  seconds: number;
  rate: number;
  unit: string;
  ratio: number;
  of: string;
}

const { config, counter } = JSON.parse(readFileSync('test/goldens/full-size-256m.json', 'utf8'));
const PREFILL = 512;
const DECODE = 32;
const ceilings = new Ceilings();
const rows: Row[] = [];

// The same tile is encoded again and again: its states may not be kept.
const model = await loadModel(counterFolder(config, counter), { image_cache_bytes: 0 });
await benchTile(model);
await benchText(model);
console.log(`wasm memory: ${(model.ops.engine.bytes / 2 ** 20).toFixed(0)} MiB`);
console.log(JSON.stringify({ node: process.version, rows, wasm: model.ops.engine.bytes }));
model.ops.engine.dispose();

async function benchTile({ ops, config, ...rest }: Model): Promise<void> {
  const pixels = counterPixels(3 * 512 * 512);
  const pixel_values = { dims: [1, 1, 3, 512, 512], data: pixels };
  const whole = { ops, config, ...rest };
  for (let round = 0; round < 2; round++) {
    const peak = ceilings.multiplyAdd();
    const started = performance.now();
    await ops.engine.run(() => imageStates(whole, { pixel_values }));
    if (round > 0)
      report(
        'vision: one 512 × 512 tile',
        started,
        visionFlops(config) / 1e9,
        'GFLOP/s',
        peak,
        'multiply-add in registers',
      );
  }
}

async function benchText(model: Model): Promise<void> {
  const { engine } = model.ops;
  const ids = (count: number) => ({
    dims: [1, count],
    data: Int32Array.from({ length: count }, (_, i) => (i * 37) % 49000),
  });
  const step = (count: number, past_key_values?: import('../src/model/cache.js').KVCache) =>
    engine.run(function* () {
      const result = yield* forward(model, { input_ids: ids(count), past_key_values });
      yield* head(model, result.hidden, [result.tokens.count - 1]);
      return result.past_key_values;
    });
  const peak = ceilings.multiplyAdd();
  let started = performance.now();
  const cache = await step(PREFILL);
  report(
    `prefill of ${PREFILL} tokens`,
    started,
    textFlops(model.config, PREFILL) / 1e9,
    'GFLOP/s',
    peak,
    'multiply-add in registers',
  );
  await step(1, cache);
  const stream = ceilings.loadSum();
  started = performance.now();
  for (let i = 0; i < DECODE; i++) await step(1, cache);
  report(
    `decode at context ${PREFILL}, a token`,
    started,
    (DECODE * textBytes(model)) / 1e9,
    'GB/s',
    stream,
    'load-sum of memory',
    DECODE,
  );
  cache.dispose();
}

function report(
  work: string,
  started: number,
  amount: number,
  unit: string,
  ceiling: number,
  of: string,
  calls = 1,
): void {
  const total = (performance.now() - started) / 1000;
  const row = {
    work,
    seconds: total / calls,
    rate: amount / total,
    unit,
    ratio: amount / total / ceiling,
    of,
  };
  rows.push(row);
  const time = row.seconds < 1 ? `${(row.seconds * 1000).toFixed(1)} ms` : `${row.seconds.toFixed(2)} s`;
  console.log(
    `${work.padEnd(36)} ${time.padStart(9)}  ${row.rate.toFixed(1)} ${unit} = ${row.ratio.toFixed(2)} of ${of} (${ceiling.toFixed(1)})`,
  );
}

/** Multiplications and additions of one tile: the projections, the MLP, and attention over all patches. */
function visionFlops({ vision_config: v, text_config }: SmolVLMConfig): number {
  const layer =
    4 * v.hidden_size ** 2 + 2 * v.hidden_size * v.intermediate_size + 2 * v.num_patches * v.hidden_size;
  const ends = v.hidden_size * (v.num_channels * v.patch_size ** 2 + text_config.hidden_size);
  return 2 * v.num_patches * (v.num_hidden_layers * layer + ends);
}

function textParameters({ text_config: t }: SmolVLMConfig): number {
  const attention = 2 * t.hidden_size * t.head_dim * (t.num_attention_heads + t.num_key_value_heads);
  return t.num_hidden_layers * (attention + 3 * t.hidden_size * t.intermediate_size);
}

function textFlops(config: SmolVLMConfig, tokens: number): number {
  const { num_hidden_layers, num_attention_heads, head_dim } = config.text_config;
  const attention = num_hidden_layers * num_attention_heads * head_dim * tokens;
  return 2 * tokens * (textParameters(config) + attention);
}

/** Bytes of weights that a token reads: the layers' matrices and the head. */
function textBytes({ config, weights }: Model): number {
  return 2 * (textParameters(config) + weights.lm_head.N * weights.lm_head.K);
}
