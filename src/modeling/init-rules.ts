import type { PretrainedConfig } from '../configuration/pretrained-config.js';
import { SmolVLMConfig } from '../configuration/smolvlm-config.js';
import { InputError } from '../errors.js';
import type { RandomRules } from '../model/random-weights.js';
import type { WeightDtype } from '../runtime/weight.js';

/**
 * How a config's random weights are drawn (SmolVLMPreTrainedModel._init_weights): each tower by its own config's
 * initializer_range, connector and head by the text model's unless the whole config has one.
 * @throws InputError for a seed that is no integer
 */
export function initRules(config: PretrainedConfig, dtype: WeightDtype, seed: unknown): RandomRules {
  if (!Number.isSafeInteger(seed)) {
    throw new InputError({ what: 'wrong value', where: 'seed', expected: 'an integer', got: String(seed) });
  }
  const common = { seed: seed as number, dtype };
  if (!(config instanceof SmolVLMConfig)) {
    return { ...common, deviation: () => range(config, 'initializer_range'), paddingRow: null };
  }
  const { vision_config, text_config } = config;
  const text = range(text_config, 'text_config.initializer_range');
  const vision = range(vision_config, 'vision_config.initializer_range');
  const other = config.initializer_range === undefined ? text : range(config, 'initializer_range');
  const { pad_token_id } = text_config;
  return {
    ...common,
    deviation: (name) => {
      if (name.startsWith('model.vision_model.')) return vision;
      return name.startsWith('model.text_model.') ? text : other;
    },
    paddingRow: typeof pad_token_id === 'number' ? pad_token_id : null,
  };
}

function range({ initializer_range }: PretrainedConfig, where: string): number {
  if (typeof initializer_range === 'number' && initializer_range >= 0) return initializer_range;
  const got = JSON.stringify(initializer_range);
  throw new InputError({ what: 'wrong value', where, expected: 'a number of 0 or more', got });
}
