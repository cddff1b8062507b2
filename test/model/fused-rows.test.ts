/**
 * With weights in integers, what comes before products is quantised as it is computed: which kernels a prompt, a picture and a
 * token call, and that a look at what lies between (which takes the other way) changes no bit.
 */
import '../support/kernel-calls.js';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/folder.js';
import { type ForwardOptions, forward } from '../../src/model/forward.js';
import { logits } from '../../src/model/head.js';
import { loadModel } from '../../src/model/load.js';
import type { Model } from '../../src/model/model.js';
import { Taps } from '../../src/model/taps.js';
import { readOptions } from '../../src/modeling/options.js';
import { hasRelaxedSimd } from '../../src/runtime/binaries.js';
import { normals } from '../kernels/harness.js';
import { type KernelName, watchKernels } from '../support/kernel-calls.js';
import { shapes } from '../support/paths.js';

const TOKENS = 60;
const QUANTISED = ['int8', 'int4'] as const;

const isRelaxedHere = hasRelaxedSimd();
if (!isRelaxedHere) console.log('SKIP the relaxed build: this engine takes no relaxed SIMD');

async function open(dtype: 'auto' | 'int8' | 'int4', options: object = {}): Promise<Model> {
  const own = { dtype, image_cache_bytes: 0, prefix_cache_bytes: 0, ...options };
  return loadModel(await openCheckpoint(shapes), readOptions(own));
}

/** A picture in front of a text: [1, TOKENS, vocab_size] bits. */
function run(model: Model, options: ForwardOptions = {}): Promise<Uint32Array> {
  const { vision_config, scale_factor, image_token_id } = model.config;
  const side = 4 * scale_factor * vision_config.patch_size;
  const pixel_values = { dims: [1, 1, 3, side, side], data: normals(3 * side ** 2, 1) };
  const data = Int32Array.from({ length: TOKENS }, (_, i) => (i * 37) % 90);
  data.fill(image_token_id, 2, 2 + 4 ** 2);
  return model.ops.engine.run(function* () {
    const inputs = { input_ids: { dims: [1, TOKENS], data }, pixel_values };
    const result = yield* forward(model, inputs, options);
    result.past_key_values.dispose();
    const { data: scores } = yield* logits(model, result.hidden, result.tokens);
    return new Uint32Array(scores.buffer, scores.byteOffset, scores.length);
  });
}

async function callsOf(compute: () => Promise<unknown>): Promise<(name: KernelName) => number> {
  const calls = new Map<KernelName, number>();
  await watchKernels((name) => calls.set(name, (calls.get(name) ?? 0) + 1), compute);
  return (name) => calls.get(name) ?? 0;
}

const STEPS = ['layer_norm', 'rms_norm', 'gelu_tanh', 'silu_mul'] as const;

for (const dtype of QUANTISED) {
  test(`${dtype}: of a picture and a prompt only the two last norms are written as float32`, async () => {
    const model = await open(dtype);
    const calls = await callsOf(() => run(model));
    const { vision_config: vision, text_config: text } = model.config;
    const fused = STEPS.map((step) => calls(`q_rows_${step}`));
    const layers = [vision.num_hidden_layers, text.num_hidden_layers] as const;
    assert.equal(fused, [2 * layers[0], 2 * layers[1], layers[0], layers[1]]);
    assert.equal(
      STEPS.map((step) => calls(`f32_${step}`)),
      [1, 1, 0, 0],
    );
    // What attention gives and the connector takes is float32 all the same; the head takes finer rows.
    const form = dtype === 'int8' ? 'q_rows_i8w' : 'q_rows_i4w';
    assert.is(calls(form), layers[0] + layers[1] + 1);
    assert.is(calls('q_rows_i8w_fine'), 1);
    model.ops.engine.dispose();
  });

  test(`${dtype}: a decoded token quantises within its products: a norm, a gate and a product a call`, async () => {
    const model = await open(dtype);
    const layers = model.config.text_config.num_hidden_layers;
    const ids = (...data: number[]) => ({ dims: [1, data.length], data: Int32Array.from(data) });
    const { engine } = model.ops;
    const cache = await engine.run(function* () {
      return (yield* forward(model, { input_ids: ids(5, 6, 7) })).past_key_values;
    });
    const calls = await callsOf(() =>
      engine.run(function* () {
        yield* forward(model, { input_ids: ids(8), past_key_values: cache });
      }),
    );
    cache.dispose();
    for (const step of STEPS) assert.is(calls(`q_rows_${step}`), 0, step);
    for (const form of ['q_rows_i8w', 'q_rows_i4w'] as const) assert.is(calls(form), 0, form);
    assert.is(calls('f32_rms_norm'), 2 * layers + 1);
    assert.is(calls('f32_silu_mul'), layers);
    assert.is(calls(dtype === 'int8' ? 'f32_i8w_gemv' : 'f32_i4w_gemv'), 4 * layers);
    engine.dispose();
  });
}

test('stored weights: nothing is quantised, every step is written as float32', async () => {
  const model = await open('auto');
  const calls = await callsOf(() => run(model));
  const { vision_config: vision, text_config: text } = model.config;
  const layers = [vision.num_hidden_layers, text.num_hidden_layers] as const;
  assert.equal(
    STEPS.map((step) => calls(`q_rows_${step}`)),
    [0, 0, 0, 0],
  );
  assert.equal(
    STEPS.map((step) => calls(`f32_${step}`)),
    [2 * layers[0] + 1, 2 * layers[1] + 1, layers[0], layers[1]],
  );
  model.ops.engine.dispose();
});

for (const relaxed of [false, true]) {
  const testHere = relaxed && !isRelaxedHere ? test.skip : test;
  for (const dtype of QUANTISED) {
    const title = relaxed ? `relaxed ${dtype}` : dtype;
    testHere(
      `${title}: the logits' bits are the same with taps and without, with 1, 2 and 3 threads`,
      async () => {
        const all: Uint32Array[] = [];
        for (const threads of [1, 2, 3]) {
          const model = await open(dtype, { relaxed, threads });
          all.push(await run(model));
          const seen = new Set<string>();
          all.push(await run(model, { taps: new Taps(model.ops.engine, (name) => seen.add(name)) }));
          for (const name of [
            'vision_model.encoder.layers.0.layer_norm2',
            'vision_model.encoder.layers.1.mlp.activation_fn',
            'text_model.layers.0.input_layernorm',
            'text_model.layers.1.mlp.act_fn',
          ]) {
            assert.ok(seen.has(`model.${name}`), name);
          }
          model.ops.engine.dispose();
        }
        assert.ok(new Set(all[0]).size > 1000, 'the logits differ among themselves');
        for (const other of all.slice(1)) assert.equal(other, all[0]);
      },
    );
  }
}

test.run();
