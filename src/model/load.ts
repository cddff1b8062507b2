import { ADAPTER_CONFIG, type Adapter, adapterChanges, openAdapter } from '../checkpoint/adapter.js';
import type { CheckpointFolder } from '../checkpoint/folder.js';
import { type LoadProgress, loadWeights } from '../checkpoint/load.js';
import { checkTensors, expectedTensors, type TensorExpectation } from '../checkpoint/manifest.js';
import { mergedShards } from '../checkpoint/merge.js';
import type { Shards } from '../checkpoint/shards.js';
import { CheckpointError } from '../errors.js';
import { Engine, type EngineOptions } from '../runtime/engine.js';
import type { Weight, WeightDtype } from '../runtime/weight.js';
import type { PositionDtype, SmolVLMConfig } from './config.js';
import { convertShards } from './convert-weights.js';
import { type Level, levelConfig, levelTensors, wholeNames } from './levels.js';
import {
  type BaseModel,
  createBaseModel,
  createModel,
  createVisionModel,
  type Model,
  type ReuseOptions,
  type VisionModel,
} from './model.js';
import { type RandomRules, randomShards } from './random-weights.js';

export interface LoadOptions extends EngineOptions, ReuseOptions {
  signal?: AbortSignal;
  /** Called as weights arrive, with bytes. */
  progress_callback?: (progress: LoadProgress) => void;
  /** Rounds the weights while they are read. F32 keeps them as they are stored. Default: likewise. */
  weightDtype?: WeightDtype;
  /** The dtype of the vision position ids' arithmetic. Default: the config's. */
  positionDtype?: PositionDtype;
  /** A PEFT folder whose LoRA adapter is merged into the weights while they are read. */
  adapter?: CheckpointFolder;
}

/** What each level's model is. */
export interface LevelModels {
  vision: VisionModel;
  base: BaseModel;
  causal: Model;
}

const CREATE: {
  [L in Level]: (
    engine: Engine,
    config: SmolVLMConfig,
    named: ReadonlyMap<string, Weight>,
    options?: ReuseOptions,
  ) => LevelModels[L];
} = { vision: createVisionModel, base: createBaseModel, causal: createModel };

/**
 * Config and weights of a checkpoint folder, in a new engine.
 * @throws ConfigError, CheckpointError, MemoryError; AbortError. The engine is gone then.
 */
export function loadModel(folder: CheckpointFolder, options: LoadOptions = {}): Promise<Model> {
  return loadLevel('causal', folder, options);
}

/** A level's model around weights that lie in an engine already. */
export function createLevel<L extends Level>(
  level: L,
  engine: Engine,
  config: SmolVLMConfig,
  named: ReadonlyMap<string, Weight>,
  options?: ReuseOptions,
): LevelModels[L] {
  return CREATE[level](engine, config, named, options);
}

/** The same for any level: a folder of each of the three classes serves as far as it has the tensors. */
export async function loadLevel<L extends Level>(
  level: L,
  folder: CheckpointFolder,
  options: LoadOptions = {},
): Promise<LevelModels[L]> {
  const { positionDtype, weightDtype = 'F32' } = options;
  await refuseAdapter(folder);
  const parsed = levelConfig(level, await folder.json('config.json'));
  const config = positionDtype ? { ...parsed, position_dtype: positionDtype } : parsed;
  const expected = levelTensors(level, config);
  const { files, tensors } = await folder.weights();
  const shards = { files, tensors: wholeNames(level, tensors) };
  checkTensors(expected, shards.tensors, folder.name);
  const converted = convertShards(shards, weightDtype);
  if (!options.adapter) return fill(level, config, expected, converted, options);
  const adapter = await openAdapter(options.adapter);
  try {
    return await fill(level, config, expected, withAdapter(converted, adapter, config), options);
  } finally {
    await adapter.close();
  }
}

/** The tensors of a checkpoint (under the whole model's names) with an adapter's changes. */
export function withAdapter(shards: Shards, adapter: Adapter, config: SmolVLMConfig): Shards {
  return mergedShards(shards, adapterChanges(adapter, expectedTensors(config)));
}

/** @throws CheckpointError if the folder holds an adapter and no model: the base must be named by the caller. */
export async function refuseAdapter(folder: CheckpointFolder): Promise<void> {
  if ((await folder.has('config.json')) || !(await folder.has(ADAPTER_CONFIG))) return;
  const json = await folder.json(ADAPTER_CONFIG);
  const base = (json as { base_model_name_or_path?: unknown } | null)?.base_model_name_or_path;
  throw new CheckpointError({
    what: 'an adapter without its base',
    where: folder.name,
    expected: `the folder of its base model, ${JSON.stringify(base ?? 'unknown')}, and this one as the option adapter`,
    got: `${ADAPTER_CONFIG} and no config.json`,
  });
}

/**
 * A model with random weights, in a new engine.
 * @throws MemoryError, with numbers; AbortError. The engine is gone then.
 */
export function randomModel<L extends Level>(
  level: L,
  config: SmolVLMConfig,
  rules: RandomRules,
  options: LoadOptions = {},
): Promise<LevelModels[L]> {
  const expected = levelTensors(level, config);
  return fill(level, config, expected, randomShards(expected.tensors, rules), options);
}

async function fill<L extends Level>(
  level: L,
  config: SmolVLMConfig,
  expected: TensorExpectation,
  shards: Shards,
  options: LoadOptions,
): Promise<LevelModels[L]> {
  const { signal, progress_callback: onProgress } = options;
  const engine = await Engine.create(options);
  try {
    const weights = await loadWeights(shards, expected.tensors, engine, { signal, onProgress });
    return createLevel(level, engine, config, weights, options);
  } catch (error) {
    engine.dispose();
    throw error;
  }
}
