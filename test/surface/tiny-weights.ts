import { SmolVLMConfig } from '../../src/modeling.js';

/** A config whose towers draw their weights with different deviations. */
export const tiny = (): SmolVLMConfig =>
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
