import { isObject } from './json.js';
import { type ConfigArguments, PretrainedConfig } from './pretrained-config.js';

/** The text model's sizes (LlamaConfig), with the reference's defaults. */
export class LlamaConfig extends PretrainedConfig {
  static override readonly model_type: string = 'llama';

  declare vocab_size: number;
  declare hidden_size: number;
  declare intermediate_size: number;
  declare num_hidden_layers: number;
  declare num_attention_heads: number;
  /** By default num_attention_heads. */
  declare num_key_value_heads: number;
  declare hidden_act: string;
  declare max_position_embeddings: number;
  declare initializer_range: number;
  declare rms_norm_eps: number;
  declare use_cache: boolean;
  declare rope_theta: number;
  declare rope_scaling: Record<string, unknown> | null;
  declare attention_bias: boolean;
  declare attention_dropout: number;
  declare mlp_bias: boolean;
  /** By default ⌊hidden_size / num_attention_heads⌋. */
  declare head_dim: number;

  constructor(kwargs: ConfigArguments = {}) {
    const {
      vocab_size = 32000,
      hidden_size = 4096,
      intermediate_size = 11008,
      num_hidden_layers = 32,
      num_attention_heads = 32,
      num_key_value_heads = null,
      hidden_act = 'silu',
      max_position_embeddings = 2048,
      initializer_range = 0.02,
      rms_norm_eps = 1e-6,
      use_cache = true,
      pad_token_id = null,
      bos_token_id = 1,
      eos_token_id = 2,
      pretraining_tp = 1,
      tie_word_embeddings = false,
      rope_theta = 10000,
      rope_scaling = null,
      attention_bias = false,
      attention_dropout = 0,
      mlp_bias = false,
      head_dim = null,
      ...rest
    } = kwargs;
    super({ ...rest, pad_token_id, bos_token_id, eos_token_id, tie_word_embeddings });
    Object.assign(this, {
      vocab_size,
      hidden_size,
      intermediate_size,
      num_hidden_layers,
      num_attention_heads,
      num_key_value_heads: num_key_value_heads ?? num_attention_heads,
      hidden_act,
      max_position_embeddings,
      initializer_range,
      rms_norm_eps,
      use_cache,
      pretraining_tp,
      rope_theta,
      rope_scaling: ropeScaling(rope_scaling),
      attention_bias,
      attention_dropout,
      mlp_bias,
      head_dim: head_dim ?? Math.floor(Number(hidden_size) / Number(num_attention_heads)),
    });
    if (rest.model_type !== undefined) this.model_type = String(rest.model_type);
  }
}

/** `type` is the older name of `rope_type`, and wins. */
function ropeScaling(value: unknown): unknown {
  return isObject(value) && value.type !== undefined ? { ...value, rope_type: value.type } : value;
}
