/** Configurations: the defaults, a model from a configuration with random weights, and its configuration again. */
import { SmolVLMConfig, SmolVLMModel, SmolVLMVisionConfig, SmolVLMVisionTransformer } from 'smolvlm-wasm';

// A configuration with the defaults, and one of a size that fits an example.
const defaults = new SmolVLMConfig();
console.log(
  `defaults: ${defaults.model_type}, scale_factor ${defaults.scale_factor}, image ${defaults.vision_config.image_size}`,
);

const vision_config = new SmolVLMVisionConfig({
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  image_size: 32,
  patch_size: 8,
});
const text_config = {
  model_type: 'llama',
  vocab_size: 128,
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  pad_token_id: 0,
};
const configuration = new SmolVLMConfig({
  vision_config,
  text_config,
  image_token_id: 127,
  scale_factor: 2,
  pad_token_id: 0,
});

// A model with random weights from it, and the configuration read back from the model.
const model = new SmolVLMModel(configuration);
const input_ids = { dims: [1, 5], data: new Int32Array([1, 2, 3, 4, 5]) };
const { last_hidden_state } = await model.forward({ input_ids });
console.log(`last_hidden_state: [${last_hidden_state.dims}], scale_factor ${model.config.scale_factor}`);
model.dispose();

// The vision tower alone.
const tower = new SmolVLMVisionTransformer(vision_config);
const pixel_values = { dims: [1, 3, 32, 32], data: new Float32Array(3 * 32 * 32).fill(0.5) };
const encoded = await tower.forward({ pixel_values });
console.log(`patches: [${encoded.last_hidden_state.dims}]`);
tower.dispose();
