import { existsSync, readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { HIDDEN_ACTS, parseConfig } from '../../src/model/config.js';

const vision = {
  hidden_size: 24,
  num_attention_heads: 2,
  intermediate_size: 40,
  image_size: 33,
  patch_size: 4,
};
const text = { hidden_size: 12, num_attention_heads: 6, intermediate_size: 20, vocab_size: 50 };
const config = (fields: object = {}, textFields: object = {}, visionFields: object = {}) =>
  parseConfig({
    model_type: 'smolvlm',
    vision_config: { ...vision, ...visionFields },
    text_config: { ...text, ...textFields },
    ...fields,
  });

// The values of SmolVLMConfig().to_dict() and Idefics3Config().to_dict() in transformers 4.56.2.
const DEFAULT_VISION = {
  hidden_size: 1152,
  intermediate_size: 3072,
  num_hidden_layers: 12,
  num_attention_heads: 16,
  num_channels: 3,
  image_size: 224,
  patch_size: 32,
  hidden_act: 'gelu_pytorch_tanh',
  layer_norm_eps: 1e-6,
  head_dim: 72,
  num_patches_per_side: 7,
  num_patches: 49,
};
const DEFAULT_TEXT = {
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 32,
  head_dim: 128,
  hidden_act: 'silu',
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  rope_scaling: null,
  attention_bias: false,
  mlp_bias: false,
  tie_word_embeddings: false,
  pad_token_id: null,
  bos_token_id: 1,
  eos_token_id: 2,
};

for (const model_type of ['smolvlm', 'idefics3']) {
  test(`${model_type}: with nothing but its model_type a config has the reference's defaults`, () => {
    const { vision_config, text_config, ...rest } = parseConfig({ model_type });
    assert.equal(vision_config, DEFAULT_VISION);
    assert.equal(text_config, { ...DEFAULT_TEXT, rms_norm_eps: 1e-5, pad_token_id: 128002 });
    assert.equal(rest, {
      model_type,
      image_token_id: 128257,
      scale_factor: 2,
      use_cache: true,
      pad_token_id: 128002,
      bos_token_id: null,
      eos_token_id: null,
      image_seq_len: 12,
      quantization: null,
      position_dtype: 'float32',
    });
  });
}

test('a text_config that is there, even if empty, has the defaults of LlamaConfig itself', () => {
  assert.equal(parseConfig({ model_type: 'smolvlm', text_config: {} }).text_config, DEFAULT_TEXT);
  assert.equal(parseConfig({ model_type: 'smolvlm', vision_config: null }).vision_config, DEFAULT_VISION);
});

test('derived fields: patches are floored, head_dim and key/value heads follow the heads, null counts as absent', () => {
  const { vision_config, text_config, image_seq_len } = config(
    {},
    { num_key_value_heads: null, head_dim: null },
  );
  assert.is(vision_config.head_dim, 12);
  assert.is(vision_config.num_patches_per_side, 8);
  assert.is(image_seq_len, 16);
  assert.is(text_config.head_dim, 2);
  assert.is(text_config.num_key_value_heads, 6);
  assert.is(config({ scale_factor: 3 }).image_seq_len, 7);
  assert.is(config({}, { head_dim: 10, num_key_value_heads: 2 }).text_config.head_dim, 10);
  assert.is(config({}, { hidden_size: 13, head_dim: 10 }).text_config.hidden_size, 13);
});

test('position_dtype is dtype, else torch_dtype, else float32', () => {
  assert.is(config({ dtype: 'float16', torch_dtype: 'bfloat16' }).position_dtype, 'float16');
  assert.is(config({ dtype: null, torch_dtype: 'bfloat16' }).position_dtype, 'bfloat16');
  assert.is(config({ torch_dtype: null }).position_dtype, 'float32');
});

test('the text_config alone says whether lm_head is tied', () => {
  assert.is(config({ tie_word_embeddings: true }).text_config.tie_word_embeddings, false);
  assert.is(
    config({ tie_word_embeddings: false }, { tie_word_embeddings: true }).text_config.tie_word_embeddings,
    true,
  );
});

test('every supported activation is accepted in both towers', () => {
  for (const hidden_act of HIDDEN_ACTS) {
    const { vision_config, text_config } = config({}, { hidden_act }, { hidden_act });
    assert.equal([vision_config.hidden_act, text_config.hidden_act], [hidden_act, hidden_act]);
  }
});

test('default rope types and several eos ids are accepted; rope_theta may lie in rope_parameters', () => {
  const { text_config } = config(
    {},
    { rope_scaling: { rope_type: 'default' }, rope_theta: 5e5, eos_token_id: [2, 7] },
  );
  assert.is(text_config.rope_theta, 5e5);
  assert.equal(text_config.eos_token_id, [2, 7]);
  assert.is(config({}, { rope_scaling: { type: 'default', factor: 2 } }).text_config.rope_theta, 10000);
  const parameters = { rope_type: 'default', rope_theta: 130000 };
  assert.is(config({}, { rope_parameters: parameters }).text_config.rope_theta, 130000);
});

const real = ['checkpoints', '../shared/checkpoints']
  .map((folder) => `${folder}/SmolVLM-256M-Instruct/config.json`)
  .find((path) => existsSync(path));
if (real === undefined) console.log('SKIP the config of SmolVLM-256M-Instruct: the file is not there');
(real === undefined ? test.skip : test)('the config of SmolVLM-256M-Instruct is read', () => {
  const { vision_config, text_config, ...rest } = parseConfig(JSON.parse(readFileSync(real!, 'utf8')));
  assert.equal(rest, {
    model_type: 'idefics3',
    image_token_id: 49190,
    scale_factor: 4,
    use_cache: true,
    pad_token_id: 128002,
    bos_token_id: null,
    eos_token_id: null,
    image_seq_len: 64,
    quantization: null,
    position_dtype: 'bfloat16',
  });
  assert.equal(vision_config, {
    ...DEFAULT_VISION,
    hidden_size: 768,
    num_attention_heads: 12,
    image_size: 512,
    patch_size: 16,
    head_dim: 64,
    num_patches_per_side: 32,
    num_patches: 1024,
  });
  assert.equal(text_config, {
    ...DEFAULT_TEXT,
    vocab_size: 49280,
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    head_dim: 64,
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-5,
    rope_theta: 100000,
    rope_scaling: null,
    pad_token_id: 2,
  });
});

test.run();
