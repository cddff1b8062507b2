/** Random weights, and the token embedding read, set and resized, beside the reference's. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError, InputError, MemoryError } from '../../src/errors.js';
import { normalValues } from '../../src/model/random-weights.js';
import {
  type ResizeOptions,
  SmolVLMConfig,
  SmolVLMForConditionalGeneration,
  SmolVLMModel,
  SmolVLMVisionConfig,
  SmolVLMVisionTransformer,
} from '../../src/modeling.js';
import { RESIZED_NOISE } from '../tolerance.js';
import {
  divergence,
  GOLDENS,
  openSurface,
  readCalls,
  readInput,
  readJson,
  readOutputs,
  SURFACE,
} from './golden.js';
import { rejects, throws } from './refusals.js';

const tiny = () =>
  new SmolVLMConfig({
    image_token_id: 60,
    pad_token_id: 2,
    vision_config: {
      hidden_size: 64,
      intermediate_size: 96,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      image_size: 32,
      patch_size: 8,
      initializer_range: 0.05,
    },
    text_config: {
      vocab_size: 64,
      hidden_size: 48,
      intermediate_size: 80,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      pad_token_id: 2,
      initializer_range: 0.3,
    },
  });

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

const RESIZES: Record<string, [number | undefined, ResizeOptions]> = {
  'embeddings.grown': [137, {}],
  'embeddings.grown-to-multiple': [undefined, { pad_to_multiple_of: 16 }],
  'embeddings.shrunk': [130, {}],
};

const file = await openSurface();
const embeddingCalls = readCalls().filter(({ name }) => name.startsWith('embeddings.'));

for (const call of embeddingCalls) {
  test(`surface golden ${call.name}: the weights that it leaves, and the logits`, async () => {
    const model = await SmolVLMForConditionalGeneration.from_pretrained(`${GOLDENS}/${call.checkpoint}`);
    const golden = await readOutputs(file, call.name);
    const before = (await model.get_input_embeddings()).num_embeddings;
    const [rows, width] = golden.get('embed_tokens')!.dims;
    const resize = RESIZES[call.name];
    if (resize) {
      const embedding = await model.resize_token_embeddings(...resize);
      assert.is(embedding.num_embeddings, rows);
    } else {
      const data = Float32Array.from({ length: rows * width }, (_, i) => (i % 97) / 64 - 0.75);
      await model.set_input_embeddings({ weight: { dims: [rows, width], data } });
    }
    assert.is(model.config.text_config.vocab_size, rows);
    const ours = {
      embed_tokens: (await model.get_input_embeddings()).weight,
      lm_head: (await model.get_output_embeddings()).weight,
    };
    const old = Math.min(before, rows) * width;
    for (const name of ['embed_tokens', 'lm_head'] as const) {
      const { dims, float32 } = golden.get(name)!;
      assert.equal(ours[name].dims, dims);
      assert.equal(ours[name].data.subarray(0, old), float32.subarray(0, old), `${name}: the old rows' bits`);
      const added = ours[name].data.subarray(old);
      for (const [i, value] of added.entries()) {
        const error = Math.abs(value - float32[old + i]);
        assert.ok(
          error < RESIZED_NOISE,
          `${name}: row ${before + Math.floor(i / width)}, ${value} for ${float32[old + i]}`,
        );
      }
    }
    const input_ids = await readInput(file, call, 'input_ids');
    const attention_mask = await readInput(file, call, 'attention_mask');
    const { logits } = await model.forward({ input_ids, attention_mask });
    const vocabulary = Math.min(before, rows);
    const wrong = divergence('logits', logits, golden.get('logits')!, (index) => index % rows < vocabulary);
    assert.equal(wrong, []);
    model.dispose();
  });
}

test('resizing: new rows are the mean, or normal; tied heads follow; what is saved has the new size', async () => {
  const config = tiny();
  config.text_config.tie_word_embeddings = true;
  const model = await SmolVLMForConditionalGeneration.from_config(config);
  const { weight: old } = await model.get_input_embeddings();
  const mean = Float32Array.from({ length: 48 }, (_, k) => {
    let sum = 0;
    for (let row = 0; row < 64; row++) sum += old.data[row * 48 + k];
    return sum / 64;
  });
  const { weight } = await model.resize_token_embeddings(66);
  assert.equal(weight.data.subarray(64 * 48, 65 * 48), mean);
  assert.equal((await model.get_output_embeddings()).weight, weight);
  const { weight: drawn } = await model.resize_token_embeddings(80, { mean_resizing: false, seed: 9 });
  const fresh = drawn.data.subarray(66 * 48);
  const deviation = Math.sqrt(fresh.reduce((sum, value) => sum + value * value, 0) / fresh.length);
  assert.ok(Math.abs(deviation - 0.3) < 0.05, `deviation ${deviation}`);
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  await model.save_pretrained(files);
  const again = await SmolVLMForConditionalGeneration.from_pretrained(files);
  assert.is(again.config.text_config.vocab_size, 80);
  const input_ids = { dims: [1, 2], data: Int32Array.of(79, 3) };
  assert.equal(
    (await again.forward({ input_ids, use_cache: false })).logits,
    (await model.forward({ input_ids, use_cache: false })).logits,
  );
  const same = await model.resize_token_embeddings();
  assert.is(same.num_embeddings, 80);
  for (const each of [model, again]) each.dispose();
});

test('the vision embeddings can be read and set', async () => {
  const model = new SmolVLMVisionTransformer(tiny().vision_config);
  const { patch_embedding, position_embedding } = await model.get_input_embeddings();
  assert.equal(patch_embedding.weight.dims, [64, 3, 8, 8]);
  assert.equal(patch_embedding.bias.dims, [64]);
  assert.equal(position_embedding.weight.dims, [16, 64]);
  const pixel_values = { dims: [1, 3, 32, 32], data: new Float32Array(3072) };
  const position = { dims: [16, 64], data: Float32Array.from({ length: 1024 }, (_, i) => i % 5) };
  const bias = { dims: [64], data: new Float32Array(64).fill(0.5) };
  await model.set_input_embeddings({
    patch_embedding: { weight: patch_embedding.weight, bias },
    position_embedding: { weight: position },
  });
  const { hidden_states } = await model.forward({ pixel_values, output_hidden_states: true });
  const [first] = hidden_states!;
  const ids = [0, 0, 1, 2].flatMap((row) => [0, 0, 1, 2].map((column) => row * 4 + column));
  assert.equal(first.data.length, 1024);
  const rows = new Set(
    Array.from({ length: 16 }, (_, i) => String(first.data.subarray(i * 64, i * 64 + 64))),
  );
  const expected = ids.map((id) =>
    String(position.data.subarray(id * 64, id * 64 + 64).map((value) => value + 0.5)),
  );
  assert.ok(
    [...rows].every((row) => expected.includes(row)),
    'bias and positions alone remain of a black picture',
  );
  model.dispose();
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

test.after(() => file.close());

test.run();
