/** The three published sizes as configs (bench/sizes.json), and what their work amounts to. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseConfig, type SmolVLMConfig } from '../src/model/config.js';
import { root } from '../test/support/paths.js';

export type Size = '256m' | '500m' | '2.2b';

export const SIZES: readonly Size[] = ['256m', '500m', '2.2b'];

export interface SizeChange {
  /** Layers of each tower. */
  readonly layers?: number;
  readonly vocab_size?: number;
}

/** config.json of a size, as a plain object, cut where asked. */
export function sizeJson(size: Size, change: SizeChange = {}): object {
  const { text_config, vision_config, ...rest } = JSON.parse(
    readFileSync(join(root, 'bench/sizes.json'), 'utf8'),
  )[size];
  const layers = change.layers === undefined ? {} : { num_hidden_layers: change.layers };
  const vocabulary = change.vocab_size ? { vocab_size: change.vocab_size } : {};
  return {
    ...rest,
    ...(change.vocab_size && { image_token_id: change.vocab_size - 1 }),
    text_config: { ...text_config, ...layers, ...vocabulary },
    vision_config: { ...vision_config, ...layers },
  };
}

export function sizeConfig(size: Size, change?: SizeChange): SmolVLMConfig {
  return parseConfig(sizeJson(size, change));
}

/** Multiplications and additions of one tile: the projections, the MLP, attention over all patches, the connector. */
export function visionOperations({ vision_config: v, text_config }: SmolVLMConfig): number {
  const ends = v.num_patches * v.hidden_size * (v.num_channels * v.patch_size ** 2 + text_config.hidden_size);
  return v.num_hidden_layers * visionLayerOperations(v) + 2 * ends;
}

export function visionLayerOperations(v: SmolVLMConfig['vision_config']): number {
  const products = 4 * v.hidden_size ** 2 + 2 * v.hidden_size * v.intermediate_size;
  return 2 * v.num_patches * (products + 2 * v.num_patches * v.hidden_size);
}

/** Multiplications and additions of `tokens` more after `past`, without the head. */
export function textOperations(config: SmolVLMConfig, tokens: number, past = 0): number {
  return config.text_config.num_hidden_layers * textLayerOperations(config, tokens, past);
}

export function textLayerOperations({ text_config: t }: SmolVLMConfig, tokens: number, past = 0): number {
  const seen = tokens * past + (tokens * (tokens + 1)) / 2;
  return 2 * tokens * textLayerWeights(t) + 4 * seen * t.num_attention_heads * t.head_dim;
}

/** Weights of one decoder layer's matrices. */
export function textLayerWeights(t: SmolVLMConfig['text_config']): number {
  const attention = 2 * t.hidden_size * t.head_dim * (t.num_attention_heads + t.num_key_value_heads);
  return attention + 3 * t.hidden_size * t.intermediate_size;
}

/** Weights that a decoded token multiplies: the layers' matrices and the head. */
export function tokenWeights({ text_config: t }: SmolVLMConfig): number {
  return t.num_hidden_layers * textLayerWeights(t) + t.vocab_size * t.hidden_size;
}

/** Keys and values that a decoded token reads. */
export function cacheValues({ text_config: t }: SmolVLMConfig, context: number): number {
  return 2 * t.num_hidden_layers * t.num_key_value_heads * t.head_dim * context;
}
