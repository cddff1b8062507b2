import { type CheckpointLocation, openCheckpoint } from '../checkpoint/folder.js';
import { forAdapter } from '../checkpoint/hub/options.js';
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

/** The options for the model, its last word of progress noted, which is said again when it is ready. */
function watched(options: PretrainedOptions, name: () => string) {
  const callback = options.progress_callback;
  let last = { loaded: 0, total: 0 };
  const progress_callback: PretrainedOptions['progress_callback'] = (progress) => {
    if (progress.status === 'load') last = progress;
    callback?.(progress);
  };
  const ready = () => {
    const { loaded, total } = last;
    callback?.({ status: 'ready', name: name(), file: '', progress: 100, loaded, total });
  };
  return { read: readOptions({ ...options, progress_callback: callback && progress_callback }), ready };
}

/** A checkpoint's model of a level and its config.json, for `from_pretrained`. */
export async function loadPretrained<L extends Level, T>(
  level: L,
  location: CheckpointLocation,
  options: PretrainedOptions,
  more: (folder: Awaited<ReturnType<typeof openCheckpoint>>, model: LevelModels[L]) => Promise<T>,
): Promise<{ loaded: Loaded<L>; extra: T }> {
  const { read, ready } = watched(options, () => folder.name);
  const folder = await openCheckpoint(location, options);
  try {
    const adapter =
      options.adapter === undefined ? undefined : await openCheckpoint(options.adapter, forAdapter(options));
    const model = await loadLevel(level, folder, { ...read, adapter });
    try {
      const { name } = readDtype(options.dtype ?? options.torch_dtype);
      const extra = await more(folder, model);
      ready();
      return { loaded: new Loaded(model, name), extra };
    } catch (error) {
      model.ops.engine.dispose();
      throw error;
    }
  } finally {
    await folder.close();
  }
}
