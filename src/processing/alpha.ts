/** Pillow's arithmetic with alpha: premultiplying for `resize`, compositing on white for `convert_to_rgb`. */
import { byRows, type Steps } from './paced.js';
import type { Pixels } from './resample.js';

/** `convert('RGBa')`: colours times alpha over 255, rounded. */
export function* premultiply({ data, width, height }: Pixels): Steps<Pixels> {
  const out = new Uint8Array(data.length);
  yield* byRows(width * height, 4, (from, to) => {
    for (let i = 4 * from; i < 4 * to; i += 4) {
      const alpha = data[i + 3];
      for (let c = 0; c < 3; c++) {
        const product = data[i + c] * alpha + 128;
        out[i + c] = ((product >> 8) + product) >> 8;
      }
      out[i + 3] = alpha;
    }
  });
  return { data: out, width, height, channels: 4 };
}

/** `convert('RGBA')` of premultiplied pixels: the quotient is cut off, not rounded. */
export function* unpremultiply({ data, width, height }: Pixels): Steps<Pixels> {
  const out = new Uint8Array(data.length);
  yield* byRows(width * height, 4, (from, to) => {
    for (let i = 4 * from; i < 4 * to; i += 4) {
      const alpha = data[i + 3];
      const whole = alpha === 0 || alpha === 255;
      for (let c = 0; c < 3; c++) {
        out[i + c] = whole ? data[i + c] : Math.min(Math.trunc((255 * data[i + c]) / alpha), 255);
      }
      out[i + 3] = alpha;
    }
  });
  return { data: out, width, height, channels: 4 };
}

const PRECISION_BITS = 7;

/**
 * The `convert_to_rgb` of the reference's image processor: grey is repeated, RGBA composited on opaque white
 * (`Image.alpha_composite`), RGB left as it is.
 */
export function* convertToRgb(image: Pixels): Steps<Pixels> {
  const { width, height, channels } = image;
  if (channels === 3) return image;
  const out = new Uint8Array(width * height * 3);
  yield* byRows(width * height, 4, (from, to) => toRgb(image, out, from, to));
  return { data: out, width, height, channels: 3 };
}

function toRgb({ data, channels }: Pixels, out: Uint8Array, first: number, end: number): void {
  for (let from = first * channels, to = 3 * first; to < 3 * end; from += channels, to += 3) {
    if (channels === 1) {
      out[to] = out[to + 1] = out[to + 2] = data[from];
      continue;
    }
    const alpha = data[from + 3];
    // The share of the picture over white, which is opaque, in 15 bits.
    const share = alpha * (1 << PRECISION_BITS);
    const rest = 255 * (255 * (1 << PRECISION_BITS) - share);
    for (let c = 0; c < 3; c++) {
      const sum = data[from + c] * share + rest + (0x80 << PRECISION_BITS);
      out[to + c] = (((sum >> 8) + sum) >> 8) >> PRECISION_BITS;
    }
  }
}
