import { type ConfigArguments, PretrainedConfig } from './pretrained-config.js';

/** The vision tower's sizes (SmolVLMVisionConfig), with the reference's defaults. */
export class SmolVLMVisionConfig extends PretrainedConfig {
  static override readonly model_type: string = 'smolvlm_vision';
  static override readonly base_config_key: string = 'vision_config';

  declare hidden_size: number;
  declare intermediate_size: number;
  declare num_hidden_layers: number;
  declare num_attention_heads: number;
  declare num_channels: number;
  /** Pixels a side of a full tile. */
  declare image_size: number;
  declare patch_size: number;
  /** gelu_pytorch_tanh, gelu, gelu_new, gelu_fast, quick_gelu, relu, selu, silu or swish. */
  declare hidden_act: string;
  declare layer_norm_eps: number;
  /** Kept, without effect: there is no training here. */
  declare attention_dropout: number;
  /** The standard deviation of random weights. */
  declare initializer_range: number;

  constructor(kwargs: ConfigArguments = {}) {
    const {
      hidden_size = 1152,
      intermediate_size = 3072,
      num_hidden_layers = 12,
      num_attention_heads = 16,
      num_channels = 3,
      image_size = 224,
      patch_size = 32,
      hidden_act = 'gelu_pytorch_tanh',
      layer_norm_eps = 1e-6,
      attention_dropout = 0,
      initializer_range = 0.02,
      ...rest
    } = kwargs;
    super(rest);
    Object.assign(this, {
      hidden_size,
      intermediate_size,
      num_hidden_layers,
      num_attention_heads,
      num_channels,
      image_size,
      patch_size,
      hidden_act,
      layer_norm_eps,
      attention_dropout,
      initializer_range,
    });
    if (rest.model_type !== undefined) this.model_type = String(rest.model_type);
  }
}
