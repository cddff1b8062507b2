/** What the image processor takes, and how it becomes pixels. */
import { ImageError, InputError } from '../errors.js';
import { type DecodeOptions, decodeImage } from './decode.js';
import { orAborted } from './paced.js';
import type { Pixels } from './resample.js';

/** Pixels passed in: interleaved 8-bit grey, RGB or RGBA; `channels` may be left out (an ImageData has none). */
export interface PixelInput {
  data: Uint8Array | Uint8ClampedArray;
  width: number;
  height: number;
  channels?: number;
}

/**
 * One picture. Bytes of a JPEG or PNG file take the way of the reference's `load_image` (turned upright, alpha dropped);
 * pixels take the way of pixels there (alpha composited on white, grey resized by nearest neighbour).
 */
export type ImageInput = Uint8Array | ArrayBuffer | Blob | PixelInput;

/** One picture, the pictures of one sample, or those of each sample of a batch. */
export type ImagesInput = ImageInput | ImageInput[] | ImageInput[][];

/** `make_nested_list_of_images`, except that a sample of a batch may have no picture. */
export function nestImages(images: ImagesInput): ImageInput[][] {
  if (!Array.isArray(images)) return [[images]];
  if (images.length === 0) {
    throw new InputError({
      what: 'no picture',
      where: 'images',
      expected: 'at least one',
      got: 'an empty list',
    });
  }
  const nested = images.filter(Array.isArray).length;
  if (nested === 0) return [images as ImageInput[]];
  if (nested === images.length) return images as ImageInput[][];
  throw new InputError({
    what: 'pictures and lists mixed',
    where: 'images',
    expected: 'a picture, a list of pictures, or a list of lists',
    got: `${nested} lists among ${images.length} entries`,
  });
}

/** `where` names the picture in errors. The second result says what decoded it (undefined for pixels). */
export async function loadPixels(
  image: ImageInput,
  where: string,
  options: DecodeOptions,
): Promise<{ pixels: Pixels; decoder: string | undefined }> {
  if (image instanceof ArrayBuffer) image = new Uint8Array(image);
  if (typeof Blob !== 'undefined' && image instanceof Blob) {
    image = new Uint8Array(await orAborted(image.arrayBuffer(), options.signal));
  }
  if (image instanceof Uint8Array) {
    try {
      const decoded = await decodeImage(image, { ...options, alpha: 'drop' });
      return { pixels: decoded, decoder: decoded.decoder };
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      const { what, expected, got } = error;
      throw new ImageError({ what, where: `${where}, ${error.where}`, expected, got, cause: error });
    }
  }
  return { pixels: checkPixels(image as PixelInput, where), decoder: undefined };
}

function checkPixels(image: PixelInput, where: string): Pixels {
  const { data, width, height } = image ?? {};
  if (!(data instanceof Uint8Array || data instanceof Uint8ClampedArray)) {
    throw new InputError({
      what: 'not a picture',
      where,
      expected: 'bytes of a picture file, or { data: Uint8Array, width, height, channels }',
      got:
        image === null
          ? 'null'
          : typeof image === 'object'
            ? `an object with data: ${typeof data}`
            : typeof image,
    });
  }
  const whole = Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0;
  const channels = image.channels ?? (whole ? data.length / (width * height) : 0);
  if (!whole || ![1, 3, 4].includes(channels) || data.length !== width * height * channels) {
    throw new InputError({
      what: 'pixels do not fit their size',
      where,
      expected: `${width}×${height} pixels of 1, 3 or 4 channels`,
      got: `${data.length} bytes${image.channels === undefined ? '' : ` for ${image.channels} channels`}`,
    });
  }
  return { data, width, height, channels };
}
