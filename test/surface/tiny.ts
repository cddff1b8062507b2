/** A small random model of the public classes, and inputs for it. */
import { type InitOptions, SmolVLMConfig, SmolVLMForConditionalGeneration } from '../../src/modeling.js';
import type { HostTensor } from '../../src/runtime/tensor.js';

export const IMAGE = 60;

/** Tiles of 16 × 16 in patches of 4: 4 tokens each. */
export function tinyConfig(
  more: Record<string, unknown> = {},
  text: Record<string, unknown> = {},
): SmolVLMConfig {
  return new SmolVLMConfig({
    image_token_id: IMAGE,
    pad_token_id: 2,
    vision_config: {
      hidden_size: 16,
      intermediate_size: 24,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      image_size: 16,
      patch_size: 4,
      initializer_range: 0.2,
    },
    text_config: {
      vocab_size: 64,
      hidden_size: 24,
      intermediate_size: 32,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      head_dim: 6,
      pad_token_id: 2,
      initializer_range: 0.3,
      ...text,
    },
    ...more,
  });
}

export function tinyModel(options: InitOptions = {}): Promise<SmolVLMForConditionalGeneration> {
  return SmolVLMForConditionalGeneration.from_config(tinyConfig(), options);
}

export function ids(...rows: number[][]): HostTensor<Int32Array> {
  return { dims: [rows.length, rows[0].length], data: Int32Array.from(rows.flat()) };
}

/** Pictures [batch, count, 3, 16, 16], no two alike. */
export function pictures(batch: number, count: number): HostTensor<Float32Array> {
  const data = Float32Array.from({ length: batch * count * 768 }, (_, i) => ((i * 7919) % 255) / 127.5 - 1);
  return { dims: [batch, count, 3, 16, 16], data };
}
