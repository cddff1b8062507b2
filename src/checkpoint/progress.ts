/**
 * What a `progress_callback` is told, in the shape of transformers.js's events. For each file that is fetched from a hub:
 * `initiate`, `download`, any number of `progress`, `done`. While weights are read into memory: `load`. `ready` comes once,
 * when a model can be used.
 */
export interface LoadProgress {
  readonly status: 'initiate' | 'download' | 'progress' | 'done' | 'load' | 'ready';
  /** The checkpoint: the repository's name, or the folder's. */
  readonly name: string;
  /** The file in it; empty for `ready`. */
  readonly file: string;
  /** loaded / total in percent, 0 to 100. */
  readonly progress: number;
  /**
   * Bytes so far: of the file for what concerns the hub, of all weights for `load` and `ready`. `progress` counts bytes that
   * an earlier run left behind, too.
   */
  readonly loaded: number;
  /** Bytes in all; 0 where the hub does not say. */
  readonly total: number;
}

export type ProgressCallback = (progress: LoadProgress) => void;

/** What `read` says of weights that go into memory, as a `progress_callback` is told of it. */
export function tellLoading(
  name: string,
  callback: ProgressCallback | undefined,
): ((read: { loaded: number; total: number; file: string }) => void) | undefined {
  if (!callback) return undefined;
  return ({ loaded, total, file: path }) => {
    const file = path.slice(path.lastIndexOf('/') + 1);
    callback({ status: 'load', name, file, progress: percent(loaded, total), loaded, total });
  };
}

/** loaded / total in percent. */
export function percent(loaded: number, total: number): number {
  return total > 0 ? Math.min(100, (100 * loaded) / total) : 0;
}
