import { type CheckpointLocation, openCheckpoint } from '../checkpoint/folder.js';
import type { Level } from '../model/levels.js';
import { type LevelModels, loadLevel } from '../model/load.js';
import { type DTypeName, readDtype } from './dtype-names.js';
import { type PretrainedOptions, readOptions } from './options.js';

/** A model whose weights are there already. */
export class Loaded<L extends Level> {
  readonly model: LevelModels[L];
  readonly dtype: DTypeName | undefined;

  constructor(model: LevelModels[L], dtype?: DTypeName) {
    this.model = model;
    this.dtype = dtype;
  }
}

/** A checkpoint's model of a level and its config.json, for `from_pretrained`. */
export async function loadPretrained<L extends Level, T>(
  level: L,
  location: CheckpointLocation,
  options: PretrainedOptions,
  more: (folder: Awaited<ReturnType<typeof openCheckpoint>>, model: LevelModels[L]) => Promise<T>,
): Promise<{ loaded: Loaded<L>; extra: T }> {
  const read = readOptions(options);
  const folder = await openCheckpoint(location, options);
  try {
    const adapter =
      options.adapter === undefined ? undefined : await openCheckpoint(options.adapter, options);
    const model = await loadLevel(level, folder, { ...read, adapter });
    try {
      const { name } = readDtype(options.dtype ?? options.torch_dtype);
      return { loaded: new Loaded(model, name), extra: await more(folder, model) };
    } catch (error) {
      model.ops.engine.dispose();
      throw error;
    }
  } finally {
    await folder.close();
  }
}
