import { test } from 'uvu';
import { ConfigError } from '../../src/errors.js';
import { parseConfig } from '../../src/model/config.js';
import { type ErrorParts, rejects } from '../checkpoint/helpers.js';

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

const wrong: [string, () => unknown, ErrorParts][] = [
  [
    'an array',
    () => parseConfig([]),
    { what: 'not an object', where: 'config.json', expected: 'a JSON object', got: '[]' },
  ],
  [
    'another model type',
    () => config({ model_type: 'idefics2' }),
    {
      what: 'model type',
      where: 'config.json: model_type',
      expected: 'smolvlm or idefics3',
      got: '"idefics2"',
    },
  ],
  [
    'no model type',
    () => parseConfig({}),
    { where: 'config.json: model_type', expected: 'smolvlm', got: 'nothing' },
  ],
  [
    'another text model',
    () => config({}, { model_type: 'mistral' }),
    { where: 'text_config.model_type', expected: 'llama', got: '"mistral"' },
  ],
  [
    'a vision_config that is no object',
    () => config({ vision_config: 3 }),
    { where: 'config.json: vision_config', expected: 'a JSON object', got: '3' },
  ],
  [
    'an unknown activation',
    () => config({}, { hidden_act: 'mish' }),
    { where: 'text_config.hidden_act', expected: 'quick_gelu', got: '"mish"' },
  ],
  [
    'an unknown activation of the vision tower',
    () => config({}, {}, { hidden_act: 7 }),
    { where: 'vision_config.hidden_act', expected: 'gelu', got: '7' },
  ],
  [
    'linear rope scaling without a factor',
    () => config({}, { rope_scaling: { type: 'linear' } }),
    { where: 'text_config.rope_scaling.factor', expected: 'a number above 0', got: 'nothing' },
  ],
  [
    'a rope factor that is a string',
    () => config({}, { rope_scaling: { rope_type: 'linear', factor: '2' } }),
    { where: 'text_config.rope_scaling.factor', expected: 'a number above 0', got: '"2"' },
  ],
  [
    'llama3 rope without its factors',
    () => config({}, { rope_scaling: { rope_type: 'llama3', factor: 8 } }),
    { where: 'text_config.rope_scaling.low_freq_factor', expected: 'a number above 0', got: 'nothing' },
  ],
  [
    'llama3 rope whose bounds are the wrong way round',
    () =>
      config(
        {},
        { rope_scaling: { rope_type: 'llama3', factor: 8, low_freq_factor: 4, high_freq_factor: 1 } },
      ),
    { where: 'rope_scaling.high_freq_factor', expected: 'above low_freq_factor, 4', got: '1' },
  ],
  [
    'llama3 rope without the original context',
    () =>
      config(
        {},
        { rope_scaling: { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 } },
      ),
    { where: 'rope_scaling.original_max_position_embeddings', expected: 'an integer', got: 'nothing' },
  ],
  [
    'rope of another type',
    () => config({}, { rope_scaling: { rope_type: 'linear', type: 'dynamic', factor: 8 } }),
    {
      what: 'not implemented',
      where: 'text_config.rope_scaling.type',
      expected: 'default, linear or llama3',
      got: '"dynamic"',
    },
  ],
  [
    'rope scaling without a type',
    () => config({}, { rope_scaling: { factor: 8 } }),
    {
      what: 'not implemented',
      where: 'text_config.rope_scaling.rope_type',
      expected: 'default, linear or llama3',
      got: 'nothing',
    },
  ],
  [
    'rope scaling that is a string',
    () => config({}, { rope_scaling: 'yarn' }),
    { where: 'text_config.rope_scaling', expected: 'a JSON object', got: '"yarn"' },
  ],
  [
    'scaled rope_parameters',
    () => config({}, { rope_parameters: { rope_type: 'yarn' } }),
    { what: 'not implemented', where: 'rope_parameters.rope_type', expected: 'default', got: '"yarn"' },
  ],
  [
    'quantised weights',
    () => config({ quantization_config: { bits: 4 } }),
    { what: 'quantised', where: 'config.json: quantization_config', expected: 'absent', got: '{"bits":4}' },
  ],
  [
    'a quantised text model',
    () => config({}, { quantization_config: { bits: 8 } }),
    { what: 'quantised', where: 'text_config.quantization_config', expected: 'absent', got: '{"bits":8}' },
  ],
  [
    'query norms',
    () => config({}, { qk_layer_norms: true }),
    { what: 'not implemented', where: 'text_config.qk_layer_norms', expected: 'false', got: 'true' },
  ],
  [
    'a resampler',
    () => config({}, { use_resampler: true }),
    { what: 'not implemented', where: 'text_config.use_resampler', expected: 'false', got: 'true' },
  ],
  [
    'interleaved rope',
    () => config({}, { rope_interleaved: true }),
    { what: 'not implemented', where: 'text_config.rope_interleaved', expected: 'false', got: 'true' },
  ],
  [
    'partial rope',
    () => config({}, { partial_rotary_factor: 0.5 }),
    { what: 'not implemented', where: 'text_config.partial_rotary_factor', expected: '1', got: '0.5' },
  ],
  [
    'a sliding window',
    () => config({}, { sliding_window: 512 }),
    { what: 'not implemented', where: 'text_config.sliding_window', expected: 'absent', got: '512' },
  ],
  [
    'vision heads that do not divide the width',
    () => config({}, {}, { num_attention_heads: 5 }),
    { where: 'vision_config.hidden_size', expected: 'a multiple of num_attention_heads, 5', got: '24' },
  ],
  [
    'text heads that do not divide the width',
    () => config({}, { num_attention_heads: 5 }),
    { where: 'text_config.hidden_size', expected: 'a multiple of num_attention_heads, 5', got: '12' },
  ],
  [
    'key/value heads that do not divide the heads',
    () => config({}, { num_key_value_heads: 4 }),
    { where: 'text_config.num_key_value_heads', expected: 'a divisor of num_attention_heads, 6', got: '4' },
  ],
  [
    'an odd head_dim',
    () => config({}, { head_dim: 5 }),
    { where: 'text_config.head_dim', expected: 'even', got: '5' },
  ],
  [
    'a patch larger than the image',
    () => config({}, {}, { patch_size: 34 }),
    { where: 'vision_config.image_size', expected: 'at least patch_size, 34', got: '33' },
  ],
  [
    'a scale factor of 0',
    () => config({ scale_factor: 0 }),
    { where: 'config.json: scale_factor', expected: 'an integer from 1', got: '0' },
  ],
  [
    'a width of 0',
    () => config({}, { hidden_size: 0 }),
    { where: 'text_config.hidden_size', expected: 'an integer from 1', got: '0' },
  ],
  [
    'a negative size',
    () => config({}, { intermediate_size: -4 }),
    { where: 'text_config.intermediate_size', expected: 'an integer from 1', got: '-4' },
  ],
  [
    'a size that is a string',
    () => config({}, { vocab_size: '50' }),
    { where: 'text_config.vocab_size', expected: 'an integer', got: '"50"' },
  ],
  [
    'a size that is null',
    () => config({}, {}, { image_size: null }),
    { where: 'vision_config.image_size', expected: 'an integer', got: 'null' },
  ],
  [
    'a size with a fraction',
    () => config({}, {}, { patch_size: 4.5 }),
    { where: 'vision_config.patch_size', expected: 'an integer', got: '4.5' },
  ],
  [
    'an absurd number of layers',
    () => config({}, { num_hidden_layers: 1e9 }),
    { where: 'text_config.num_hidden_layers', expected: 'to 4096', got: '1000000000' },
  ],
  [
    'a negative image token',
    () => config({ image_token_id: -1 }),
    { where: 'image_token_id', expected: 'an integer from 0', got: '-1' },
  ],
  [
    'an epsilon that is no number',
    () => config({}, { rms_norm_eps: 'tiny' }),
    { where: 'text_config.rms_norm_eps', expected: 'a number above 0', got: '"tiny"' },
  ],
  [
    'a theta of 0',
    () => config({}, { rope_theta: 0 }),
    { where: 'text_config.rope_theta', expected: 'a number above 0', got: '0' },
  ],
  [
    'a bias that is no boolean',
    () => config({}, { mlp_bias: 'yes' }),
    { where: 'text_config.mlp_bias', expected: 'true or false', got: '"yes"' },
  ],
  [
    'an eos id that is no integer',
    () => config({}, { eos_token_id: [1, 'x'] }),
    { where: 'text_config.eos_token_id', expected: 'a token id', got: '[1,"x"]' },
  ],
  [
    'an unknown dtype',
    () => config({ torch_dtype: 'float8' }),
    { where: 'config.json: torch_dtype', expected: 'bfloat16', got: '"float8"' },
  ],
];
for (const [title, run, parts] of wrong) {
  test(`${title}: a ConfigError that names the field, expected and got`, () =>
    rejects(run, ConfigError, parts));
}

test.run();
