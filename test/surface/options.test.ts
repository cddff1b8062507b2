/** Options of the reference that mean little here: accepted by their names, nonsense refused; the auto class. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CheckpointError, ConfigError, InputError } from '../../src/errors.js';
import {
  AutoModelForImageTextToText,
  PreTrainedModel,
  type PretrainedOptions,
  SmolVLMForConditionalGeneration,
  SmolVLMModel,
  SmolVLMVisionTransformer,
} from '../../src/modeling.js';
import { GOLDENS } from './golden.js';
import { rejects, throws } from './refusals.js';
import { ids, pictures, tinyConfig } from './tiny.js';

const FOLDER = `${GOLDENS}/one-image`;
const input_ids = ids([5, 6, 7, 8]);

test('AutoModelForImageTextToText finds the class by model_type, for smolvlm and idefics3', async () => {
  for (const name of ['one-image', 'text-only-tied-bf16']) {
    const model = await AutoModelForImageTextToText.from_pretrained(`${GOLDENS}/${name}`, {
      dtype: 'torch.bfloat16',
      device_map: 'auto',
    });
    assert.instance(model, SmolVLMForConditionalGeneration);
    assert.instance(model, PreTrainedModel);
    assert.is(model.dtype, 'bfloat16');
    model.dispose();
  }
  const made = await AutoModelForImageTextToText.from_config(tinyConfig(), { seed: 2 });
  assert.instance(made, SmolVLMForConditionalGeneration);
  made.dispose();
});

test('AutoModelForImageTextToText refuses other model types, and folders that are none', async () => {
  const files = { 'config.json': JSON.stringify({ model_type: 'llava' }) };
  await rejects(
    AutoModelForImageTextToText.from_pretrained(files),
    ConfigError,
    'config.json: model_type',
    'smolvlm or idefics3',
    'llava',
  );
  const nothing = { 'config.json': 'null' };
  await rejects(
    AutoModelForImageTextToText.from_pretrained(nothing),
    ConfigError,
    'config.json: model_type',
    'smolvlm or idefics3',
    'nothing',
  );
  const error = await AutoModelForImageTextToText.from_pretrained('no/such/folder').catch((cause) => cause);
  assert.instance(error, CheckpointError);
  const config = { model_type: 'smolvlm' } as never;
  await rejects(
    AutoModelForImageTextToText.from_config(config),
    InputError,
    'SmolVLMForConditionalGeneration',
    'a SmolVLMConfig',
    'Object',
  );
});

test('device_map, device and attn_implementation are accepted and change no bit', async () => {
  const plain = await SmolVLMModel.from_pretrained(FOLDER);
  const expected = await plain.forward({ input_ids, output_attentions: true, use_cache: false });
  const all: PretrainedOptions[] = [
    { device_map: 'auto', attn_implementation: 'sdpa' },
    { device_map: { '': 'cpu' }, attn_implementation: 'flash_attention_2' },
    { device: 'wasm', attn_implementation: 'eager', dtype: 'auto' },
    { device_map: null, device: null, attn_implementation: null, dtype: null },
  ];
  for (const options of all) {
    const model = await SmolVLMModel.from_pretrained(FOLDER, options);
    const output = await model.forward({ input_ids, output_attentions: true, use_cache: false });
    assert.equal(output, expected, JSON.stringify(options));
    model.dispose();
  }
  plain.dispose();
});

test('nonsense in dtype, device_map, device, attn_implementation and position_dtype is refused', async () => {
  const load = (options: object) => SmolVLMVisionTransformer.from_pretrained(FOLDER, options);
  await rejects(load({ dtype: 'int3' }), InputError, 'dtype', 'bfloat16', 'int3');
  await rejects(load({ torch_dtype: 5 }), InputError, 'dtype', 'float32', '5');
  await rejects(load({ device_map: 'cuda' }), InputError, 'device_map', 'cpu', 'cuda');
  await rejects(load({ device_map: { '': 'cpu', lm_head: 'mps' } }), InputError, 'device_map', 'cpu', 'mps');
  await rejects(load({ device: 0 }), InputError, 'device', 'cpu', '0');
  await rejects(load({ attn_implementation: 'fast' }), InputError, 'attn_implementation', 'sdpa', 'fast');
  await rejects(load({ position_dtype: 'int8' }), InputError, 'position_dtype', 'float32', 'int8');
});

test('to, eval, device and training: the chain of calls of the page works', async () => {
  const loaded = await SmolVLMForConditionalGeneration.from_pretrained(FOLDER);
  const model = loaded.to('cpu').eval().to({ device: 'auto' }).to(null);
  assert.is(model, loaded);
  assert.is(model.device, 'cpu');
  assert.is(model.training, false);
  assert.is(model.to(model.device, { dtype: 'torch.float32' }).dtype, 'float32');
  throws(() => model.to('cuda'), InputError, 'dtype', 'float32', 'cuda');
  throws(() => model.to({ device: 'gpu' }), InputError, 'to', 'cpu', 'gpu');
  throws(() => model.to('cpu', { dtype: 'int7' as 'float32' }), InputError, 'dtype', 'float32', 'int7');
  throws(() => model.to('cpu', { dtype: 'int4' }), InputError, 'to', "dtype: 'int4'", 'int4');
  throws(() => model.to({ place: 'cpu' }), InputError, 'to', 'device and dtype', 'place');
  model.dispose();
});

test('position_dtype and dtype set the arithmetic of the vision position ids', async () => {
  // 8 patches a side: bfloat16 gives 0 … 7, float32 0, 0, 1 … 6.
  const folder = `${GOLDENS}/half-bfloat16`;
  const pixel_values = { ...pictures(1, 1), dims: [1, 3, 16, 16] };
  const encode = async (options: PretrainedOptions) => {
    const model = await SmolVLMVisionTransformer.from_pretrained(folder, options);
    const { last_hidden_state } = await model.forward({ pixel_values });
    model.dispose();
    return last_hidden_state;
  };
  const stored = await encode({});
  const single = await encode({ position_dtype: 'float32' });
  assert.not.equal(single, stored);
  assert.equal(await encode({ dtype: 'float32' }), single);
  assert.equal(await encode({ dtype: 'bfloat16' }), stored);
  const model = await SmolVLMVisionTransformer.from_pretrained(folder);
  assert.equal((await model.forward({ pixel_values, position_dtype: 'float32' })).last_hidden_state, single);
  assert.equal((await model.to('float32').forward({ pixel_values })).last_hidden_state, single);
  model.dispose();
});

test('calls made while .to() or resize_token_embeddings is under way wait for it, those made before do not see it', async () => {
  const model = await SmolVLMForConditionalGeneration.from_pretrained(FOLDER);
  const before = model.forward({ input_ids, use_cache: false });
  const resized = model.resize_token_embeddings(140);
  const after = model.forward({ input_ids, use_cache: false });
  const rounded = model.to('float16').forward({ input_ids, use_cache: false });
  assert.is((await before).logits.dims[2], 131);
  assert.is((await resized).num_embeddings, 140);
  assert.is((await after).logits.dims[2], 140);
  assert.is((await rounded).logits.dims[2], 140);
  assert.not.equal((await rounded).logits.data, (await after).logits.data);
  model.dispose();
});

test.run();
