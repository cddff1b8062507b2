import type { CheckpointFolder } from '../checkpoint/folder.js';
import { ConfigError } from '../errors.js';
import type { SmolVLMConfig } from '../model/config.js';
import { type GenerationOptions, isReferenceOption } from './options.js';

const FILE = 'generation_config.json';

/** What a checkpoint says of generation: the special ids, and the options of generation_config.json. */
export interface GenerationConfig extends Omit<GenerationOptions, 'eos_token_id' | 'pad_token_id'> {
  /** Empty: nothing ends a row. */
  readonly eos_token_id: readonly number[];
  readonly pad_token_id: number | undefined;
  readonly bos_token_id: number | undefined;
}

/**
 * Reads generation_config.json. Where the file is there, it decides alone: the checkpoint's eos is the
 * generation_config's, whatever special_tokens_map or config.json say. Where it is absent the config's own ids stand in,
 * the text config's where the outer one has none (GenerationConfig.from_model_config).
 * @throws ConfigError for ids that are none
 */
export async function readGenerationConfig(
  folder: CheckpointFolder,
  config: SmolVLMConfig,
): Promise<GenerationConfig> {
  if (!(await folder.has(FILE))) return generationConfigOf(config);
  return parseGenerationConfig((await folder.json(FILE)) as Record<string, unknown>);
}

/** The generation config of a model without a file of its own. */
export function generationConfigOf({ text_config, ...config }: SmolVLMConfig): GenerationConfig {
  return parseGenerationConfig(
    {
      eos_token_id: config.eos_token_id ?? text_config.eos_token_id,
      pad_token_id: config.pad_token_id ?? text_config.pad_token_id,
      bos_token_id: config.bos_token_id ?? text_config.bos_token_id,
    },
    'config.json',
  );
}

/** @throws ConfigError for ids that are none; other options are checked when they are used, for a call may override them. */
export function parseGenerationConfig(
  json: Readonly<Record<string, unknown>>,
  file = FILE,
): GenerationConfig {
  const options = Object.fromEntries(Object.entries(json).filter(([name]) => isReferenceOption(name)));
  return {
    ...options,
    eos_token_id: ids(json.eos_token_id, file, 'eos_token_id'),
    pad_token_id: ids(json.pad_token_id, file, 'pad_token_id')[0],
    bos_token_id: ids(json.bos_token_id, file, 'bos_token_id')[0],
  };
}

function ids(value: unknown, file: string, field: string): number[] {
  if (value === undefined || value === null) return [];
  const list = Array.isArray(value) ? value : [value];
  if (list.every((id) => Number.isInteger(id) && id >= 0)) return list;
  throw new ConfigError({
    what: 'wrong value',
    where: `${file}: ${field}`,
    expected: 'an integer of 0 or more, or a list of them',
    got: JSON.stringify(value),
  });
}
