/** `torchvision.transforms.v2.functional.center_crop`. */
import { likeData, type Planes } from './planes.js';

/** The middle `height` × `width`; what lies outside the picture is 0. */
export function centerCrop(image: Planes, height: number, width: number): Planes {
  if (image.height === height && image.width === width) return image;
  const { data, channels } = image;
  const top = cropStart(image.height, height);
  const left = cropStart(image.width, width);
  const out = likeData(data, channels * height * width);
  const fromX = Math.max(left, 0);
  const length = Math.min(left + width, image.width) - fromX;
  for (let c = 0; c < channels; c++) {
    for (let y = Math.max(0, -top); y < height && top + y < image.height; y++) {
      const from = (c * image.height + top + y) * image.width + fromX;
      out.set(data.subarray(from, from + length), (c * height + y) * width + fromX - left);
    }
  }
  return { data: out, channels, height, width };
}

/** Padding puts the odd pixel after the picture; cropping rounds halves to the even start. */
function cropStart(size: number, wanted: number): number {
  if (wanted >= size) return -Math.floor((wanted - size) / 2);
  const half = (size - wanted) / 2;
  const down = Math.floor(half);
  return half === down ? down : down + (down & 1);
}
