import { ConfigError } from '../errors.js';
import { ConfigFields } from './config-fields.js';
import { parseQuantization, type Quantization } from './quantization.js';
import { parseRopeScaling, type RopeScaling } from './rope-scaling.js';

/**
 * Activations by the reference's names (`ACT2FN`), as far as there are kernels: `gelu` is the exact one (erf);
 * `gelu_pytorch_tanh`, `gelu_new` and `gelu_fast` are the same tanh form up to rounding (`gelu_fast` cuts √(2/π) after
 * ten digits); `quick_gelu` is x·σ(1.702·x); `swish` is `silu`. `selu` is named by the reference's documentation but
 * missing from its table.
 */
export const HIDDEN_ACTS = [
  'gelu',
  'gelu_pytorch_tanh',
  'gelu_new',
  'gelu_fast',
  'quick_gelu',
  'relu',
  'selu',
  'silu',
  'swish',
] as const;

export type HiddenAct = (typeof HIDDEN_ACTS)[number];

export const POSITION_DTYPES = ['float32', 'float16', 'bfloat16'] as const;

/** The dtype that vision position ids are computed in. */
export type PositionDtype = (typeof POSITION_DTYPES)[number];

/** SmolVLMVisionConfig / Idefics3VisionConfig (their defaults are the same); fields below the line are derived. */
export interface SmolVLMVisionConfig {
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_channels: number;
  /** Pixels a side of a full tile. */
  readonly image_size: number;
  readonly patch_size: number;
  readonly hidden_act: HiddenAct;
  readonly layer_norm_eps: number;
  // derived
  readonly head_dim: number;
  /** ⌊image_size / patch_size⌋: rows and columns of the position embedding's grid. */
  readonly num_patches_per_side: number;
  readonly num_patches: number;
}

/** LlamaConfig, as far as the forward pass depends on it. */
export interface SmolVLMTextConfig {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  readonly head_dim: number;
  readonly hidden_act: HiddenAct;
  readonly max_position_embeddings: number;
  readonly rms_norm_eps: number;
  readonly rope_theta: number;
  readonly rope_scaling: RopeScaling | null;
  readonly attention_bias: boolean;
  readonly mlp_bias: boolean;
  /** Whether lm_head is the token embedding. This field decides, not the one at the top level. */
  readonly tie_word_embeddings: boolean;
  readonly pad_token_id: number | readonly number[] | null;
  readonly bos_token_id: number | readonly number[] | null;
  readonly eos_token_id: number | readonly number[] | null;
}

/** SmolVLMConfig / Idefics3Config. */
export interface SmolVLMConfig {
  readonly model_type: 'smolvlm' | 'idefics3';
  readonly image_token_id: number;
  /** Patches a side that the connector's pixel shuffle folds into one. */
  readonly scale_factor: number;
  readonly use_cache: boolean;
  readonly pad_token_id: number | readonly number[] | null;
  readonly bos_token_id: number | readonly number[] | null;
  readonly eos_token_id: number | readonly number[] | null;
  readonly vision_config: SmolVLMVisionConfig;
  readonly text_config: SmolVLMTextConfig;
  // derived
  /** Tokens that a full tile takes in the text: ⌊num_patches / scale_factor²⌋. */
  readonly image_seq_len: number;
  /** How the checkpoint is quantised, where it is. */
  readonly quantization: Quantization | null;
  /** By default the config's `dtype` (`torch_dtype` before transformers 4.56), float32 where it has none. */
  readonly position_dtype: PositionDtype;
}

/**
 * Reads config.json's content with the reference's defaults (SmolVLMConfig, Idefics3Config, LlamaConfig). Fields that
 * do not bear on inference are ignored, as there; whatever would change the result and is not implemented is an error.
 * @param json the parsed file
 * @param file its name, for messages
 * @throws ConfigError naming the field, with expected and got.
 */
export function parseConfig(json: unknown, file = 'config.json'): SmolVLMConfig {
  const fields = new ConfigFields(json, `${file}: `);
  const modelType = fields.value('model_type');
  if (modelType !== 'smolvlm' && modelType !== 'idefics3') {
    throw fields.error('model_type', 'smolvlm or idefics3', 'model type is not supported');
  }
  const pad = fields.tokenIds('pad_token_id', 128002);
  const vision = parseVision(
    fields.object('vision_config') ?? new ConfigFields({}, `${file}: vision_config.`),
  );
  const text = parseText(fields.object('text_config') ?? defaultText(file, pad));
  const scale = fields.integer('scale_factor', 2);
  return {
    model_type: modelType,
    image_token_id: fields.integer('image_token_id', 128257, 0),
    scale_factor: scale,
    use_cache: fields.boolean('use_cache', true),
    pad_token_id: pad,
    bos_token_id: fields.tokenIds('bos_token_id', null),
    eos_token_id: fields.tokenIds('eos_token_id', null),
    vision_config: vision,
    text_config: text,
    image_seq_len: Math.floor(vision.num_patches / scale ** 2),
    quantization: parseQuantization(fields),
    position_dtype: parseDtype(fields),
  };
}

/** Without a text_config the reference takes Llama's defaults, two of them changed. */
function defaultText(file: string, pad: number | readonly number[] | null): ConfigFields {
  return new ConfigFields({ rms_norm_eps: 1e-5, pad_token_id: pad }, `${file}: text_config.`);
}

function parseVision(fields: ConfigFields): SmolVLMVisionConfig {
  const hiddenSize = fields.integer('hidden_size', 1152);
  const heads = fields.integer('num_attention_heads', 16);
  const imageSize = fields.integer('image_size', 224);
  const patchSize = fields.integer('patch_size', 32);
  refuseQuantization(fields);
  if (hiddenSize % heads !== 0) {
    throw fields.error(
      'hidden_size',
      `a multiple of num_attention_heads, ${heads}`,
      'heads do not divide the width',
    );
  }
  const side = Math.floor(imageSize / patchSize);
  if (side === 0)
    throw fields.error('image_size', `at least patch_size, ${patchSize}`, 'no patch fits the image');
  return {
    hidden_size: hiddenSize,
    intermediate_size: fields.integer('intermediate_size', 3072),
    num_hidden_layers: fields.layers(12),
    num_attention_heads: heads,
    num_channels: fields.integer('num_channels', 3),
    image_size: imageSize,
    patch_size: patchSize,
    hidden_act: fields.choice('hidden_act', 'gelu_pytorch_tanh', HIDDEN_ACTS),
    layer_norm_eps: fields.positive('layer_norm_eps', 1e-6),
    head_dim: hiddenSize / heads,
    num_patches_per_side: side,
    num_patches: side ** 2,
  };
}

function parseText(fields: ConfigFields): SmolVLMTextConfig {
  // The first checkpoints called their Llama "vllama3"; what sets it apart (query norms, a resampler) is refused below.
  fields.choice('model_type', 'llama', ['llama', 'vllama3']);
  refuseUnimplementedText(fields);
  const hiddenSize = fields.integer('hidden_size', 4096);
  const heads = fields.integer('num_attention_heads', 32);
  const kvHeads = fields.nullableInteger('num_key_value_heads') ?? heads;
  if (heads % kvHeads !== 0) {
    const expected = `a divisor of num_attention_heads, ${heads}`;
    throw fields.error('num_key_value_heads', expected, 'key/value heads do not divide the heads');
  }
  return {
    vocab_size: fields.integer('vocab_size', 32000),
    hidden_size: hiddenSize,
    intermediate_size: fields.integer('intermediate_size', 11008),
    num_hidden_layers: fields.layers(32),
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    head_dim: parseHeadDim(fields, hiddenSize, heads),
    hidden_act: fields.choice('hidden_act', 'silu', HIDDEN_ACTS),
    max_position_embeddings: fields.integer('max_position_embeddings', 2048),
    rms_norm_eps: fields.positive('rms_norm_eps', 1e-6),
    rope_theta: parseRopeTheta(fields),
    rope_scaling: parseRopeScaling(fields),
    attention_bias: fields.boolean('attention_bias', false),
    mlp_bias: fields.boolean('mlp_bias', false),
    tie_word_embeddings: fields.boolean('tie_word_embeddings', false),
    pad_token_id: fields.tokenIds('pad_token_id', null),
    bos_token_id: fields.tokenIds('bos_token_id', 1),
    eos_token_id: fields.tokenIds('eos_token_id', 2),
  };
}

/** By default hidden_size // heads, as LlamaConfig has it; rotary embedding turns pairs, so it must be even. */
function parseHeadDim(fields: ConfigFields, hiddenSize: number, heads: number): number {
  const given = fields.nullableInteger('head_dim');
  if (given === undefined && hiddenSize % heads !== 0) {
    const expected = `a multiple of num_attention_heads, ${heads}, where there is no head_dim`;
    throw fields.error('hidden_size', expected, 'heads do not divide the width');
  }
  const headDim = given ?? hiddenSize / heads;
  if (headDim % 2 === 0) return headDim;
  throw new ConfigError({
    what: 'head_dim is odd',
    where: fields.where('head_dim'),
    expected: 'an even number, for rotary embedding',
    got: `${headDim}`,
  });
}

/** From rope_theta, or rope_parameters.rope_theta where later versions of the reference write it. */
function parseRopeTheta(fields: ConfigFields): number {
  const parameters = fields.object('rope_parameters');
  // The older name of the field wins in LlamaConfig.
  return fields.positive('rope_theta', parameters?.positive('rope_theta', 10000) ?? 10000);
}

function refuseUnimplementedText(fields: ConfigFields): void {
  refuseQuantization(fields);
  fields.refuse('qk_layer_norms', 'normalisation of queries and keys is not implemented');
  fields.refuse('use_resampler', 'the perceiver resampler is not implemented');
  fields.refuse('rope_interleaved', 'interleaved rotary embedding is not implemented');
  fields.refuse('partial_rotary_factor', 'partial rotary embedding is not implemented', [1]);
  fields.refuse('sliding_window', 'sliding-window attention is not implemented', []);
  fields.refuse('attention_chunk_size', 'chunked attention is not implemented', []);
}

function refuseQuantization(fields: ConfigFields): void {
  fields.refuse('quantization_config', 'quantised weights are not implemented', []);
}

function parseDtype(fields: ConfigFields): PositionDtype {
  const field = fields.value('dtype') === undefined ? 'torch_dtype' : 'dtype';
  if (fields.value(field) === undefined) return 'float32';
  return fields.choice(field, 'float32', POSITION_DTYPES);
}
