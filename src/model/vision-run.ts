import { InputError } from '../errors.js';
import type { Steps } from '../runtime/steps.js';
import type { HostTensor, Tensor } from '../runtime/tensor.js';
import type { PositionDtype } from './config.js';
import type { KeptImages } from './images.js';
import type { VisionModel } from './model.js';
import { Taps } from './taps.js';
import { GROUP_PATCHES, type VisionObservers, type VisionStrip, visionTransformer } from './vision.js';

export interface VisionRunOptions {
  patch_attention_mask?: HostTensor | null;
  output_attentions?: boolean | null;
  output_hidden_states?: boolean | null;
  position_dtype?: PositionDtype;
}

export interface VisionRun {
  last_hidden_state: HostTensor<Float32Array>;
  hidden_states?: HostTensor<Float32Array>[];
  attentions?: HostTensor<Float32Array>[];
}

/**
 * The vision transformer by itself, with the outputs that are asked for (SmolVLMVisionTransformer.forward).
 * @param pixel_values [B, C, H, W]; every picture counts, all-zero ones too
 * @throws InputError on shapes that do not fit each other or the config
 */
export function* runVision(
  { ops, config, weights }: VisionModel,
  pixel_values: HostTensor,
  options: VisionRunOptions,
): Steps<VisionRun> {
  const { vision_config } = config;
  const images = allImages(pixel_values, options.patch_attention_mask ?? undefined, vision_config);
  const total = images.indices.length;
  const patches = images.patchMasks[0].length;
  const group = Math.max(1, Math.floor(GROUP_PATCHES / patches));
  const hidden_states: HostTensor<Float32Array>[] = [];
  const attentions = options.output_attentions
    ? new VisionAttentions(vision_config.num_hidden_layers, total, vision_config.num_attention_heads, patches)
    : undefined;
  const outputs = new Map<string, HostTensor<Float32Array>>();
  const collector = new Taps(ops.engine, (name, value) => outputs.set(name, value));
  for (let first = 0; first < total; first += group) {
    const mark = ops.engine.activations.mark();
    const count = Math.min(group, total - first);
    const place = { dims: [total, patches], rows: first * patches };
    const collect = (name: string, tensor: Tensor) => collector.write(name, tensor, place, total * patches);
    const observers: VisionObservers = {
      hidden: options.output_hidden_states ? (index, hidden) => collect(`${index}`, hidden) : undefined,
      attentions: attentions && ((strip) => attentions.add(first, strip)),
    };
    const dtype = options.position_dtype ?? config.position_dtype;
    const { vision } = weights;
    const out = yield* visionTransformer(ops, vision, vision_config, images, first, count, dtype, observers);
    yield* collect('last', out);
    ops.engine.activations.release(mark);
  }
  for (let index = 0; index <= vision_config.num_hidden_layers; index++) {
    const states = outputs.get(`${index}`);
    if (states) hidden_states.push(states);
  }
  return {
    last_hidden_state: outputs.get('last')!,
    hidden_states: options.output_hidden_states ? hidden_states : undefined,
    attentions: attentions?.layers,
  };
}

/** Puts strips of probabilities together: for each layer [B, heads, patches, patches], 0 where a patch is no key. */
class VisionAttentions {
  readonly layers: HostTensor<Float32Array>[];

  constructor(layers: number, images: number, heads: number, patches: number) {
    const dims = [images, heads, patches, patches];
    const size = images * heads * patches * patches;
    this.layers = Array.from({ length: layers }, () => ({ dims, data: new Float32Array(size) }));
  }

  add(
    firstImage: number,
    { layer, image, head, firstRow, rows, columns, keys, probabilities, ld }: VisionStrip,
  ) {
    const { dims, data } = this.layers[layer];
    const [, heads, patches] = dims;
    for (let row = 0; row < rows; row++) {
      const base = (((firstImage + image) * heads + head) * patches + firstRow + row) * patches;
      const strip = probabilities.subarray(row * ld, row * ld + keys);
      if (columns) for (const [key, column] of columns.entries()) data[base + column] = strip[key];
      else data.set(strip, base);
    }
  }
}

function allImages(
  pixel_values: HostTensor,
  mask: HostTensor | undefined,
  { num_channels, patch_size }: { num_channels: number; patch_size: number },
): KeptImages {
  const refuse = (where: string, expected: string, got: string): never => {
    throw new InputError({ what: 'wrong shape', where, expected, got });
  };
  const [batch, channels, height, width] = pixel_values.dims;
  const rows = Math.floor(height / patch_size);
  const columns = Math.floor(width / patch_size);
  if (
    pixel_values.dims.length !== 4 ||
    channels !== num_channels ||
    !(batch > 0 && rows > 0 && columns > 0)
  ) {
    const expected = `[batch, ${num_channels}, height, width] of at least one patch, ${patch_size} a side`;
    refuse('pixel_values', expected, `[${pixel_values.dims}]`);
  }
  const patches = rows * columns;
  const shape = [batch, rows, columns];
  if (mask && (String(mask.dims) !== String(shape) || mask.data.length !== batch * patches)) {
    refuse('patch_attention_mask', `[${shape}]`, `[${mask.dims}]`);
  }
  const patchMasks = Array.from({ length: batch }, (_, image) =>
    Uint8Array.from({ length: patches }, (_, i) => (mask && !Number(mask.data[image * patches + i]) ? 0 : 1)),
  );
  const indices = Array.from({ length: batch }, (_, image) => image);
  return { indices, channels, height, width, pixels: pixel_values.data as Float32Array, patchMasks };
}
