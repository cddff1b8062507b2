import type { Engine } from '../runtime/engine.js';
import { Ops } from '../runtime/ops.js';
import type { Weight } from '../runtime/weight.js';
import type { SmolVLMConfig } from './config.js';
import type { LayerStreams } from './low-memory.js';
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
  streams?: LayerStreams,
): VisionModel {
  const weights = { vision: visionWeights(named, config, streams) };
  return { ops: new Ops(engine), config, weights, named, streams };
}

export function createBaseModel(
  engine: Engine,
  config: SmolVLMConfig,
  named: Named,
  streams?: LayerStreams,
): BaseModel {
  return { ops: new Ops(engine), config, weights: baseWeights(named, config, streams), named, streams };
}

export function createModel(
  engine: Engine,
  config: SmolVLMConfig,
  named: Named,
  streams?: LayerStreams,
): Model {
  return { ops: new Ops(engine), config, weights: modelWeights(named, config, streams), named, streams };
}
