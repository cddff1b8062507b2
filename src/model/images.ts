import { InputError } from '../errors.js';
import type { Steps } from '../runtime/steps.js';
import type { HostTensor } from '../runtime/tensor.js';

/** The pictures of a batch that the vision tower sees: padding images (all zero) are left out, order is kept. */
export interface KeptImages {
  /** Index of each kept image among the batch's B·N, in order. */
  indices: number[];
  channels: number;
  height: number;
  width: number;
  /** [B, N, C, H, W] flattened. */
  pixels: ArrayLike<number> & { subarray(start: number, end: number): ArrayLike<number> };
  /** Per kept image [H/P · W/P]: non-zero where a patch holds part of the picture. */
  patchMasks: Uint8Array[];
}

/**
 * Discards all-zero images and reduces the pixel mask to patches (SmolVLMModel.get_image_features). Where every image is
 * zero, image 0 is kept.
 * @param pixel_values [B, N, C, H, W], or [B, C, H, W] with one image a row
 * @param pixel_attention_mask [B, N, H, W] or [B, H, W], any dtype; default: every pixel counts
 * @throws InputError on shapes that do not fit each other or the config
 */
export function* keepImages(
  pixel_values: HostTensor,
  pixel_attention_mask: HostTensor | undefined,
  channels: number,
  patch: number,
): Steps<KeptImages> {
  const isSingle = pixel_values.dims.length === 4;
  const dims = isSingle ? withImages(pixel_values.dims) : pixel_values.dims;
  if (dims.length !== 5 || dims[2] !== channels || dims[0] * dims[1] === 0) {
    const expected = `[batch, images, ${channels}, height, width] with at least one image`;
    const got = `[${pixel_values.dims}]`;
    throw new InputError({ what: 'wrong shape', where: 'pixel_values', expected, got });
  }
  const [batch, images, , height, width] = dims;
  const mask = pixel_attention_mask;
  const maskDims = mask && isSingle && mask.dims.length === 3 ? withImages(mask.dims) : mask?.dims;
  if (mask && String(maskDims) !== String([batch, images, height, width])) {
    throw new InputError({
      what: 'shape does not fit pixel_values',
      where: 'pixel_attention_mask',
      expected: `[${[batch, images, height, width]}]`,
      got: `[${mask.dims}]`,
    });
  }
  const pixels = pixel_values.data as Float32Array;
  const size = channels * height * width;
  const indices: number[] = [];
  for (let image = 0; image < batch * images; image++) {
    if (!isZero(pixels, image * size, size)) indices.push(image);
    yield;
  }
  if (indices.length === 0) indices.push(0);
  const patchMasks: Uint8Array[] = [];
  for (const image of indices) {
    patchMasks.push(patchMask(mask?.data, image, height, width, patch));
    yield;
  }
  return { indices, channels, height, width, pixels, patchMasks };
}

/** The model page gives pictures without a dimension of images: one for each row. */
function withImages([batch, ...rest]: readonly number[]): readonly number[] {
  return [batch, 1, ...rest];
}

function isZero(pixels: ArrayLike<number>, start: number, size: number): boolean {
  for (let i = start; i < start + size; i++) if (pixels[i] !== 0) return false;
  return true;
}

/** A patch counts if any pixel of it does. */
function patchMask(
  mask: HostTensor['data'] | undefined,
  image: number,
  height: number,
  width: number,
  patch: number,
): Uint8Array {
  const rows = Math.floor(height / patch);
  const columns = Math.floor(width / patch);
  const kept = new Uint8Array(rows * columns);
  if (!mask) return kept.fill(1);
  for (let y = 0; y < rows * patch; y++) {
    const line = (image * height + y) * width;
    const patchRow = Math.floor(y / patch) * columns;
    for (let x = 0; x < columns * patch; x++) {
      if (Number(mask[line + x])) kept[patchRow + Math.floor(x / patch)] = 1;
    }
  }
  return kept;
}
