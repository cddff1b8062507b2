import type { CheckpointFolder } from '../checkpoint/folder.js';
import { type LoadProgress, loadWeights } from '../checkpoint/load.js';
import { checkTensors, expectedTensors } from '../checkpoint/manifest.js';
import { Engine, type EngineOptions } from '../runtime/engine.js';
import { parseConfig } from './config.js';
import { createModel, type Model } from './model.js';

export interface LoadOptions extends EngineOptions {
  signal?: AbortSignal;
  /** Called as weights arrive, with bytes. */
  progress_callback?: (progress: LoadProgress) => void;
}

/**
 * Config and weights of a checkpoint folder, in a new engine.
 * @throws ConfigError, CheckpointError, MemoryError; AbortError. The engine is gone then.
 */
export async function loadModel(folder: CheckpointFolder, options: LoadOptions = {}): Promise<Model> {
  const { signal, progress_callback: onProgress } = options;
  const config = parseConfig(await folder.json('config.json'));
  const expected = expectedTensors(config);
  const shards = await folder.weights();
  checkTensors(expected, shards.tensors, folder.name);
  const engine = await Engine.create(options);
  try {
    const weights = await loadWeights(shards, expected.tensors, engine, { signal, onProgress });
    return createModel(engine, config, weights);
  } catch (error) {
    engine.dispose();
    throw error;
  }
}
