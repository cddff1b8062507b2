import type { Engine } from '../runtime/engine.js';
import { Ops } from '../runtime/ops.js';
import type { Weight } from '../runtime/weight.js';
import type { SmolVLMConfig } from './config.js';
import { prefixCacheBytes } from './memory.js';
import { PrefixCache } from './prefix-cache.js';
import { rotaryFrequencies } from './text.js';
import { TileCache } from './tile-cache.js';
import {
  type BaseWeights,
  baseWeights,
  type ModelWeights,
  modelWeights,
  type VisionWeights,
  visionWeights,
} from './weights.js';

/** A vision transformer ready to run: its config, its weights by role, and the operations of the engine that holds them. */
export interface VisionModel {
  readonly ops: Ops;
  /** The whole config; of a vision transformer alone, only its vision_config counts. */
  readonly config: SmolVLMConfig;
  readonly weights: { readonly vision: VisionWeights };
  /** The same weights by state-dict name, in the reference's order. */
  readonly named: ReadonlyMap<string, Weight>;
}

/** Both towers and the connector (SmolVLMModel). */
export interface BaseModel extends VisionModel {
  readonly weights: BaseWeights;
  /** What earlier calls left for later ones. It holds as long as the weights do. */
  readonly prefixes: PrefixCache;
  readonly tiles: TileCache;
}

/** How much memory may be used to spare work that was done before. */
export interface ReuseOptions {
  /** Bytes for the keys and values of earlier prompts and answers; 0 for none. Default: 128 MiB, or 2048 tokens if larger. */
  prefix_cache_bytes?: number;
  /** Bytes for the states of earlier tiles; 0 for none. Default: 32 MiB. */
  image_cache_bytes?: number;
}

/** With the head (SmolVLMForConditionalGeneration). */
export interface Model extends BaseModel {
  readonly weights: ModelWeights;
}

type Named = ReadonlyMap<string, Weight>;

export function createVisionModel(engine: Engine, config: SmolVLMConfig, named: Named): VisionModel {
  return { ops: new Ops(engine), config, weights: { vision: visionWeights(named, config) }, named };
}

export function createBaseModel(
  engine: Engine,
  config: SmolVLMConfig,
  named: Named,
  options: ReuseOptions = {},
): BaseModel {
  return { ...base(engine, config, options), weights: baseWeights(named, config), named };
}

export function createModel(
  engine: Engine,
  config: SmolVLMConfig,
  named: Named,
  options: ReuseOptions = {},
): Model {
  return { ...base(engine, config, options), weights: modelWeights(named, config), named };
}

function base(engine: Engine, config: SmolVLMConfig, options: ReuseOptions) {
  const ops = textOps(engine, config);
  const { prefix_cache_bytes = prefixCacheBytes(config), image_cache_bytes } = options;
  // Asked in this order when memory runs short: keys and values are large and soon computed again.
  const prefixes = new PrefixCache(engine, config.image_token_id, prefix_cache_bytes);
  const tiles = new TileCache(ops, image_cache_bytes);
  return { ops, config, prefixes, tiles };
}

function textOps(engine: Engine, { text_config }: SmolVLMConfig): Ops {
  const ops = new Ops(engine);
  rotaryFrequencies(ops, text_config);
  return ops;
}
