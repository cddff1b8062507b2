import { expectedTensors, type TensorExpectation } from '../checkpoint/manifest.js';
import { parseConfig, type SmolVLMConfig } from './config.js';
import { ConfigFields } from './config-fields.js';

/** The reference's three classes: SmolVLMVisionTransformer, SmolVLMModel, SmolVLMForConditionalGeneration. */
export type Level = 'vision' | 'base' | 'causal';

/** What a level's own tensor names lack of the whole model's. */
const PREFIX: Readonly<Record<Level, string>> = {
  vision: 'model.vision_model.',
  base: 'model.',
  causal: '',
};

/** First parts of the names in the state dict of each class. */
const OWN_NAMES: Readonly<Record<Exclude<Level, 'causal'>, RegExp>> = {
  vision: /^(embeddings|encoder|post_layernorm)\./,
  base: /^(vision_model|connector|text_model)\./,
};

/**
 * The config of a level from config.json: a vision transformer's may be that of the vision tower alone.
 * @throws ConfigError
 */
export function levelConfig(level: Level, json: unknown, file?: string): SmolVLMConfig {
  if (level !== 'vision') return parseConfig(json, file);
  const fields = new ConfigFields(json, `${file ?? 'config.json'}: `);
  const type = fields.value('model_type');
  if (type !== 'smolvlm_vision' && type !== 'idefics3_vision') return parseConfig(json, file);
  const { dtype, torch_dtype, quantization_config, ...vision_config } = json as Record<string, unknown>;
  const whole = { model_type: 'smolvlm', dtype: dtype ?? torch_dtype, quantization_config, vision_config };
  return parseConfig(whole, file);
}

/** The tensors that a level needs, under their names in the whole model. */
export function levelTensors(level: Level, config: SmolVLMConfig): TensorExpectation {
  const { tensors, ignored } = expectedTensors(config);
  if (level === 'causal') return { tensors, ignored };
  const isOwn = (name: string) => name.startsWith(PREFIX[level]);
  return {
    tensors: tensors.filter(({ name }) => isOwn(name)),
    ignored: new Map([...ignored].filter(([name]) => isOwn(name))),
  };
}

/**
 * A checkpoint's tensors that concern a level, under their names in the whole model, whichever of the three classes saved
 * them (the reference's handling of base_model_prefix).
 */
export function wholeNames<T>(level: Level, tensors: ReadonlyMap<string, T>): Map<string, T> {
  const names = [...tensors.keys()];
  const saved = (['base', 'vision'] as const).find((own) => names.some((name) => OWN_NAMES[own].test(name)));
  const whole = (name: string) => (saved && OWN_NAMES[saved].test(name) ? PREFIX[saved] + name : name);
  const renamed = [...tensors].map(([name, tensor]) => [whole(name), tensor] as const);
  return new Map(renamed.filter(([name]) => name.startsWith(PREFIX[level])));
}

/** The name that a level's own state dict gives a tensor of the whole model. */
export function ownName(level: Level, name: string): string {
  return name.slice(PREFIX[level].length);
}
