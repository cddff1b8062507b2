/** Colour conversion of decoded JPEG components, as libjpeg (YCbCr, YCCK) and Pillow (CMYK to RGB) do it. */

const BITS = 16;
const HALF = 1 << (BITS - 1);
const fix = (value: number) => Math.trunc(value * (1 << BITS) + 0.5);

const RED_OF_CR = new Int32Array(256);
const BLUE_OF_CB = new Int32Array(256);
const GREEN_OF_CR = new Int32Array(256);
const GREEN_OF_CB = new Int32Array(256);
for (let i = 0; i < 256; i++) {
  const centred = i - 128;
  RED_OF_CR[i] = (fix(1.402) * centred + HALF) >> BITS;
  BLUE_OF_CB[i] = (fix(1.772) * centred + HALF) >> BITS;
  GREEN_OF_CR[i] = -fix(0.71414) * centred;
  GREEN_OF_CB[i] = -fix(0.34414) * centred + HALF;
}

/** What the components mean. */
export type ColorModel = 'grey' | 'rgb' | 'ycc' | 'cmyk' | 'ycck';

/** Converts one row of components to RGB at `out[to …]`. */
export function rowToRgb(
  model: ColorModel,
  rows: Uint8Array[],
  width: number,
  out: Uint8Array,
  to: number,
): void {
  const [a, b, c, d] = rows;
  for (let x = 0; x < width; x++, to += 3) {
    if (model === 'grey') {
      out[to] = out[to + 1] = out[to + 2] = a[x];
    } else if (model === 'rgb') {
      out[to] = a[x];
      out[to + 1] = b[x];
      out[to + 2] = c[x];
    } else if (model === 'cmyk') {
      inkToRgb(a[x], b[x], c[x], d[x], out, to);
    } else {
      const y = a[x];
      const red = clamp(y + RED_OF_CR[c[x]]);
      const green = clamp(y + ((GREEN_OF_CB[b[x]] + GREEN_OF_CR[c[x]]) >> BITS));
      const blue = clamp(y + BLUE_OF_CB[b[x]]);
      if (model === 'ycck') {
        inkToRgb(255 - red, 255 - green, 255 - blue, d[x], out, to);
      } else {
        out[to] = red;
        out[to + 1] = green;
        out[to + 2] = blue;
      }
    }
  }
}

/**
 * Pillow reads every CMYK JPEG as Adobe writes them, inverted (255 = no ink), and multiplies the inks out:
 * R = K' − round(C·K' / 255), where K' = 255 − K.
 */
function inkToRgb(c: number, m: number, y: number, k: number, out: Uint8Array, to: number): void {
  out[to] = k - scale(255 - c, k);
  out[to + 1] = k - scale(255 - m, k);
  out[to + 2] = k - scale(255 - y, k);
}

function scale(value: number, by: number): number {
  const product = value * by + 128;
  return ((product >> 8) + product) >> 8;
}

function clamp(value: number): number {
  return value < 0 ? 0 : Math.min(value, 255);
}
