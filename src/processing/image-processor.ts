/** `SmolVLMImageProcessor` (the PIL one) of transformers 4.56.2, bit for bit on the same pixels. */
import { checkSignal, ImageError, InputError, MemoryError } from '../errors.js';
import { convertToRgb, premultiply, unpremultiply } from './alpha.js';
import type { DecodeOptions } from './decode.js';
import { targetSize } from './fast/options.js';
import { type ArrayInput, type ChannelFormat, channelsLastTensor, isArrayInput } from './fast/planes.js';
import { inferPixelFormat, pixelsOfArray } from './image-array.js';
import {
  type ImageProcessorConfig,
  type ImageProcessorOptions,
  imageProcessorOptions,
} from './image-config.js';
import { type ImageInput, type ImagesInput, loadPixels, nestImages } from './image-input.js';
import { type Size, tiledSize, tileGrid } from './image-size.js';
import { byRows, paced, type Steps } from './paced.js';
import { type Pixels, resampleSteps, resamplingName } from './resample.js';

export interface ImageFeatures {
  /** float32 [batch, images, channels, height, width]; missing images are zero. */
  pixel_values: { data: Float32Array; dims: [number, number, number, number, number] };
  /** 0 or 1, [batch, images, height, width]; absent without `do_pad`. */
  pixel_attention_mask: { data: Uint8Array; dims: [number, number, number, number] } | undefined;
  /** Tiles down and across per picture of each sample; 0 and 0 for a picture that was not split. */
  rows: number[][];
  cols: number[][];
  /** What decoded each picture (undefined for pixels passed in). */
  decoders: (string | undefined)[][];
}

export interface PreprocessOptions extends ImageProcessorConfig, DecodeOptions {
  /**
   * Left out, it is inferred from the first picture as the reference does, which takes any picture 1, 3 or 4 pixels high
   * for channels first. Pass `channels_last` to have such pictures read as what they are; `none` is for arrays [H, W].
   */
  input_data_format?: ChannelFormat;
}

export interface OutputOptions {
  /** Order of the result: channels first by default; null for that of the pictures passed in. */
  data_format?: 'channels_first' | 'channels_last' | null;
}

/** Pictures as files, pixels, or arrays with dims [C, H, W], [H, W, C] or [H, W]. */
export type PicturesInput =
  | ImagesInput
  | ArrayInput
  | (ImageInput | ArrayInput)[]
  | (ImageInput | ArrayInput)[][];

/** Output tensors larger than this are refused. */
const MAX_OUTPUT_BYTES = 2 ** 32;

/** A picture on its way, and whether the reference holds it with channels first: that decides on PIL's mode. */
interface Working extends Pixels {
  channelsFirst: boolean;
}

/** A picture ready to be cut: whole multiples of the tile, or one tile. */
interface Prepared {
  image: Working;
  rows: number;
  cols: number;
}

export class SmolVLMImageProcessor implements ImageProcessorOptions {
  do_convert_rgb!: boolean;
  do_resize!: boolean;
  size!: ImageProcessorOptions['size'];
  resample!: number;
  do_image_splitting!: boolean;
  max_image_size!: { longest_edge: number };
  do_rescale!: boolean;
  rescale_factor!: number;
  do_normalize!: boolean;
  image_mean!: number | number[];
  image_std!: number | number[];
  do_pad!: boolean;
  do_upscale!: boolean;

  /** `config` is the content of preprocessor_config.json or some of its fields. Throws ConfigError. */
  constructor(config: ImageProcessorConfig = {}) {
    Object.assign(this, imageProcessorOptions(config));
  }

  /**
   * Pictures to tensors; options given here override the processor's. Throws InputError for things that are no pictures,
   * ImageError for files that cannot be decoded, MemoryError for results beyond 4 GiB, the signal's reason when it is
   * aborted.
   */
  async preprocess(
    images: PicturesInput,
    overrides: PreprocessOptions & OutputOptions = {},
  ): Promise<ImageFeatures> {
    const { signal } = overrides;
    checkSignal(signal);
    const options = imageProcessorOptions(overrides, this);
    const nested: (ImageInput | ArrayInput)[][] = nestImages(images as ImagesInput);
    const decoders: (string | undefined)[][] = nested.map(() => []);
    const prepared: Prepared[][] = nested.map(() => []);
    const stated = overrides.input_data_format;
    let format = stated === 'none' ? ('channels_last' as const) : stated;
    for (const [sample, list] of nested.entries()) {
      for (const [index, image] of list.entries()) {
        const where = `images[${sample}][${index}]`;
        const { pixels, decoder } = isArrayInput(image)
          ? { pixels: await paced(pixelsOfArray(image, stated, where), signal), decoder: undefined }
          : await loadPixels(image, where, overrides);
        format ??= inferPixelFormat(pixels, where);
        decoders[sample].push(decoder);
        prepared[sample].push(await paced(prepare(pixels, format, options, where), signal));
      }
    }
    if (format === undefined) {
      throw new InputError({
        what: 'no picture',
        where: 'images',
        expected: 'at least one',
        got: 'empty samples',
      });
    }
    const features = { ...(await paced(assemble(prepared, options), signal)), decoders };
    if ((overrides.data_format === null ? format : overrides.data_format) !== 'channels_last')
      return features;
    const { data, dims } = features.pixel_values;
    return { ...features, pixel_values: await paced(channelsLastTensor(data, dims), signal) };
  }

  /**
   * Images (tiles and the global one), rows and columns for a picture of this size: `get_number_of_image_patches`,
   * which says 1 row and 1 column for a picture that is not split.
   */
  get_number_of_image_patches(
    height: number,
    width: number,
    overrides: ImageProcessorConfig = {},
  ): [number, number, number] {
    const options = imageProcessorOptions(overrides, this);
    if (!options.do_image_splitting) return [1, 1, 1];
    const resized = targetSize({ height, width }, options);
    const tile = options.max_image_size.longest_edge;
    const { rows, cols } = tileGrid(tiledSize(resized, tile), tile);
    return rows === 0 ? [1, 1, 1] : [rows * cols + 1, rows, cols];
  }
}

/** Reads the buffer [h][w][c] as [c'][h'][w'] if the format says so, and brings it to channels last. */
function* asFormat(
  pixels: Pixels,
  format: 'channels_first' | 'channels_last',
  where: string,
): Steps<Working> {
  if (format === 'channels_last') {
    if ([1, 3, 4].includes(pixels.channels)) return { ...pixels, channelsFirst: false };
    throw new ImageError({
      what: 'picture does not have the channel order that was given or that the first one has',
      where,
      expected: '1, 3 or 4 channels in the last dim',
      got: `${pixels.height}×${pixels.width}×${pixels.channels}`,
    });
  }
  const { data, height: channels, width: height, channels: width } = pixels;
  if (![1, 3, 4].includes(channels)) {
    throw new ImageError({
      what: 'picture does not have the channel order of the first one, which was taken for channels first',
      where,
      expected: "1, 3 or 4 channels, or input_data_format: 'channels_last'",
      got: `${channels} channels of ${height}×${width}`,
    });
  }
  const out = new Uint8Array(data.length);
  for (let c = 0; c < channels; c++) {
    const plane = c * height * width;
    yield* byRows(height * width, 1, (first, end) => {
      for (let i = first; i < end; i++) out[i * channels + c] = data[plane + i];
    });
  }
  return { data: out, width, height, channels, channelsFirst: true };
}

/** Everything up to the cutting: resize, and the second resize to whole tiles. */
function* prepare(
  pixels: Pixels,
  format: 'channels_first' | 'channels_last',
  options: ImageProcessorOptions,
  where: string,
): Steps<Prepared> {
  const image = yield* asFormat(pixels, format, where);
  const tile = options.max_image_size.longest_edge;
  const wanted = targetSize(image, options);
  const resized = options.do_resize ? wanted : { height: image.height, width: image.width };
  const target = options.do_image_splitting ? tiledSize(resized, tile) : { height: tile, width: tile };
  // As float32 RGB: counted before any pixel is made, for both sizes.
  for (const { height, width } of [resized, target]) checkBytes(height * width * 3 * 4, where);
  const first = yield* resizePicture(image, resized, options.resample, where);
  const last = yield* resizePicture(first, target, options.resample, where);
  return { image: last, ...(options.do_image_splitting ? tileGrid(target, tile) : { rows: 0, cols: 0 }) };
}

/**
 * The reference's `resize`: grey of channels last goes to PIL as a palette picture, which is resized by nearest
 * neighbour whatever the filter; RGBA is premultiplied before and divided after.
 */
function* resizePicture(
  image: Working,
  { height, width }: Size,
  filter: number,
  where: string,
): Steps<Working> {
  const { channels, channelsFirst } = image;
  const asPalette = channelsFirst ? image.width === 1 : channels === 1;
  if (asPalette && channels !== 1) {
    throw new ImageError({
      what: 'picture taken for channels first becomes one pixel wide, which the reference refuses',
      where,
      expected: "input_data_format: 'channels_last' for pictures 1, 3 or 4 pixels high",
      got: `${channels} channels of ${image.height}×${image.width}`,
    });
  }
  if (image.height === height && image.width === width) return image;
  const name = asPalette ? 'nearest' : resamplingName(filter);
  const isPlain = channels !== 4 || name === 'nearest';
  const input = isPlain ? image : yield* premultiply(image);
  const resized = yield* resampleSteps(input, width, height, name);
  return { ...(isPlain ? resized : yield* unpremultiply(resized)), channelsFirst };
}

/** Cuts, converts, rescales, normalises and pads: [batch, images, channels, tile, tile]. */
function* assemble(
  batch: Prepared[][],
  options: ImageProcessorOptions,
): Steps<Omit<ImageFeatures, 'decoders'>> {
  const tile = options.max_image_size.longest_edge;
  const counts = batch.map((sample) => sample.reduce((sum, { rows, cols }) => sum + rows * cols + 1, 0));
  const most = Math.max(...counts);
  if (!options.do_pad && counts.some((count) => count !== most)) {
    throw new InputError({
      what: 'samples have different numbers of images',
      where: 'do_pad',
      expected: 'true, or equal numbers',
      got: counts.join(', '),
    });
  }
  const channels = outputChannels(batch, options);
  const tables = channelTables(channels, options);
  checkBytes(batch.length * most * channels * tile * tile * 4, 'pixel_values');
  const values = new Float32Array(batch.length * most * channels * tile * tile);
  const mask = options.do_pad ? new Uint8Array(batch.length * most * tile * tile) : undefined;
  for (const [b, sample] of batch.entries()) {
    let n = b * most;
    const write = function* (image: Pixels, x: number, y: number): Steps<void> {
      const index = n++;
      yield* byRows(tile, tile * channels, (from, to) => {
        writeTile(image, x, y, tile, tables, values, index, from, to);
      });
      mask?.fill(1, index * tile * tile, n * tile * tile);
    };
    for (const { image, rows, cols } of sample) {
      const whole = options.do_convert_rgb ? yield* convertToRgb(image) : image;
      for (let row = 0; row < rows; row++) {
        for (let col = 0; col < cols; col++) yield* write(whole, col * tile, row * tile);
      }
      const square = { height: tile, width: tile };
      const small = yield* resizePicture(image, square, options.resample, 'global image');
      yield* write(options.do_convert_rgb ? yield* convertToRgb(small) : small, 0, 0);
    }
  }
  return {
    pixel_values: { data: values, dims: [batch.length, most, channels, tile, tile] },
    pixel_attention_mask: mask && { data: mask, dims: [batch.length, most, tile, tile] },
    rows: batch.map((sample) => sample.map(({ rows }) => rows)),
    cols: batch.map((sample) => sample.map(({ cols }) => cols)),
  };
}

function outputChannels(batch: Prepared[][], options: ImageProcessorOptions): number {
  if (options.do_convert_rgb) return 3;
  const found = [...new Set(batch.flat().map(({ image }) => image.channels))];
  if (found.length === 1) return found[0];
  throw new InputError({
    what: 'pictures have different numbers of channels',
    where: 'do_convert_rgb',
    expected: 'true, or equal numbers of channels',
    got: found.join(', '),
  });
}

/** Per channel the float32 value of each of the 256 levels: product in float64, difference and quotient in float32. */
function channelTables(channels: number, options: ImageProcessorOptions): Float32Array[] {
  const perChannel = (name: 'image_mean' | 'image_std') => {
    const value = options[name];
    if (!Array.isArray(value)) return new Array<number>(channels).fill(value);
    if (value.length === channels || !options.do_normalize) return value;
    throw new InputError({
      what: 'wrong number of values',
      where: name,
      expected: `${channels}, one per channel`,
      got: String(value.length),
    });
  };
  const means = perChannel('image_mean');
  const deviations = perChannel('image_std');
  return Array.from({ length: channels }, (_, c) =>
    Float32Array.from({ length: 256 }, (_, level) => {
      const value = options.do_rescale ? Math.fround(level * options.rescale_factor) : level;
      if (!options.do_normalize) return value;
      return Math.fround(value - Math.fround(means[c])) / Math.fround(deviations[c]);
    }),
  );
}

/** Rows of a tile, `from` to `to`. */
function writeTile(
  image: Pixels,
  left: number,
  top: number,
  tile: number,
  tables: Float32Array[],
  values: Float32Array,
  index: number,
  from: number,
  to: number,
): void {
  const { data, width, channels } = image;
  for (let c = 0; c < channels; c++) {
    const table = tables[c];
    let at = ((index * channels + c) * tile + from) * tile;
    for (let y = from; y < to; y++) {
      let pixel = ((top + y) * width + left) * channels + c;
      for (let x = 0; x < tile; x++, pixel += channels) values[at++] = table[data[pixel]];
    }
  }
}

function checkBytes(bytes: number, where: string): void {
  if (bytes <= MAX_OUTPUT_BYTES) return;
  throw new MemoryError({
    what: 'pictures too large',
    where,
    expected: `at most ${MAX_OUTPUT_BYTES} bytes of pixel_values`,
    got: String(bytes),
  });
}
