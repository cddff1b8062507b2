/** The reference's size arithmetic (`image_processing_smolvlm.py`): float64 quotients cut to integers, as there. */

/** Nothing is resized beyond this longest edge (`MAX_IMAGE_SIZE`). */
export const MAX_IMAGE_SIZE = 4096;

export interface Size {
  height: number;
  width: number;
}

/** `get_resize_output_image_size`: the longest edge becomes `longestEdge`, the other follows, made even by adding 1. */
export function resizedSize({ height, width }: Size, longestEdge: number): Size {
  return belowUpperBound(rescaledToLongest({ height, width }, longestEdge), MAX_IMAGE_SIZE);
}

function rescaledToLongest({ height, width }: Size, longest: number): Size {
  const aspectRatio = width / height;
  if (width >= height) {
    width = longest;
    height = Math.trunc(width / aspectRatio);
    if (height % 2 !== 0) height += 1;
  } else {
    height = longest;
    width = Math.trunc(height * aspectRatio);
    if (width % 2 !== 0) width += 1;
  }
  return { height: Math.max(height, 1), width: Math.max(width, 1) };
}

function belowUpperBound({ height, width }: Size, longest: number): Size {
  const aspectRatio = width / height;
  if (width >= height && width > longest) {
    width = longest;
    height = Math.trunc(width / aspectRatio);
  } else if (height > width && height > longest) {
    height = longest;
    width = Math.trunc(height * aspectRatio);
  }
  return { height: Math.max(height, 1), width: Math.max(width, 1) };
}

/** `resize_for_vision_encoder`: both edges to whole multiples of the tile. */
export function tiledSize({ height, width }: Size, tile: number): Size {
  const aspectRatio = width / height;
  const up = (value: number) => Math.ceil(value / tile) * tile;
  if (width >= height) {
    width = up(width);
    return { width, height: up(Math.trunc(width / aspectRatio)) };
  }
  height = up(height);
  return { height, width: up(Math.trunc(height * aspectRatio)) };
}

/** `split_image`: 0×0 for a picture that fits one tile. */
export function tileGrid({ height, width }: Size, tile: number): { rows: number; cols: number } {
  if (height <= tile && width <= tile) return { rows: 0, cols: 0 };
  return { rows: Math.ceil(height / tile), cols: Math.ceil(width / tile) };
}
