/** `BaseVideoProcessor.convert_to_rgb` for frames with alpha. */
import type { Planes } from '../fast/planes.js';

export function isTransparent({ data, height, width }: Planes): boolean {
  for (let i = 3 * height * width; i < data.length; i++) if (data[i] < 255) return true;
  return false;
}

const f32 = Math.fround;

/** Float32 levels, not rounded to integers. */
export function blendOnWhite({ data, height, width }: Planes): Planes {
  const plane = height * width;
  const out = new Float32Array(3 * plane);
  for (let i = 0; i < plane; i++) {
    const alpha = f32(data[3 * plane + i] / 255);
    const white = f32(f32(1 - alpha) * 255);
    for (let c = 0; c < 3; c++) out[c * plane + i] = white + f32(alpha * data[c * plane + i]);
  }
  return { data: out, channels: 3, height, width };
}
