import { ADAPTER_CONFIG, type Adapter, adapterChanges, openAdapter } from '../checkpoint/adapter.js';
import type { CheckpointFolder } from '../checkpoint/folder.js';
import { loadWeights } from '../checkpoint/load.js';
import { checkTensors, expectedTensors, type TensorExpectation } from '../checkpoint/manifest.js';
import { mergedShards } from '../checkpoint/merge.js';
import { type ProgressCallback, tellLoading } from '../checkpoint/progress.js';
import { joinScales } from '../checkpoint/quantized.js';
import type { Shards } from '../checkpoint/shards.js';
import { CheckpointError } from '../errors.js';
import { Engine, type EngineOptions } from '../runtime/engine.js';
import type { Weight } from '../runtime/weight.js';
import type { PositionDtype, SmolVLMConfig } from './config.js';
import { convertShards } from './convert-weights.js';
import { fittingDtypes } from './fitting-dtypes.js';
import { type Level, levelConfig, levelTensors, wholeNames } from './levels.js';
import { loadLowMemory } from './low-memory.js';
import {
  type BaseModel,
  type CacheOptions,
  createBaseModel,
  createModel,
  createVisionModel,
  type Model,
  type ModelOptions,
  type VisionModel,
} from './model.js';
import { type RandomRules, randomShards } from './random-weights.js';
import { type DtypeChanges, dtypeChanges, type PartDtypes } from './weight-dtypes.js';

export interface LoadOptions extends Omit<EngineOptions, 'threads'>, CacheOptions {
  /** As the engine's; `by size`: `auto`, but 1 for a model that more threads would make slower. Default: 1. */
  threads?: EngineOptions['threads'] | 'by size';
  signal?: AbortSignal;
  /** Called as weights arrive in memory; by `from_pretrained` also as files arrive from a hub, and when all is ready. */
  progress_callback?: ProgressCallback;
  /**
   * Rounds or quantises the weights of each part while they are read; as they are stored where nothing is said. `auto`: as
   * they are stored if that fits in memory, else in the widest dtype that does. Default: as they are stored.
   */
  dtypes?: PartDtypes | 'auto';
  /**
   * Whether layers that do not fit in memory (`maximumBytes`, with room for a run) stay in the checkpoint's files and are read
   * when their turn comes, for each picture and for each token: slower, with the same bits. The files must stay where they are
   * until `dispose()`. Weights are not narrowed then unless `dtype` says so. Default: false.
   */
  low_memory?: boolean;
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
    options?: ModelOptions,
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
  options?: ModelOptions,
): LevelModels[L] {
  return CREATE[level](engine, config, named, options);
}

/** The same for any level: a folder of each of the three classes serves as far as it has the tensors. */
export async function loadLevel<L extends Level>(
  level: L,
  folder: CheckpointFolder,
  options: LoadOptions = {},
): Promise<LevelModels[L]> {
  const opened = await openWeights(level, folder, options);
  try {
    return await fill(level, opened, options);
  } finally {
    await opened.close();
  }
}

/** A checkpoint's tensors as they will be read, their headers checked. */
export interface OpenWeights {
  /** The checkpoint's name. */
  readonly name: string;
  readonly config: SmolVLMConfig;
  readonly expected: TensorExpectation;
  /** With roundings and an adapter's changes. */
  readonly shards: Shards;
  /** What is quantised after that. */
  readonly quantize: DtypeChanges['quantize'];
  /** Gives the adapter's file back. */
  close(): Promise<void>;
}

/** @throws ConfigError, CheckpointError, InputError; AbortError */
export async function openWeights(
  level: Level,
  folder: CheckpointFolder,
  options: LoadOptions = {},
): Promise<OpenWeights> {
  const { positionDtype } = options;
  await refuseAdapter(folder);
  const parsed = levelConfig(level, await folder.json('config.json'));
  const config = positionDtype ? { ...parsed, position_dtype: positionDtype } : parsed;
  const expected = levelTensors(level, config);
  const { files, tensors } = await folder.weights();
  const named = wholeNames(level, tensors);
  const isQuantized = config.quantization !== null;
  const joined = isQuantized ? joinScales(expected.tensors, named, folder.name) : named;
  checkTensors(expected, joined, folder.name);
  if (isQuantized && options.adapter) throw quantizedBase(folder.name);
  const { dtypes = {} } = options;
  const narrowed = () => (options.low_memory ? {} : fittingDtypes(expected.tensors, joined, config, options));
  const parts = dtypes === 'auto' ? narrowed() : dtypes;
  const { convert, quantize } = dtypeChanges(expected.tensors, joined, parts);
  const shards = convertShards({ files, tensors: joined }, convert);
  const opened = { name: folder.name, config, expected, quantize };
  if (!options.adapter) return { ...opened, shards, close: async () => {} };
  const adapter = await openAdapter(options.adapter);
  try {
    return { ...opened, shards: withAdapter(shards, adapter, config), close: () => adapter.close() };
  } catch (error) {
    await adapter.close();
    throw error;
  }
}

/** An adapter's product is added to the weights that it was trained on, before these are rounded to a few bits. */
function quantizedBase(folder: string): CheckpointError {
  return new CheckpointError({
    what: 'an adapter cannot be merged into quantised weights',
    where: folder,
    expected: 'the checkpoint that it was made from, and dtype to quantise it while loading',
    got: 'a quantised checkpoint',
  });
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
  const shards = randomShards(expected.tensors, rules);
  const { dtypes = {} } = options;
  const parts = dtypes === 'auto' ? {} : dtypes;
  const { quantize } = dtypeChanges(expected.tensors, shards.tensors, parts);
  return fill(level, { name: 'random weights', config, expected, shards, quantize }, options);
}

async function fill<L extends Level>(
  level: L,
  opened: Omit<OpenWeights, 'close'>,
  options: LoadOptions,
): Promise<LevelModels[L]> {
  const { signal } = options;
  const { name, config, expected, shards, quantize } = opened;
  const onProgress = tellLoading(name, options.progress_callback);
  const threads = options.threads === 'by size' ? threadsBySize(expected) : options.threads;
  const engine = await Engine.create({ ...options, threads });
  try {
    const reading = { signal, onProgress, quantize };
    if (options.low_memory) {
      const { named, streams } = await loadLowMemory(opened, engine, reading);
      return createLevel(level, engine, config, named, { ...options, streams });
    }
    const named = await loadWeights(shards, expected.tensors, engine, reading);
    return createLevel(level, engine, config, named, options);
  } catch (error) {
    engine.dispose();
    throw error;
  }
}

/** Weights from which on passing work on to other threads costs less than it saves. */
const WORTH_THREADS = 8e6;

function threadsBySize({ tensors }: TensorExpectation): 'auto' | 1 {
  const weights = tensors.reduce((sum, { shape }) => sum + shape.reduce((size, n) => size * n, 1), 0);
  return weights >= WORTH_THREADS ? 'auto' : 1;
}
