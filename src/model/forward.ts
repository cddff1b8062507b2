import { InputError } from '../errors.js';
import type { Steps } from '../runtime/steps.js';
import type { HostTensor, Tensor } from '../runtime/tensor.js';
import { type CacheShape, KVCache } from './cache.js';
import type { PositionDtype, SmolVLMConfig } from './config.js';
import { connector } from './connector.js';
import { tokenEmbeddings } from './embeddings.js';
import { type KeptImages, keepImages } from './images.js';
import { mergeImages } from './merger.js';
import type { BaseModel } from './model.js';
import { imageTap, rotaryTap, textTap } from './tap-places.js';
import type { Taps } from './taps.js';
import { type TextObservers, textModel } from './text.js';
import { type ComputedPads, type PackedTokens, packTokens } from './tokens.js';
import { GROUP_PATCHES, visionTransformer } from './vision.js';

/** The inputs of the reference's `SmolVLMModel.forward`, under its names. */
export interface ForwardInputs {
  /** [B, S]. */
  input_ids?: HostTensor;
  /** [B, S, hidden_size], instead of looking input_ids up. */
  inputs_embeds?: HostTensor;
  /** [B, past + S], any dtype. */
  attention_mask?: HostTensor;
  /** [B, S]. */
  position_ids?: HostTensor;
  /** [S]: the columns of the tokens, counted from the start of the cache. Default: those that follow it. */
  cache_position?: HostTensor;
  /** [B, N, C, H, W], or [B, C, H, W] with one image a row. */
  pixel_values?: HostTensor;
  /** [B, N, H, W] (or [B, H, W]), any dtype. */
  pixel_attention_mask?: HostTensor;
  /** [images, states, hidden_size], instead of pixel_values. */
  image_hidden_states?: HostTensor;
  /** Grows by the tokens of this call. Default: a new one, which the caller gets and disposes of. */
  past_key_values?: KVCache;
}

export interface ForwardOptions {
  taps?: Taps;
  observers?: Omit<TextObservers, 'tap'>;
  /** The dtype of the vision position ids' arithmetic. Default: the config's torch_dtype. */
  position_dtype?: PositionDtype;
  /** Which pads are computed. Default: all, as the reference does. */
  pads?: ComputedPads;
}

export interface ForwardResult {
  /** [tokens, hidden_size], normed; valid in the run's scope. */
  hidden: Tensor;
  tokens: PackedTokens;
  /** [images · states, hidden_size] and the states of one image, where there were images. */
  images?: { states: Tensor; seqLen: number };
  past_key_values: KVCache;
}

/** The whole model: pixels and tokens in, hidden states out (SmolVLMModel.forward). */
export function* forward(
  model: BaseModel,
  inputs: ForwardInputs,
  options: ForwardOptions = {},
): Steps<ForwardResult> {
  const { ops, config, weights } = model;
  const { taps } = options;
  checkInputs(inputs);
  const [batch, sequence] = (inputs.input_ids ?? inputs.inputs_embeds!).dims;
  const cache = inputs.past_key_values ?? newCache(model, batch);
  cache.checkEngine(ops.engine);
  cache.checkBatch(batch);
  const { attention_mask, position_ids, cache_position } = inputs;
  const { pads } = options;
  const past = cache.seen;
  const tokens = packTokens({ batch, sequence, past, attention_mask, position_ids, cache_position, pads });
  const tap = taps && textTap(taps, tokens);

  const { hidden, isImage } = tokenEmbeddings(model, inputs, tokens, taps);
  const images = yield* imageStates(model, inputs, options);
  if (images) mergeImages(model, hidden, tokens, isImage, images);
  if (taps) rotaryTap(model, taps, inputs, past, sequence);
  const observers = { ...options.observers, tap };
  const out = yield* textModel(ops, weights.text, config.text_config, tokens, hidden, cache, observers);
  tap?.('model', out);
  return { hidden: out, tokens, images, past_key_values: cache };
}

/** Pictures to states in the text model's width (SmolVLMModel.get_image_features), or the states given. */
export function* imageStates(
  model: BaseModel,
  { pixel_values, pixel_attention_mask, image_hidden_states }: ForwardInputs,
  { taps, position_dtype }: ForwardOptions = {},
): Steps<ForwardResult['images']> {
  const { ops, config } = model;
  const width = config.text_config.hidden_size;
  if (image_hidden_states) return givenStates(model, image_hidden_states);
  if (!pixel_values) return undefined;

  const { num_channels, patch_size } = config.vision_config;
  const kept = keepImages(pixel_values, pixel_attention_mask, num_channels, patch_size);
  const total = kept.indices.length;
  const patches = kept.patchMasks[0].length;
  const seqLen = patches / config.scale_factor ** 2;
  const states = ops.engine.tensor(Math.ceil(total * seqLen), width);
  const group = Math.max(1, Math.floor(GROUP_PATCHES / patches));
  for (let first = 0; first < total; first += group) {
    const mark = ops.engine.activations.mark();
    const count = Math.min(group, total - first);
    const encoded = yield* encodeGroup(model, kept, first, count, position_dtype, taps);
    ops.copyRows(states.slice(first * seqLen, encoded.rows), 0, encoded, 0, encoded.rows);
    ops.engine.activations.release(mark);
    yield* ops.engine.drain();
  }
  return { states, seqLen };
}

function* encodeGroup(
  { ops, config, weights }: BaseModel,
  kept: KeptImages,
  first: number,
  count: number,
  positionDtype: PositionDtype = config.position_dtype,
  taps?: Taps,
): Steps<Tensor> {
  const tap = taps && imageTap(taps, kept, first, config);
  const { vision_config, scale_factor } = config;
  const vision = weights.vision;
  const x = yield* visionTransformer(ops, vision, vision_config, kept, first, count, positionDtype, { tap });
  return yield* connector(ops, weights.connector, scale_factor, x, count, tap);
}

function givenStates({ ops, config }: BaseModel, states: HostTensor): ForwardResult['images'] {
  const width = config.text_config.hidden_size;
  if (states.dims.length !== 3 || states.dims[2] !== width) {
    const expected = `[images, states, ${width}]`;
    const where = 'image_hidden_states';
    throw new InputError({ what: 'wrong shape', where, expected, got: `[${states.dims}]` });
  }
  const [images, seqLen] = states.dims;
  return { states: ops.engine.upload(states.data as Float32Array, [images * seqLen, width]), seqLen };
}

export function newCache({ ops, config }: BaseModel, batch: number): KVCache {
  return new KVCache(ops.engine, cacheShape(config), batch);
}

export function cacheShape({ text_config }: SmolVLMConfig): CacheShape {
  const { num_hidden_layers, num_key_value_heads, head_dim } = text_config;
  return { layers: num_hidden_layers, kvHeads: num_key_value_heads, headDim: head_dim };
}

const TENSOR_INPUTS = [
  'input_ids',
  'inputs_embeds',
  'attention_mask',
  'position_ids',
  'cache_position',
  'pixel_values',
  'pixel_attention_mask',
  'image_hidden_states',
] as const;

function checkInputs(inputs: ForwardInputs): void {
  const { input_ids, inputs_embeds, pixel_values, image_hidden_states } = inputs;
  const refuse = (what: string, where: string, expected: string, got: string): never => {
    throw new InputError({ what, where, expected, got });
  };
  if (!input_ids && !inputs_embeds) {
    refuse('no tokens given', 'input_ids, inputs_embeds', 'one of the two', 'neither');
  }
  if (pixel_values && image_hidden_states) {
    refuse('images given twice', 'pixel_values, image_hidden_states', 'at most one of the two', 'both');
  }
  if (input_ids && input_ids.dims.length !== 2) {
    refuse('wrong shape', 'input_ids', '[batch, sequence]', `[${input_ids.dims}]`);
  }
  for (const name of TENSOR_INPUTS) {
    const tensor = inputs[name];
    if (!tensor) continue;
    const size = tensor.dims.reduce((product, n) => product * n, 1);
    if (tensor.data.length !== size) {
      refuse(
        'values and shape do not fit',
        name,
        `${size} values for [${tensor.dims}]`,
        `${tensor.data.length}`,
      );
    }
  }
}
