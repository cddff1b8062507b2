/** Arrays with dims as pictures of the PIL processor: `to_pil_image`, which makes 8-bit levels of every dtype. */
import { ImageError, InputError } from '../errors.js';
import { type ArrayInput, type ChannelFormat, checkArray, type PlaneData } from './fast/planes.js';
import { byRows, type Steps } from './paced.js';
import type { Pixels } from './resample.js';

/**
 * The array [a, b, c] as if it were [height, width, channels]; what it really is, the format decides later. An array of
 * two dims is grey. Throws InputError for other dims, and ImageError for values that the reference cannot make levels of.
 */
export function* pixelsOfArray(
  array: ArrayInput,
  format: ChannelFormat | undefined,
  where: string,
): Steps<Pixels> {
  const levels = yield* toLevels(checkArray(array, where), where);
  const { dims } = array;
  if (dims.length === 2) {
    const [height, width, channels] = format === 'channels_first' ? [1, ...dims] : [...dims, 1];
    return { data: levels, height, width, channels };
  }
  if (dims.length === 3 && format !== 'none') {
    const [height, width, channels] = dims;
    return { data: levels, height, width, channels };
  }
  throw new InputError({
    what: 'not the dims of a picture',
    where,
    expected: format === 'none' ? '[height, width]' : '[C, H, W], [H, W, C] or [H, W]',
    got: `[${dims.join(', ')}]`,
  });
}

/** `infer_channel_dimension_format` with 1, 3 or 4 channels. Throws InputError where neither end may be the channels. */
export function inferPixelFormat(
  { height, channels }: Pixels,
  where: string,
): 'channels_first' | 'channels_last' {
  if ([1, 3, 4].includes(height)) return 'channels_first';
  if ([1, 3, 4].includes(channels)) return 'channels_last';
  throw new InputError({
    what: 'channel dimension cannot be inferred',
    where,
    expected: '1, 3 or 4 channels in the first or the last dim',
    got: `${height} and ${channels}`,
  });
}

/** `_rescale_for_pil_conversion`: whole numbers are levels, numbers from 0 to 1 fractions of 255, which is cut off. */
function* toLevels(data: PlaneData, where: string): Steps<Uint8Array> {
  if (data instanceof Uint8Array) return data;
  let [least, largest, whole] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, true];
  yield* byRows(data.length, 1, (from, to) => {
    for (let i = from; i < to; i++) {
      const value = data[i];
      if (value < least) least = value;
      if (value > largest) largest = value;
      const cut = Math.trunc(value);
      // NumPy's `allclose`; not a number is close to nothing.
      whole &&= Math.abs(value - cut) <= 1e-8 + 1e-5 * Math.abs(cut);
    }
  });
  const limit = whole ? 255 : 1;
  if (!(least >= 0 && largest <= limit)) {
    throw new ImageError({
      what: 'values that cannot become 8-bit levels',
      where,
      expected: whole ? 'whole numbers from 0 to 255' : 'whole numbers from 0 to 255, or numbers from 0 to 1',
      got: `${least} to ${largest}`,
    });
  }
  const levels = new Uint8Array(data.length);
  yield* byRows(data.length, 1, (from, to) => {
    for (let i = from; i < to; i++) levels[i] = whole ? data[i] : Math.fround(data[i] * 255);
  });
  return levels;
}
