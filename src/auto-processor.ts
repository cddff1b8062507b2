import { type CheckpointFolder, type CheckpointLocation, openCheckpoint } from './checkpoint/folder.js';
import { parseConfig } from './model/config.js';
import { type ProcessorFiles, SmolVLMProcessor } from './processing/index.js';

const FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'preprocessor_config.json',
  'processor_config.json',
  'chat_template.json',
  'chat_template.jinja',
] as const;

/** Finds a checkpoint's processor, as the reference's class of this name does. */
export class AutoProcessor {
  /**
   * The processor of a checkpoint: a folder's path, its URL, or its files by name.
   * @throws CheckpointError, ConfigError; AbortError when `signal` is aborted
   */
  static async from_pretrained(
    location: CheckpointLocation,
    options: { signal?: AbortSignal } = {},
  ): Promise<SmolVLMProcessor> {
    const folder = await openCheckpoint(location, options);
    try {
      return await loadProcessor(folder);
    } finally {
      await folder.close();
    }
  }
}

/** The processor of an open folder. Without processor_config.json the tokens of a tile follow from config.json. */
export async function loadProcessor(folder: CheckpointFolder): Promise<SmolVLMProcessor> {
  const files: Partial<ProcessorFiles> = {};
  for (const name of FILES) if (await folder.has(name)) files[name] = await folder.text(name);
  const fromConfig = files['processor_config.json'] === undefined && (await folder.has('config.json'));
  const image_seq_len = fromConfig ? parseConfig(await folder.json('config.json')).image_seq_len : undefined;
  return SmolVLMProcessor.from_files(files as ProcessorFiles, { image_seq_len });
}
