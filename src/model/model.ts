import type { Engine } from '../runtime/engine.js';
import { Ops } from '../runtime/ops.js';
import type { Weight } from '../runtime/weight.js';
import type { CacheDtype, CacheShape } from './cache.js';
import type { SmolVLMConfig } from './config.js';
import type { LayerStreams } from './low-memory.js';
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
  /** Where layers stay in the checkpoint's files (low_memory): theirs have no place in memory. */
  readonly streams?: LayerStreams;
}

/** Both towers and the connector (SmolVLMModel). */
export interface BaseModel extends VisionModel {
  readonly weights: BaseWeights;
  /** What earlier calls left for later ones. It holds as long as the weights do. */
  readonly prefixes: PrefixCache;
  readonly cacheShape: CacheShape;
  readonly tiles: TileCache;
}

/** How keys and values are kept, and how much memory may be used to spare work that was done before. */
export interface CacheOptions {
  /** How keys and values are stored; they are rounded to it before every use. Default: float32. */
  kv_cache_dtype?: CacheDtype;
  /** Bytes for the keys and values of earlier prompts and answers; 0 for none. Default: 128 MiB, or 2048 tokens if larger. */
  prefix_cache_bytes?: number;
  /** Bytes for the states of earlier tiles; 0 for none. Default: 32 MiB. */
  image_cache_bytes?: number;
}

/** What a model is made with beside its weights. */
export interface ModelOptions extends CacheOptions {
  /** Layers that stay in the files. */
  streams?: LayerStreams;
}

/** With the head (SmolVLMForConditionalGeneration). */
export interface Model extends BaseModel {
  readonly weights: ModelWeights;
}

type Named = ReadonlyMap<string, Weight>;

export function createVisionModel(
  engine: Engine,
  config: SmolVLMConfig,
  named: Named,
  { streams }: ModelOptions = {},
): VisionModel {
  const weights = { vision: visionWeights(named, config, streams) };
  return { ops: new Ops(engine), config, weights, named, streams };
}

export function createBaseModel(
  engine: Engine,
  config: SmolVLMConfig,
  named: Named,
  options: ModelOptions = {},
): BaseModel {
  return { ...base(engine, config, options), weights: baseWeights(named, config, options.streams), named };
}

export function createModel(
  engine: Engine,
  config: SmolVLMConfig,
  named: Named,
  options: ModelOptions = {},
): Model {
  return { ...base(engine, config, options), weights: modelWeights(named, config, options.streams), named };
}

function base(engine: Engine, config: SmolVLMConfig, options: ModelOptions) {
  const ops = textOps(engine, config);
  const cacheShape = cacheShapeOf(config, options.kv_cache_dtype);
  const { prefix_cache_bytes = prefixCacheBytes(config), image_cache_bytes } = options;
  // Asked in this order when memory runs short: keys and values are large and soon computed again.
  const prefixes = new PrefixCache(engine, config.image_token_id, prefix_cache_bytes);
  const tiles = new TileCache(ops, image_cache_bytes);
  return { ops, config, cacheShape, prefixes, tiles, streams: options.streams };
}

function cacheShapeOf({ text_config }: SmolVLMConfig, kv_cache_dtype?: CacheDtype): CacheShape {
  const { num_hidden_layers, num_key_value_heads, head_dim } = text_config;
  return { layers: num_hidden_layers, kvHeads: num_key_value_heads, headDim: head_dim, kv_cache_dtype };
}

function textOps(engine: Engine, { text_config }: SmolVLMConfig): Ops {
  const ops = new Ops(engine);
  rotaryFrequencies(ops, text_config);
  return ops;
}
