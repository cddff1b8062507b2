import { type CheckpointLocation, openCheckpoint } from '../checkpoint/folder.js';
import { SmolVLMConfig } from '../configuration/smolvlm-config.js';
import { ConfigError } from '../errors.js';
import { refuseAdapter } from '../model/load.js';
import { SmolVLMForConditionalGeneration } from '../modeling.js';
import type { InitOptions, PretrainedOptions } from './options.js';

/** Finds the class of a checkpoint by its model_type, as the reference's class of this name does. */
export class AutoModelForImageTextToText {
  /**
   * Loads a checkpoint whose model_type is smolvlm or idefics3: a repository of the Hugging Face hub (`org/name`), a
   * folder's path, its URL, or its files by name.
   * @throws ConfigError for another model_type; what SmolVLMForConditionalGeneration.from_pretrained throws
   */
  static async from_pretrained(
    location: CheckpointLocation,
    options: PretrainedOptions = {},
  ): Promise<SmolVLMForConditionalGeneration> {
    const folder = await openCheckpoint(location, options);
    try {
      await refuseAdapter(folder);
      const config = (await folder.json('config.json')) as { model_type?: unknown } | null;
      checkType(config?.model_type, 'config.json: model_type');
      // The folder that is open, so that both readings are of one revision.
      return await SmolVLMForConditionalGeneration.from_pretrained(folder, options);
    } finally {
      await folder.close();
    }
  }

  /** A new model with random weights. @throws ConfigError for a config of another class */
  static async from_config(
    config: SmolVLMConfig,
    options: InitOptions = {},
  ): Promise<SmolVLMForConditionalGeneration> {
    const isKnown = config instanceof SmolVLMConfig;
    checkType(
      isKnown ? config.model_type : (config as { model_type?: unknown } | null)?.model_type,
      'config',
    );
    return SmolVLMForConditionalGeneration.from_config(config, options);
  }
}

function checkType(type: unknown, where: string): void {
  if (type === 'smolvlm' || type === 'idefics3') return;
  const got = JSON.stringify(type) ?? 'nothing';
  throw new ConfigError({ what: 'no class for this model', where, expected: 'smolvlm or idefics3', got });
}
