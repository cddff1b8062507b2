import { InputError } from '../errors.js';
import type { Steps } from '../runtime/steps.js';
import type { HostTensor, Tensor } from '../runtime/tensor.js';
import { KVCache } from './cache.js';
import type { PositionDtype } from './config.js';
import { tokenEmbeddings } from './embeddings.js';
import { encodeTiles, stateKeys, tileKeys } from './encoder.js';
import { type KeptImages, keepImages } from './images.js';
import { mergeImages, usedStates } from './merger.js';
import type { BaseModel } from './model.js';
import type { OnPassProgress } from './progress.js';
import { rotaryTap, textTap } from './tap-places.js';
import type { Taps } from './taps.js';
import { type TextObservers, textModel } from './text.js';
import { type ComputedPads, type PackedTokens, packTokens } from './tokens.js';

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
  /** Is told of the cache that is made where none is given: whoever breaks the pass off disposes of it. */
  created?: (cache: KVCache) => void;
  /** The pictures of the inputs, read already. */
  pictures?: Pictures;
  /**
   * For each row how many of its first keys the cache has already (`PrefixCache.adopt`): they are not computed again, nor
   * are tiles that only they show. Infinity: the row takes no part.
   */
  held?: readonly number[];
  progress?: OnPassProgress;
}

/** The pictures of a batch, told apart by their content. */
export interface Pictures {
  /** Of pixels; states that are given have none. */
  kept?: KeptImages;
  /** For each tile the name of all that its states follow from. */
  keys: readonly string[];
  /** States of one tile. */
  seqLen: number;
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
  if (!inputs.past_key_values) options.created?.(cache);
  cache.checkEngine(ops.engine);
  cache.checkBatch(batch);
  const { attention_mask, position_ids, cache_position } = inputs;
  const { pads, held } = options;
  const past = cache.seen;
  const places = { attention_mask, position_ids, cache_position };
  const tokens = packTokens({ batch, sequence, past, ...places, pads, held });
  const tap = taps && textTap(taps, tokens);

  const { hidden, isImage } = yield* tokenEmbeddings(model, inputs, tokens, taps);
  const used = held && usedStates(tokens, isImage);
  const images = yield* imageStates(model, inputs, options, used);
  if (images) mergeImages(model, hidden, tokens, isImage, images);
  if (taps) yield* rotaryTap(model, taps, inputs, past, sequence);
  const layers = options.progress && prefillProgress(options.progress, tokens, held);
  const observers = { ...options.observers, tap, layers };
  const out = yield* textModel(ops, weights.text, config.text_config, tokens, hidden, cache, observers);
  if (tap) yield* tap('model', out);
  return { hidden: out, tokens, images, past_key_values: cache };
}

/** Tells of the prompt's tokens at once, and returns what tells of the layers. */
function prefillProgress(progress: OnPassProgress, { rows }: PackedTokens, held: readonly number[] = []) {
  const total = rows.reduce((sum, { count }) => sum + count, 0);
  const cached = held.reduce((sum, keys) => sum + (Number.isFinite(keys) ? keys : 0), 0);
  const report = (done: number) => progress({ status: 'prefill', done, total, cached });
  report(0);
  return (done: number, of: number) => report(Math.floor((total * done) / of));
}

/**
 * Pictures to states in the text model's width (SmolVLMModel.get_image_features), or the states given.
 * @param used states that are asked for; the others may stay undefined. Default: all
 */
export function* imageStates(
  model: BaseModel,
  inputs: Pick<ForwardInputs, 'pixel_values' | 'pixel_attention_mask' | 'image_hidden_states'>,
  options: Pick<ForwardOptions, 'taps' | 'position_dtype' | 'pictures' | 'progress'> = {},
  used?: ReadonlySet<number>,
): Steps<ForwardResult['images']> {
  const { ops, config } = model;
  const { taps, position_dtype, progress } = options;
  if (inputs.image_hidden_states) return givenStates(model, inputs.image_hidden_states);
  if (!inputs.pixel_values) return undefined;
  const { kept, keys, seqLen } =
    options.pictures ?? (yield* readPixels(model, inputs, position_dtype, !taps));
  const states = ops.engine.tensor(Math.ceil(kept!.indices.length * seqLen), config.text_config.hidden_size);
  const isUsed = used && new Set(Array.from(used, (state) => Math.floor(state / seqLen)));
  yield* encodeTiles(model, kept!, states, seqLen, {
    positionDtype: position_dtype ?? config.position_dtype,
    keys,
    isUnused: isUsed && ((tile) => !isUsed.has(tile)),
    taps,
    progress,
  });
  return { states, seqLen };
}

/**
 * The pictures among the inputs, told apart by their content; nothing where there are none.
 * @throws InputError on shapes that do not fit each other or the config
 */
export function* readPictures(
  model: BaseModel,
  inputs: ForwardInputs,
  position_dtype?: PositionDtype,
): Steps<Pictures | undefined> {
  checkInputs(inputs);
  const { image_hidden_states, pixel_values } = inputs;
  if (pixel_values) return yield* readPixels(model, inputs, position_dtype);
  if (!image_hidden_states) return undefined;
  checkStates(model, image_hidden_states);
  const keys = yield* stateKeys(model, image_hidden_states);
  return { keys, seqLen: image_hidden_states.dims[1] };
}

function* readPixels(
  model: BaseModel,
  { pixel_values, pixel_attention_mask }: ForwardInputs,
  position_dtype: PositionDtype = model.config.position_dtype,
  named = true,
): Steps<Pictures> {
  const { vision_config, scale_factor } = model.config;
  const { num_channels, patch_size } = vision_config;
  const kept = yield* keepImages(pixel_values!, pixel_attention_mask, num_channels, patch_size);
  const keys = named ? yield* tileKeys(model, kept, position_dtype) : [];
  return { kept, keys, seqLen: kept.patchMasks[0].length / scale_factor ** 2 };
}

function givenStates(model: BaseModel, states: HostTensor): ForwardResult['images'] {
  checkStates(model, states);
  const [images, seqLen, width] = states.dims;
  return { states: model.ops.engine.upload(states.data as Float32Array, [images * seqLen, width]), seqLen };
}

function checkStates({ config }: BaseModel, states: HostTensor): void {
  const width = config.text_config.hidden_size;
  if (states.dims.length !== 3 || states.dims[2] !== width) {
    const expected = `[images, states, ${width}]`;
    const where = 'image_hidden_states';
    throw new InputError({ what: 'wrong shape', where, expected, got: `[${states.dims}]` });
  }
}

/** A cache of the model's shape; all of them share one source of memory, so that prefixes can go from one to another. */
export function newCache({ ops, cacheShape, prefixes }: BaseModel, batch: number): KVCache {
  return new KVCache(ops.engine, cacheShape, batch, prefixes.slabs(cacheShape));
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
