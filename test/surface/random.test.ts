/** Random weights of new models. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError, InputError, MemoryError } from '../../src/errors.js';
import { normalValues } from '../../src/model/random-weights.js';
import {
  SmolVLMConfig,
  SmolVLMForConditionalGeneration,
  SmolVLMModel,
  SmolVLMVisionConfig,
  SmolVLMVisionTransformer,
} from '../../src/modeling.js';
import { readJson, SURFACE } from './golden.js';
import { rejects, throws } from './refusals.js';
import { tiny } from './tiny-weights.js';

for (const { name, seed, first, values } of readJson(`${SURFACE}/random.json`).cases) {
  test(`random values of ${name}, seed ${seed}, from ${first}: the documented generator, by an independent program`, () => {
    const ours = normalValues(name, seed, first, values.length, 1);
    for (const [i, value] of ours.entries()) {
      const error = Math.abs(value - values[i]);
      assert.ok(error <= 1e-7 * Math.abs(values[i]), `value ${i}: ${value} for ${values[i]}`);
    }
  });
}

test('random values are normal: mean, deviation, skewness and kurtosis of 200,000 within 5 standard errors', () => {
  const n = 200_000;
  const values = normalValues('a.weight', 3, 0, n, 2);
  const moment = (power: number) => values.reduce((sum, value) => sum + (value / 2) ** power, 0) / n;
  assert.ok(Math.abs(moment(1)) < 5 * Math.sqrt(1 / n), `mean ${moment(1)}`);
  assert.ok(Math.abs(moment(2) - 1) < 5 * Math.sqrt(2 / n), `variance ${moment(2)}`);
  assert.ok(Math.abs(moment(3)) < 5 * Math.sqrt(15 / n), `skewness ${moment(3)}`);
  assert.ok(Math.abs(moment(4) - 3) < 5 * Math.sqrt(96 / n), `kurtosis ${moment(4)}`);
  const tail = values.filter((value) => Math.abs(value) > 6).length;
  assert.ok(tail > 400 && tail < 680, `${tail} beyond three deviations, 540 expected`);
});

/** The tensors of a saved model. */
async function tensors(model: SmolVLMForConditionalGeneration | SmolVLMModel | SmolVLMVisionTransformer) {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  await model.save_pretrained(files);
  const bytes = files.get('model.safetensors')!;
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  delete header.__metadata__;
  const entries = Object.entries(header as Record<string, { data_offsets: [number, number] }>);
  return new Map(
    entries.map(
      ([
        name,
        {
          data_offsets: [begin, end],
        },
      ]) => {
        return [name, new Float32Array(bytes.slice(8 + length + begin, 8 + length + end).buffer)];
      },
    ),
  );
}

test("new SmolVLMForConditionalGeneration(config): weights by initializer_range, biases 0, norms 1, the pad's row 0", async () => {
  const model = new SmolVLMForConditionalGeneration(tiny(), { seed: 11 });
  assert.is(model.memory, 0, 'nothing is drawn before it is needed');
  const all = await tensors(model);
  assert.is(
    await model.num_parameters(),
    [...all.values()].reduce((sum, { length }) => sum + length, 0),
  );
  for (const [name, values] of all) {
    if (name.endsWith('.bias'))
      assert.ok(
        values.every((value) => value === 0),
        name,
      );
    else if (/norm\d?\.weight$/.test(name))
      assert.ok(
        values.every((value) => value === 1),
        name,
      );
    else {
      const expected = name.includes('vision_model') ? 0.05 : 0.3;
      const deviation = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
      const error = 5 * expected * Math.sqrt(1 / (2 * values.length)) + (name.includes('embed') ? 0.01 : 0);
      assert.ok(Math.abs(deviation - expected) < error, `${name}: deviation ${deviation}`);
    }
  }
  const embedding = all.get('model.text_model.embed_tokens.weight')!;
  assert.ok(embedding.subarray(2 * 48, 3 * 48).every((value) => value === 0));
  assert.ok(embedding.subarray(48, 2 * 48).every((value) => value !== 0));
  assert.equal(model.generation_config.eos_token_id, [2]);
  model.dispose();
});

test('random weights follow the seed alone: the same on each class, others for another seed', async () => {
  const whole = await tensors(await SmolVLMForConditionalGeneration.from_config(tiny(), { seed: 4 }));
  const base = await tensors(new SmolVLMModel(tiny(), { seed: 4 }));
  const vision = await tensors(new SmolVLMVisionTransformer(tiny().vision_config, { seed: 4 }));
  const other = await tensors(new SmolVLMModel(tiny(), { seed: 5 }));
  for (const [name, values] of base) assert.equal(values, whole.get(`model.${name}`), name);
  for (const [name, values] of vision) assert.equal(values, base.get(`vision_model.${name}`), name);
  assert.is(base.size + 1, whole.size);
  assert.not.equal(other.get('text_model.embed_tokens.weight'), base.get('text_model.embed_tokens.weight'));
});

test('new models compute: forward waits for the weights, attentions sum to 1, dtype and tied heads are kept', async () => {
  const config = tiny();
  config.text_config.tie_word_embeddings = true;
  const model = new SmolVLMForConditionalGeneration(config, { dtype: 'bfloat16' });
  const input_ids = { dims: [1, 5], data: Int32Array.of(3, 4, 5, 6, 7) };
  const output = await model.forward({ input_ids, output_attentions: true });
  assert.equal(output.logits.dims, [1, 5, 64]);
  assert.ok(output.logits.data.every(Number.isFinite));
  const row = output.attentions![1].data.subarray(20, 25);
  assert.ok(Math.abs(row.reduce((sum, value) => sum + value, 0) - 1) < 1e-6);
  assert.is(model.dtype, 'bfloat16');
  assert.equal(await model.get_output_embeddings(), await model.get_input_embeddings());
  const [first] = (await model.get_input_embeddings()).weight.data;
  assert.is(
    new Float32Array(
      new Uint32Array([new Uint32Array(Float32Array.of(first).buffer)[0] & 0xffff0000]).buffer,
    )[0],
    first,
  );
  const generated = await model.generate({ input_ids, max_new_tokens: 3 });
  assert.equal(generated.dims, [1, 8]);
  model.dispose();
});

test('the default config is accepted, and a model that does not fit says so with numbers', async () => {
  const model = new SmolVLMModel(new SmolVLMConfig());
  assert.is(model.config.text_config.hidden_size, 4096);
  const error = await model.ready().catch((cause) => cause);
  assert.instance(error, MemoryError);
  assert.match(error.expected, /at most 429\d+ bytes/);
  assert.match(error.got, /2\d{10} bytes more/);
  const vision = new SmolVLMVisionTransformer(new SmolVLMVisionConfig());
  assert.is(vision.config.num_hidden_layers, 12);
});

test('weights refuse wrong shapes, numbers, seeds and configs by name', async () => {
  const model = await SmolVLMModel.from_config(tiny());
  const wrong = { dims: [64, 47], data: new Float32Array(64 * 47) };
  await rejects(model.set_input_embeddings(wrong), InputError, 'embed_tokens.weight', '[64,48]', '[64,47]');
  for (const count of [0, -3, 2.5, Number.NaN]) {
    await rejects(
      model.resize_token_embeddings(count),
      InputError,
      'new_num_tokens',
      'integer above 0',
      `${count}`,
    );
  }
  const half = { pad_to_multiple_of: 0.5 };
  await rejects(
    model.resize_token_embeddings(9, half),
    InputError,
    'pad_to_multiple_of',
    'integer above 0',
    '0.5',
  );
  assert.is((await model.get_input_embeddings()).num_embeddings, 64);
  await rejects(SmolVLMModel.from_config(tiny(), { seed: 0.5 }), InputError, 'seed', 'an integer', '0.5');
  throws(() => new SmolVLMModel({} as never), InputError, 'SmolVLMModel', 'a SmolVLMConfig', 'Object');
  throws(
    () => new SmolVLMVisionTransformer(tiny() as never),
    InputError,
    'SmolVLMVisionTransformer',
    'a SmolVLMVisionConfig',
    'SmolVLMConfig',
  );
  const act = tiny();
  act.vision_config.hidden_act = 'softsign';
  throws(() => new SmolVLMModel(act), ConfigError, 'vision_config.hidden_act', 'gelu', 'softsign');
  throws(() => model.prune_heads({}), InputError, 'prune_heads', 'the reference', 'one');
  model.dispose();
});

test.run();
