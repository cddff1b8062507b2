/** Where the model page and transformers 4.56.2 disagree: what is done here, both sides tested. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CheckpointError, ConfigError, InputError, MemoryError } from '../../src/errors.js';
import {
  SmolVLMConfig,
  SmolVLMForConditionalGeneration,
  SmolVLMModel,
  SmolVLMVisionTransformer,
} from '../../src/modeling.js';
import type { HostTensor } from '../../src/runtime/tensor.js';
import { GOLDENS } from './golden.js';
import { rejects, throws } from './refusals.js';
import { IMAGE, ids, pictures, tinyConfig, tinyModel } from './tiny.js';

const model = await tinyModel();
const prompt = ids([5, IMAGE, IMAGE, IMAGE, IMAGE, 6, 7, 8]);
const pixel_values = pictures(1, 1);

test("labels: the page says that image tokens are ignored, 4.56.2 ignores −100 alone; that is kept, −100 in their place gives the page's", async () => {
  const input_ids = prompt;
  const counted = (await model.forward({ input_ids, pixel_values, labels: prompt })).loss!;
  const ignored = { dims: prompt.dims, data: prompt.data.map((id) => (id === IMAGE ? -100 : id)) };
  const page = (await model.forward({ input_ids, pixel_values, labels: ignored })).loss!;
  const { logits } = await model.forward({ input_ids, pixel_values });
  const mean = (keeps: (label: number) => boolean) => {
    const losses = [...prompt.data.keys()]
      .slice(1)
      .filter((i) => keeps(prompt.data[i]))
      .map((i) => {
        const row = logits.data.subarray((i - 1) * 64, i * 64);
        const peak = Math.max(...row);
        return peak + Math.log(row.reduce((sum, x) => sum + Math.exp(x - peak), 0)) - row[prompt.data[i]];
      });
    return losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  };
  assert.ok(Math.abs(counted - mean(() => true)) < 1e-5, `${counted}`);
  assert.ok(Math.abs(page - mean((label) => label !== IMAGE)) < 1e-5, `${page}`);
  assert.ok(Math.abs(counted - page) > 1e-3, 'the two differ');
  const none = { dims: prompt.dims, data: new Int32Array(8).fill(-100) };
  assert.ok(Number.isNaN((await model.forward({ input_ids, labels: none })).loss));
});

test('surplus pictures change nothing but image_hidden_states; too few are refused, and so are parts of one', async () => {
  const { logits, image_hidden_states } = await model.forward({ input_ids: prompt, pixel_values });
  const more = {
    dims: [1, 3, 3, 16, 16],
    data: Float32Array.from({ length: 2304 }, (_, i) => pixel_values.data[i % 768] + (i >= 768 ? 1 : 0)),
  };
  const surplus = await model.forward({ input_ids: prompt, pixel_values: more });
  assert.equal(surplus.logits, logits);
  assert.equal(image_hidden_states!.dims, [1, 4, 24]);
  assert.equal(surplus.image_hidden_states!.dims, [3, 4, 24]);
  const two = ids([...Array(8).fill(IMAGE), 5]);
  await rejects(
    model.forward({ input_ids: two, pixel_values }),
    InputError,
    'input_ids',
    '1 × 4 = 4 tokens',
    '8',
  );
  const part = ids([IMAGE, IMAGE, 5]);
  await rejects(
    model.forward({ input_ids: part, pixel_values }),
    InputError,
    'input_ids, row 0',
    'a multiple of 4',
    '2',
  );
  // Without pictures an <image> id is a token like any other.
  assert.ok(await model.forward({ input_ids: part }));
});

test('SELU, which the page names and 4.56.2 lacks, works as torch.nn.SELU (golden selu-embeds-with-ids)', async () => {
  const config = tinyConfig({}, { hidden_act: 'selu' });
  config.vision_config.hidden_act = 'selu';
  const taps = new Map<string, HostTensor<Float32Array>>();
  const selu = await SmolVLMModel.from_config(config);
  await selu.forward({ input_ids: prompt, pixel_values, tap: (name, value) => taps.set(name, value) });
  for (const path of ['model.vision_model.encoder.layers.0.mlp', 'model.text_model.layers.1.mlp']) {
    const before = taps.get(`${path}.${path.includes('vision') ? 'fc1' : 'gate_proj'}`)!;
    const after = taps.get(`${path}.${path.includes('vision') ? 'activation_fn' : 'act_fn'}`)!;
    for (const [i, x] of before.data.entries()) {
      const expected = 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x));
      assert.ok(Math.abs(after.data[i] - expected) < 1e-6, `${x}: ${after.data[i]} for ${expected}`);
    }
  }
  selu.dispose();
});

test('the vision transformer of a whole checkpoint has its weights, where 4.56.2 draws random ones', async () => {
  const folder = `${GOLDENS}/one-image`;
  const whole = await SmolVLMForConditionalGeneration.from_pretrained(folder);
  const vision = await SmolVLMVisionTransformer.from_pretrained(folder);
  const taps = new Map<string, HostTensor>();
  const input_ids = ids([5, 6]);
  await whole
    .forward({ input_ids, pixel_values, tap: (name, value) => taps.set(name, value) })
    .catch(() => {});
  const pixels = { dims: [1, 3, 16, 16], data: pixel_values.data };
  const { last_hidden_state } = await vision.forward({ pixel_values: pixels });
  assert.equal(taps.get('model.vision_model'), last_hidden_state);
  whole.dispose();
  vision.dispose();
});

test('a checkpoint of SmolVLMModel has no head: an error names it, where 4.56.2 draws a random one', async () => {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const base = await SmolVLMModel.from_config(tinyConfig());
  await base.save_pretrained(files);
  base.dispose();
  const error = await SmolVLMForConditionalGeneration.from_pretrained(files).catch((cause) => cause);
  assert.instance(error, CheckpointError);
  assert.match(error.where, 'lm_head.weight');
});

test("the page's SmolVLMModel(SmolVLMConfig()): 4.56.2 refuses a pad outside the vocabulary, here it zeroes no row", async () => {
  const config = new SmolVLMConfig();
  assert.ok(Number(config.text_config.pad_token_id) >= config.text_config.vocab_size);
  // The config and the model are there as on the page; its 7 billion weights are too many for one memory, with numbers.
  const large = new SmolVLMModel(config);
  assert.is(large.config, config);
  const error = await large.ready().catch((cause) => cause);
  assert.instance(error, MemoryError);
  assert.match(error.got, /2\d{10} bytes more/);
  const small = await SmolVLMModel.from_config(tinyConfig({}, { pad_token_id: 64 }));
  const { weight } = await small.get_input_embeddings();
  const rows = Array.from({ length: 64 }, (_, row) => weight.data.subarray(row * 24, row * 24 + 24));
  assert.is(rows.filter((row) => row.every((value) => value === 0)).length, 0);
  small.dispose();
});

test('pictures without a dimension of images, as the page has them: 4.56.2 raises, here each row has one', async () => {
  const rows = ids([...prompt.data], [...prompt.data]);
  const five = pictures(2, 1);
  const four = { dims: [2, 3, 16, 16], data: five.data };
  const mask = new Uint8Array(512).map((_, i) => (i % 16 < 12 ? 1 : 0));
  const pixel_attention_mask = { dims: [2, 1, 16, 16], data: mask };
  const expected = await model.forward({
    input_ids: rows,
    pixel_values: five,
    pixel_attention_mask,
    use_cache: false,
  });
  for (const dims of [
    [2, 1, 16, 16],
    [2, 16, 16],
  ]) {
    const masked = { pixel_values: four, pixel_attention_mask: { dims, data: mask } };
    assert.equal(await model.forward({ input_ids: rows, ...masked, use_cache: false }), expected);
  }
  assert.equal(await model.get_image_features(four), await model.get_image_features(five));
  assert.equal(expected.image_hidden_states!.dims, [2, 4, 24]);
});

test('an activation given as a function, which the page allows: a KeyError in 4.56.2, refused here by name', () => {
  const config = tinyConfig();
  (config.vision_config as { hidden_act: unknown }).hidden_act = Math.tanh;
  throws(
    () => new SmolVLMModel(config),
    ConfigError,
    'vision_config.hidden_act',
    'gelu_pytorch_tanh',
    'tanh',
  );
});

test('an argument of no meaning: 4.56.2 ignores it, here it is refused', async () => {
  const call = model.forward({ input_ids: prompt, pixel_valeus: pixel_values } as object);
  await rejects(call, InputError, 'pixel_valeus', 'pixel_values', 'pixel_valeus');
});

test('the last hidden state over a cache: the page says one column, 4.56.2 gives all that were fed, and so does this', async () => {
  const base = await SmolVLMModel.from_config(tinyConfig());
  const { past_key_values } = await base.forward({ input_ids: ids([3, 4, 5]) });
  const { last_hidden_state } = await base.forward({ input_ids: ids([6, 7]), past_key_values });
  assert.equal(last_hidden_state.dims, [1, 2, 24]);
  base.dispose();
});

test('a mask of the new tokens alone over a cache: 4.56.2 takes it for the first columns, here it is refused', async () => {
  const { past_key_values } = await model.forward({ input_ids: ids([3, 4, 5]) });
  const attention_mask = { dims: [1, 1], data: Uint8Array.of(1) };
  const call = model.forward({ input_ids: ids([6]), attention_mask, past_key_values });
  await rejects(call, InputError, 'attention_mask', '[1, 4]', '[1,1]');
});

test.after(() => model.dispose());

test.run();
