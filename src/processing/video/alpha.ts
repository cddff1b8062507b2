/** `BaseVideoProcessor.convert_to_rgb` for frames with alpha. */
import type { Planes } from '../fast/planes.js';
import { byRows, type Steps } from '../paced.js';

export function* isTransparent({ data, height, width }: Planes): Steps<boolean> {
  const plane = height * width;
  let found = false;
  yield* byRows(plane, 1, (from, to) => {
    for (let i = from; i < to && !found; i++) found = data[3 * plane + i] < 255;
  });
  return found;
}

const f32 = Math.fround;

/** Float32 levels, not rounded to integers. */
export function* blendOnWhite({ data, height, width }: Planes): Steps<Planes> {
  const plane = height * width;
  const out = new Float32Array(3 * plane);
  yield* byRows(plane, 4, (from, to) => {
    for (let i = from; i < to; i++) {
      const alpha = f32(data[3 * plane + i] / 255);
      const white = f32(f32(1 - alpha) * 255);
      for (let c = 0; c < 3; c++) out[c * plane + i] = white + f32(alpha * data[c * plane + i]);
    }
  });
  return { data: out, channels: 3, height, width };
}
