import type { Steps } from '../runtime/steps.js';
import type { Tensor } from '../runtime/tensor.js';
import type { SmolVLMConfig } from './config.js';
import type { ForwardInputs } from './forward.js';
import type { KeptImages } from './images.js';
import type { BaseModel } from './model.js';
import type { StageTap, Taps } from './taps.js';
import { rotaryTables } from './text.js';
import type { PackedTokens } from './tokens.js';

/** Packed text rows go to their places in [B, S, …]. */
export function textTap(taps: Taps, tokens: PackedTokens): StageTap {
  const place = { dims: [tokens.batch, tokens.sequence], rows: tokens.places };
  return (name, tensor) => taps.write(name, tensor, place, tokens.count);
}

/** Rows of a group of images go to [images, rows, …], from the group's first image on. */
export function imageTap(taps: Taps, kept: KeptImages, first: number, config: SmolVLMConfig): StageTap {
  const images = kept.indices.length;
  const patches = kept.patchMasks[0].length;
  return (name, tensor) => {
    if (name.endsWith('.patch_embedding')) return convolutionTap(taps, name, tensor, kept, first, config);
    const isConnector = name.startsWith('model.connector');
    const rows = isConnector ? patches / config.scale_factor ** 2 : patches;
    return taps.write(name, tensor, { dims: [images, rows], rows: first * rows }, images * rows);
  };
}

/** The reference's convolution gives [images, channels, h, w]; ours rows of channels. */
function convolutionTap(
  taps: Taps,
  name: string,
  tensor: Tensor,
  kept: KeptImages,
  first: number,
  { vision_config }: SmolVLMConfig,
): Steps<void> {
  const h = Math.floor(kept.height / vision_config.patch_size);
  const w = Math.floor(kept.width / vision_config.patch_size);
  const channels = tensor.columns;
  const images = kept.indices.length;
  return taps.writeTransposed(name, tensor, {
    dims: [images, channels, h, w],
    firstMatrix: first,
    rows: h * w,
  });
}

/** The rotary tables of the whole sequence, pads included: [1 or B, S, head_dim] (LlamaRotaryEmbedding's two outputs). */
export function* rotaryTap(
  { ops, config }: BaseModel,
  taps: Taps,
  { position_ids, cache_position }: ForwardInputs,
  past: number,
  sequence: number,
): Steps<void> {
  const { text_config } = config;
  const given = position_ids ?? cache_position;
  const positions = given
    ? Int32Array.from(given.data as Int32Array, Number)
    : Int32Array.from({ length: sequence }, (_, column) => past + column);
  const mark = ops.engine.activations.mark();
  const { cos, sin } = rotaryTables(ops, text_config, positions);
  const dims = [positions.length / sequence, sequence, text_config.head_dim];
  yield* ops.engine.drain();
  taps.emit('model.text_model.rotary_emb.0', { dims, data: ops.engine.download(cos) });
  taps.emit('model.text_model.rotary_emb.1', { dims, data: ops.engine.download(sin) });
  ops.engine.activations.release(mark);
}
