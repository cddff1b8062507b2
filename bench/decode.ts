import type { SmolVLMConfig } from '../src/model/config.js';
import type { SmolVLMForConditionalGeneration } from '../src/modeling.js';
import { legacyCache, textIds } from './inputs.js';
import { type Timing, timing } from './timing.js';

const WARM = 4;

/** The time of a token each after `context` others, whose keys and values are made up. */
export async function decodeTimes(
  model: SmolVLMForConditionalGeneration,
  config: SmolVLMConfig,
  context: number,
  tokens: number,
): Promise<Timing> {
  const past_key_values = await model.from_legacy_cache(legacyCache(config, context));
  const { data } = textIds(config, tokens + WARM);
  const seconds: number[] = [];
  for (const id of data) {
    const input_ids = { dims: [1, 1], data: Int32Array.of(id) };
    const started = performance.now();
    await model.forward({ input_ids, past_key_values, logits_to_keep: 1 });
    seconds.push((performance.now() - started) / 1000);
  }
  past_key_values.dispose();
  return timing(seconds.slice(WARM));
}
