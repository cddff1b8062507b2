import { ConfigError } from '../errors.js';
import { isObject } from './json.js';
import { LlamaConfig } from './llama-config.js';
import { type ConfigArguments, PretrainedConfig } from './pretrained-config.js';
import { SmolVLMVisionConfig } from './vision-config.js';

/** The whole model's config (SmolVLMConfig), with the reference's defaults. */
export class SmolVLMConfig extends PretrainedConfig {
  static override readonly model_type: string = 'smolvlm';

  /** Whether `forward` gives its cache back where it is not told. */
  declare use_cache: boolean;
  /** The id of the `<image>` token. */
  declare image_token_id: number;
  declare vision_config: SmolVLMVisionConfig;
  declare text_config: LlamaConfig;
  /** Patches a side that the connector's pixel shuffle folds into one. */
  declare scale_factor: number;

  /**
   * @throws ConfigError if vision_config or text_config is neither a config nor an object, or text_config is of a
   * model_type other than llama
   */
  constructor(kwargs: ConfigArguments = {}) {
    const {
      use_cache = true,
      image_token_id = 128257,
      tie_word_embeddings = false,
      vision_config,
      text_config,
      scale_factor = 2,
      pad_token_id = 128002,
      ...rest
    } = kwargs;
    super({ ...rest, pad_token_id, tie_word_embeddings });
    Object.assign(this, { use_cache, image_token_id, scale_factor });
    this.vision_config = visionConfig(vision_config ?? undefined);
    this.text_config = textConfig(text_config ?? undefined, pad_token_id);
    if (rest.model_type !== undefined) this.model_type = String(rest.model_type);
  }
}

function visionConfig(given: unknown = {}): SmolVLMVisionConfig {
  if (given instanceof SmolVLMVisionConfig) return given;
  if (isObject(given) && !(given instanceof PretrainedConfig)) return new SmolVLMVisionConfig(given);
  throw wrong('vision_config', 'a SmolVLMVisionConfig or an object', given);
}

function textConfig(given: unknown, pad_token_id: unknown): LlamaConfig {
  if (given === undefined) {
    return new LlamaConfig({ rms_norm_eps: 1e-5, pad_token_id, tie_word_embeddings: false });
  }
  if (given instanceof LlamaConfig) return given;
  if (!isObject(given) || given instanceof PretrainedConfig) {
    throw wrong('text_config', 'a LlamaConfig or an object', given);
  }
  const { model_type = 'llama' } = given;
  // The first checkpoints call their Llama "vllama3".
  if (model_type === 'llama' || model_type === 'vllama3') return new LlamaConfig({ ...given, model_type });
  throw wrong('text_config.model_type', 'llama', model_type);
}

function wrong(where: string, expected: string, got: unknown): ConfigError {
  const shown = isObject(got) ? got.constructor.name : JSON.stringify(got);
  return new ConfigError({ what: 'wrong value', where: `SmolVLMConfig: ${where}`, expected, got: shown });
}
