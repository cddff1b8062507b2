import type { CheckpointFolder } from '../checkpoint/folder.js';
import { ConfigError } from '../errors.js';
import type { SmolVLMConfig } from '../model/config.js';

/** What generation_config.json says of greedy generation; its other fields are for samplers. */
export interface GenerationConfig {
  readonly eos_token_id: readonly number[];
  readonly pad_token_id: number;
  readonly bos_token_id: number | undefined;
  readonly max_new_tokens: number | undefined;
}

/**
 * Reads generation_config.json; where a field or the file is absent the config's own ids stand in, as in the reference:
 * the checkpoint's eos is the generation_config's, whatever special_tokens_map says.
 * @throws ConfigError for ids that are none
 */
export async function readGenerationConfig(
  folder: CheckpointFolder,
  config: SmolVLMConfig,
): Promise<GenerationConfig> {
  const file = 'generation_config.json';
  const json = (await folder.has(file)) ? ((await folder.json(file)) as Record<string, unknown>) : {};
  const { text_config } = config;
  const eos = ids(json.eos_token_id ?? config.eos_token_id ?? text_config.eos_token_id, file, 'eos_token_id');
  const pad = ids(json.pad_token_id ?? config.pad_token_id ?? text_config.pad_token_id, file, 'pad_token_id');
  return {
    eos_token_id: eos,
    // The reference falls back to the first eos where there is no pad.
    pad_token_id: pad[0] ?? eos[0] ?? 0,
    bos_token_id: ids(json.bos_token_id, file, 'bos_token_id')[0],
    max_new_tokens: ids(json.max_new_tokens, file, 'max_new_tokens')[0],
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
