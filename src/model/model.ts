import type { Engine } from '../runtime/engine.js';
import { Ops } from '../runtime/ops.js';
import type { Weight } from '../runtime/weight.js';
import type { SmolVLMConfig } from './config.js';
import { type ModelWeights, modelWeights } from './weights.js';

/** A model ready to run: its config, its weights by role, and the operations of the engine that holds them. */
export interface Model {
  readonly ops: Ops;
  readonly config: SmolVLMConfig;
  readonly weights: ModelWeights;
}

export function createModel(
  engine: Engine,
  config: SmolVLMConfig,
  weights: ReadonlyMap<string, Weight>,
): Model {
  return { ops: new Ops(engine), config, weights: modelWeights(weights, config) };
}
