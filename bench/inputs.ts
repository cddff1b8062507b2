/** Inputs of the measured calls: made-up pixels, ids, keys and values. */
import type { SmolVLMConfig } from '../src/model/config.js';
import type { HostTensor } from '../src/runtime/tensor.js';
import { counterPixels } from '../test/support/counter.js';

/** One full tile: [1, 1, 3, image_size, image_size]. */
export function tile({ vision_config }: SmolVLMConfig): HostTensor<Float32Array> {
  const { image_size, num_channels } = vision_config;
  const dims = [1, 1, num_channels, image_size, image_size];
  return { dims, data: counterPixels(num_channels * image_size * image_size) };
}

/** `count` ids, none of which stands for a picture. */
export function textIds({ text_config }: SmolVLMConfig, count: number): HostTensor<Int32Array> {
  const top = text_config.vocab_size - 150;
  return { dims: [1, count], data: Int32Array.from({ length: count }, (_, i) => (i * 7919) % top) };
}

/** A prompt with one picture of one tile in it. */
export function pictureIds(config: SmolVLMConfig): HostTensor<Int32Array> {
  const { vision_config, scale_factor, image_token_id } = config;
  const states = vision_config.num_patches / scale_factor ** 2;
  const words = [...textIds(config, 35).data];
  const ids = [...words.slice(0, 5), ...new Array(states).fill(image_token_id), ...words.slice(5)];
  return { dims: [1, ids.length], data: Int32Array.from(ids) };
}

/** Keys and values of `context` tokens for each layer, [1, kv_heads, context, head_dim]. */
export function legacyCache({ text_config }: SmolVLMConfig, context: number) {
  const { num_hidden_layers, num_key_value_heads, head_dim } = text_config;
  const dims = [1, num_key_value_heads, context, head_dim];
  const size = num_key_value_heads * context * head_dim;
  const data = Float32Array.from({ length: size }, (_, i) => ((i * 7919) % 2003) / 1000 - 1);
  return Array.from(
    { length: num_hidden_layers },
    () =>
      [
        { dims, data },
        { dims, data },
      ] as const,
  );
}
