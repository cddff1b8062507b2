import type { Engine } from '../runtime/engine.js';
import type { Ops } from '../runtime/ops.js';
import { type PageDtype, SMOOTH_HEAD_DIM } from '../runtime/pages.js';
import type { Prepared } from '../runtime/prepared.js';
import type { Steps } from '../runtime/steps.js';
import type { Tensor } from '../runtime/tensor.js';
import { isQuantized } from '../runtime/weight.js';
import { ACTIVATION_KERNELS } from './activations.js';
import type { PositionDtype, SmolVLMVisionConfig } from './config.js';
import type { KeptImages } from './images.js';
import { visionPositionIds } from './position-ids.js';
import { ResidualStream } from './residual-stream.js';
import type { StageTap } from './taps.js';
import type { VisionLayerWeights, VisionWeights } from './weights.js';

const PATH = 'model.vision_model';

/** Patches encoded together: small pictures share a pass, one full tile has it for itself. */
export const GROUP_PATCHES = 1024;

/** What a run may listen to besides the result, for a group of images at a time. */
export interface VisionObservers {
  tap?: StageTap;
  /** The embeddings, then each layer's output, before the last norm: [count · patches, hidden_size]. */
  hidden?: (index: number, hidden: Tensor) => Steps<void>;
  /** Layers that are done. With it workers are waited for after each. */
  layers?: (done: number, of: number) => void;
  /** A layer's attention probabilities strip by strip: `rows` query patches from `firstRow` over the keys `columns`. */
  attentions?: (strip: VisionStrip) => void;
}

export interface VisionStrip {
  layer: number;
  /** Image of the group. */
  image: number;
  head: number;
  firstRow: number;
  rows: number;
  /** Patch of each key; undefined where all patches are keys. */
  columns: readonly number[] | undefined;
  keys: number;
  /** [rows, ld]. */
  probabilities: Float32Array;
  ld: number;
}

/**
 * The SigLIP vision transformer over a few images of one size (SmolVLMVisionTransformer).
 * @param first the first of `count` kept images to encode
 * @returns [count · patches, hidden_size], post-normed
 */
export function* visionTransformer(
  ops: Ops,
  weights: VisionWeights,
  config: SmolVLMVisionConfig,
  images: KeptImages,
  first: number,
  count: number,
  positionDtype: PositionDtype,
  observers: VisionObservers = {},
): Steps<Tensor> {
  const { engine } = ops;
  const { tap } = observers;
  const keys = visibleKeys(engine, images, first, count);
  const embedded = yield* embeddings(ops, weights, config, images, first, count, positionDtype, tap);
  const stream = new ResidualStream(ops, embedded);
  for (let index = 0; index < weights.layers.length; index++) {
    const layer = yield* weights.layers.read(index);
    const mark = engine.activations.mark();
    if (observers.hidden) yield* observers.hidden(index, stream.settled());
    yield* encoderLayer(ops, layer, config, stream, keys, index, observers);
    engine.activations.release(mark);
    if (observers.layers) {
      yield* engine.drain();
      observers.layers(index + 1, weights.layers.length);
    }
  }
  if (observers.hidden) yield* observers.hidden(weights.layers.length, stream.settled());
  if (tap) yield* tap(`${PATH}.encoder`, stream.settled());
  const out = yield* stream.layerNorm(weights.post_layernorm, config.layer_norm_eps).tensor();
  if (tap) yield* tap(`${PATH}.post_layernorm`, out);
  if (tap) yield* tap(PATH, out);
  return out;
}

/** Patches and their positions (SmolVLMVisionEmbeddings): [count · patches, hidden_size]. */
function* embeddings(
  ops: Ops,
  weights: VisionWeights,
  config: SmolVLMVisionConfig,
  images: KeptImages,
  first: number,
  count: number,
  positionDtype: PositionDtype,
  tap?: StageTap,
): Steps<Tensor> {
  const { engine } = ops;
  const { channels, height, width } = images;
  const { patch_size, num_patches_per_side } = config;
  const rows = Math.floor(height / patch_size);
  const columns = Math.floor(width / patch_size);
  const patches = rows * columns;
  const hidden = engine.tensor(count * patches, weights.patch_embedding.weight.N);
  const scope = engine.activations.mark();
  const inputs = engine.tensor(count * patches, channels * patch_size * patch_size);
  const positions = new Int32Array(count * patches);
  const size = channels * height * width;
  for (let i = 0; i < count; i++) {
    // While calls wait, pixels would take memory of their own.
    yield* engine.drain();
    const mark = engine.activations.mark();
    const start = images.indices[first + i] * size;
    const pixels = engine.upload(images.pixels.subarray(start, start + size), [channels, height, width]);
    const target = inputs.slice(i * patches, patches);
    ops.patchify(target, pixels, patch_size);
    engine.activations.release(mark);
    const mask = images.patchMasks[first + i];
    positions.set(visionPositionIds(mask, rows, columns, num_patches_per_side, positionDtype), i * patches);
    yield;
  }
  const embedded = yield* ops.linear(inputs, weights.patch_embedding);
  ops.copyRows(hidden, 0, embedded, 0, embedded.rows);
  if (tap) yield* tap(`${PATH}.embeddings.patch_embedding`, hidden);
  const position = ops.gather(weights.position_embedding, engine.uploadInt32(positions), positions.length);
  if (tap) yield* tap(`${PATH}.embeddings.position_embedding`, position);
  ops.add(hidden, position);
  if (tap) yield* tap(`${PATH}.embeddings`, hidden);
  engine.activations.release(scope);
  return hidden;
}

/** In place (SmolVLMEncoderLayer). */
function* encoderLayer(
  ops: Ops,
  weights: VisionLayerWeights,
  config: SmolVLMVisionConfig,
  stream: ResidualStream,
  keys: VisibleKeys[],
  index: number,
  observers: VisionObservers,
): Steps<void> {
  const path = `${PATH}.encoder.layers.${index}`;
  const { tap } = observers;
  const { activations } = ops.engine;
  const mark = activations.mark();
  let x = stream.layerNorm(weights.layer_norm1, config.layer_norm_eps);
  if (tap) yield* tap(`${path}.layer_norm1`, yield* x.tensor());
  yield* attention(ops, weights, config, x, keys, index, observers, stream.branch);
  stream.add();
  // The MLP takes the place of what attention took.
  activations.release(mark);

  x = stream.layerNorm(weights.layer_norm2, config.layer_norm_eps);
  if (tap) yield* tap(`${path}.layer_norm2`, yield* x.tensor());
  const inner = yield* ops.linear(x, weights.fc1);
  if (tap) yield* tap(`${path}.mlp.fc1`, inner);
  x = ops.activation(ACTIVATION_KERNELS[config.hidden_act], inner);
  if (tap) yield* tap(`${path}.mlp.activation_fn`, yield* x.tensor());
  const out = yield* ops.linear(x, weights.fc2, stream.branch);
  if (tap) yield* tap(`${path}.mlp.fc2`, out);
  if (tap) yield* tap(`${path}.mlp`, out);
  stream.add();
  if (tap) yield* tap(path, stream.settled());
}

/**
 * Every patch attends to the patches of its image that hold part of the picture (SmolVLMVisionAttention): into `out`, where x
 * may be.
 */
function* attention(
  ops: Ops,
  weights: VisionLayerWeights,
  config: SmolVLMVisionConfig,
  x: Prepared,
  keys: VisibleKeys[],
  layer: number,
  { tap, attentions }: VisionObservers,
  out: Tensor,
): Steps<void> {
  const { engine } = ops;
  const path = `${PATH}.encoder.layers.${layer}.self_attn`;
  const [q, k, v] = yield* ops.linears(x, [weights.q_proj, weights.k_proj, weights.v_proj]);
  if (tap) yield* tap(`${path}.q_proj`, q);
  if (tap) yield* tap(`${path}.k_proj`, k);
  if (tap) yield* tap(`${path}.v_proj`, v);

  const heads = config.num_attention_heads;
  const headDim = config.hidden_size / heads;
  const patches = x.rows / keys.length;
  const dtype = pageDtype(engine, weights, headDim);
  const mixed = engine.tensor(x.rows, x.columns);
  for (const [image, { indices, columns, count, scale }] of keys.entries()) {
    const mark = engine.activations.mark();
    const start = image * patches;
    const { pages, pageCount } = ops.packKeys(k, v, start, count, heads, headDim, indices, dtype);
    yield;
    yield* ops.attention(
      q.slice(start, patches),
      pages,
      {
        keys: count,
        kvHeads: heads,
        headDim,
        causalStart: -1,
        scale: scale / Math.sqrt(headDim),
        pageCount,
        dtype,
      },
      attentions &&
        ((head, firstRow, rows, pointer, ld) => {
          const probabilities = engine.f32(pointer, rows * ld);
          attentions({ layer, image, head, firstRow, rows, columns, keys: count, probabilities, ld });
        }),
      mixed.slice(start, patches),
    );
    engine.activations.release(mark);
  }
  yield* ops.linear(mixed, weights.out_proj, out);
  if (tap) yield* tap(`${path}.out_proj`, out);
  if (tap) yield* tap(path, out);
}

/**
 * Weights in integers are worth no more exact keys: in int16 attention takes little more than half the time, and with the 7-bit
 * dot product half of that.
 */
function pageDtype(engine: Engine, { k_proj }: VisionLayerWeights, headDim: number): PageDtype {
  if (!isQuantized(k_proj.weight.dtype)) return 'float32';
  return engine.relaxed && headDim <= SMOOTH_HEAD_DIM ? 'smooth8' : 'int16';
}

interface VisibleKeys {
  /** Pointer to the int32 indices of the patches that are keys, 0 for all of them. */
  indices: number;
  /** The same patches; undefined for all of them. */
  columns: readonly number[] | undefined;
  count: number;
  /** 1, or 0 where no patch is valid: the reference then attends to all patches alike. */
  scale: number;
}

function visibleKeys(engine: Engine, images: KeptImages, first: number, count: number): VisibleKeys[] {
  return images.patchMasks.slice(first, first + count).map((mask) => {
    const kept = Array.from(mask.keys()).filter((index) => mask[index]);
    if (kept.length === 0) return { indices: 0, columns: undefined, count: mask.length, scale: 0 };
    if (kept.length === mask.length) return { indices: 0, columns: undefined, count: mask.length, scale: 1 };
    return { indices: engine.uploadInt32(kept), columns: kept, count: kept.length, scale: 1 };
  });
}
