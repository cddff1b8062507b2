import type { CheckpointFolder, CheckpointLocation } from './checkpoint/folder.js';
import type { HubOptions } from './checkpoint/hub/options.js';
import { type ProcessorOptions, readProcessorFiles, SmolVLMProcessor } from './processing/index.js';

/** Finds a checkpoint's processor, as the reference's class of this name does. */
export class AutoProcessor {
  /**
   * `SmolVLMProcessor.from_pretrained`: the processor of a checkpoint, by the name of a repository (`org/name`), a
   * folder's path, its URL, or its files by name.
   * @throws HubError, CheckpointError, ConfigError; AbortError when `signal` is aborted
   */
  static from_pretrained(
    location: CheckpointLocation,
    options: ProcessorOptions & HubOptions = {},
  ): Promise<SmolVLMProcessor> {
    return SmolVLMProcessor.from_pretrained(location, options);
  }
}

/** The processor of an open folder. Without processor_config.json the tokens of a tile follow from config.json. */
export async function loadProcessor(folder: CheckpointFolder): Promise<SmolVLMProcessor> {
  const { files, image_seq_len } = await readProcessorFiles(folder);
  return SmolVLMProcessor.from_files(files, { image_seq_len });
}
