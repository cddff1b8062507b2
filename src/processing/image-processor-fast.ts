/**
 * `SmolVLMImageProcessorFast` of transformers 4.56.2 as it computes with torchvision 0.29: antialiased bicubic where the
 * slow processor has Lanczos, and float32 sums where it has integers. Their results differ, so they are two processors.
 */
import { ConfigError, checkSignal, InputError, MemoryError } from '../errors.js';
import type { DecodeOptions } from './decode.js';
import { centerCrop } from './fast/crop.js';
import { Normalizer } from './fast/normalize.js';
import { mergeOptions, type SharedConfig, type SharedOptions, targetSize } from './fast/options.js';
import {
  type ArrayInput,
  type ChannelFormat,
  isArrayInput,
  type Planes,
  planesOfArray,
  planesOfInterleaved,
  takeChannels,
} from './fast/planes.js';
import { resizeSteps } from './fast/resize.js';
import { type ImageInput, loadPixels, nestImages } from './image-input.js';
import type { ImageFeatures } from './image-processor.js';
import { tiledSize, tileGrid } from './image-size.js';
import { paced, type Steps } from './paced.js';
import { RESAMPLING } from './resample.js';

export interface FastImageProcessorOptions extends SharedOptions {
  do_image_splitting: boolean;
  return_row_col_info: boolean;
  /** Accepted; pictures are processed one by one, and the results are the same. */
  disable_grouping: boolean | undefined;
}

/** What preprocessor_config.json or a call may say. */
export type FastImageProcessorConfig = SharedConfig &
  Partial<
    Pick<FastImageProcessorOptions, 'do_image_splitting' | 'return_row_col_info' | 'disable_grouping'>
  > & {
    image_processor_type?: string;
  };

export interface FastPreprocessOptions extends FastImageProcessorConfig, DecodeOptions {
  /** How arrays hold their channels; left out, it is inferred per picture. Files and `{width, height}` pixels know. */
  input_data_format?: ChannelFormat;
  /** Only `channels_first`, as in the reference. */
  data_format?: 'channels_first';
}

/** A picture as files and pixels are given, or an array with dims [C, H, W], [H, W, C] or [H, W] of any known dtype. */
export type FastImageInput = ImageInput | ArrayInput;
export type FastImagesInput = FastImageInput | FastImageInput[] | FastImageInput[][];

/** As the slow processor's; rows and columns only with `return_row_col_info`. */
export type FastImageFeatures = Omit<ImageFeatures, 'rows' | 'cols'> &
  Partial<Pick<ImageFeatures, 'rows' | 'cols'>>;

const DEFAULTS: FastImageProcessorOptions = {
  do_convert_rgb: true,
  do_resize: true,
  size: { longest_edge: 4 * 364 },
  default_to_square: true,
  resample: RESAMPLING.lanczos,
  do_center_crop: false,
  crop_size: undefined,
  do_image_splitting: true,
  max_image_size: { longest_edge: 364 },
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  image_mean: [0.5, 0.5, 0.5],
  image_std: [0.5, 0.5, 0.5],
  do_pad: true,
  return_row_col_info: false,
  device: undefined,
  disable_grouping: undefined,
  do_upscale: true,
};

const TYPES = /^(SmolVLM|Idefics3)ImageProcessor(Fast)?$/;
const OWNER = 'fast image processor';
const MAX_OUTPUT_BYTES = 2 ** 32;

/** A picture ready to be cut: whole multiples of the tile, or one tile. */
interface Prepared {
  image: Planes;
  rows: number;
  cols: number;
}

export interface SmolVLMImageProcessorFast extends FastImageProcessorOptions {}

// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the constructor assigns every option.
export class SmolVLMImageProcessorFast {
  /** `config` is the content of preprocessor_config.json or some of its fields. Throws ConfigError. */
  constructor(config: FastImageProcessorConfig = {}) {
    const type = config.image_processor_type;
    if (type !== undefined && !TYPES.test(type)) {
      throw new ConfigError({
        what: `invalid option of the ${OWNER}`,
        where: 'image_processor_type',
        expected: 'SmolVLMImageProcessorFast',
        got: type,
      });
    }
    Object.assign(this, mergeOptions(config, DEFAULTS, OWNER));
  }

  /**
   * Pictures to float32 [batch, images, channels, tile, tile]; options given here override the processor's. Throws
   * ConfigError, InputError for things that are no pictures, ImageError for files that cannot be decoded, MemoryError
   * for results beyond 4 GiB, the signal's reason when it is aborted.
   */
  async preprocess(
    images: FastImagesInput,
    overrides: FastPreprocessOptions = {},
  ): Promise<FastImageFeatures> {
    const { signal } = overrides;
    checkSignal(signal);
    const options = mergeOptions(overrides, this.#options(), OWNER);
    if (overrides.data_format !== undefined && overrides.data_format !== 'channels_first') {
      throw new ConfigError({
        what: `invalid option of the ${OWNER}`,
        where: 'data_format',
        expected: 'channels_first',
        got: String(overrides.data_format),
      });
    }
    const nested = nestImages(images as ImageInput[][]) as FastImageInput[][];
    const decoders: (string | undefined)[][] = nested.map(() => []);
    const prepared: Prepared[][] = nested.map(() => []);
    for (const [sample, list] of nested.entries()) {
      for (const [index, image] of list.entries()) {
        const where = `images[${sample}][${index}]`;
        const { planes, decoder } = await loadPlanes(image, options, overrides, where);
        decoders[sample].push(decoder);
        prepared[sample].push(await paced(prepare(planes, options, where), signal));
      }
    }
    if (prepared.every((list) => list.length === 0)) {
      throw new InputError({
        what: 'no picture',
        where: 'images',
        expected: 'at least one',
        got: 'empty samples',
      });
    }
    const features = { ...(await paced(assemble(prepared, options), signal)), decoders };
    if (!options.return_row_col_info) return features;
    return {
      ...features,
      rows: prepared.map((sample) => sample.map(({ rows }) => rows)),
      cols: prepared.map((sample) => sample.map(({ cols }) => cols)),
    };
  }

  /** Images, rows and columns for a picture of this size: `get_number_of_image_patches`. */
  get_number_of_image_patches(
    height: number,
    width: number,
    overrides: FastImageProcessorConfig = {},
  ): [number, number, number] {
    const options = mergeOptions(overrides, this.#options(), OWNER);
    if (!options.do_image_splitting) return [1, 1, 1];
    const resized = options.do_resize ? targetSize({ height, width }, options) : { height, width };
    const tile = options.max_image_size.longest_edge;
    const { rows, cols } = tileGrid(tiledSize(resized, tile), tile);
    return rows === 0 ? [1, 1, 1] : [rows * cols + 1, rows, cols];
  }

  #options(): FastImageProcessorOptions {
    const options = { ...DEFAULTS } as Record<string, unknown>;
    for (const name of Object.keys(DEFAULTS)) options[name] = (this as Record<string, unknown>)[name];
    return options as unknown as FastImageProcessorOptions;
  }
}

/** `_process_image`: RGB from pictures (alpha dropped, as PIL's conversion does), arrays as they are. */
async function loadPlanes(
  image: FastImageInput,
  { do_convert_rgb }: FastImageProcessorOptions,
  overrides: FastPreprocessOptions,
  where: string,
): Promise<{ planes: Planes; decoder: string | undefined }> {
  let planes: Planes;
  let decoder: string | undefined;
  if (isArrayInput(image)) {
    planes = await paced(planesOfArray(image, overrides.input_data_format, where), overrides.signal);
  } else {
    const loaded = await loadPixels(image, where, overrides);
    const { data, height, width, channels } = loaded.pixels;
    const bytes =
      data instanceof Uint8Array ? data : new Uint8Array(data.buffer, data.byteOffset, data.length);
    planes = await paced(planesOfInterleaved(bytes, height, width, channels), overrides.signal);
    decoder = loaded.decoder;
  }
  // The reference leaves arrays as they are; those of four channels it then refuses, unless nothing is normalised.
  if (do_convert_rgb && (planes.channels === 4 || !isArrayInput(image))) planes = takeChannels(planes, 3);
  return { planes, decoder };
}

/** Everything up to the cutting: resize, crop, and the second resize to whole tiles. */
function* prepare(image: Planes, options: FastImageProcessorOptions, where: string): Steps<Prepared> {
  const tile = options.max_image_size.longest_edge;
  const resize = (input: Planes, height: number, width: number) => {
    checkBytes(height * width * input.channels * 4, where);
    return resizeSteps(input, height, width, options.resample, 'v1');
  };
  if (options.do_resize) {
    const target = targetSize(image, options);
    image = yield* resize(image, target.height, target.width);
  }
  if (options.do_center_crop && options.crop_size) {
    image = centerCrop(image, options.crop_size.height, options.crop_size.width);
  }
  if (!options.do_image_splitting) return { image: yield* resize(image, tile, tile), rows: 0, cols: 0 };
  const target = tiledSize(image, tile);
  image = yield* resize(image, target.height, target.width);
  return { image, ...tileGrid(image, tile) };
}

/** Cuts, rescales, normalises and pads. */
function* assemble(
  batch: Prepared[][],
  options: FastImageProcessorOptions,
): Steps<Pick<ImageFeatures, 'pixel_values' | 'pixel_attention_mask'>> {
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
  const normalizer = new Normalizer(options);
  const channels = commonChannels(batch, normalizer);
  const plane = tile * tile;
  checkBytes(batch.length * most * channels * plane * 4, 'pixel_values');
  const values = new Float32Array(batch.length * most * channels * plane);
  const mask = options.do_pad ? new Uint8Array(batch.length * most * plane) : undefined;
  for (const [b, sample] of batch.entries()) {
    let n = b * most;
    const write = function* (image: Planes, top: number, left: number): Steps<void> {
      const window = { top, left, height: tile, width: tile };
      yield* normalizer.write(image, window, channels, values, n * channels * plane, tile, plane);
      mask?.fill(1, n * plane, (n + 1) * plane);
      n++;
    };
    for (const { image, rows, cols } of sample) {
      for (let row = 0; row < rows; row++) {
        for (let col = 0; col < cols; col++) yield* write(image, row * tile, col * tile);
      }
      yield* write(yield* resizeSteps(image, tile, tile, options.resample, 'v1'), 0, 0);
    }
  }
  return {
    pixel_values: { data: values, dims: [batch.length, most, channels, tile, tile] },
    pixel_attention_mask: mask && { data: mask, dims: [batch.length, most, tile, tile] },
  };
}

/** Grey pictures get as many channels as there are means, or as the other pictures have. */
function commonChannels(batch: Prepared[][], normalizer: Normalizer): number {
  const counts = new Set<number>();
  for (const [s, sample] of batch.entries()) {
    for (const [i, { image }] of sample.entries()) {
      counts.add(normalizer.channels(image.channels, `images[${s}][${i}]`));
    }
  }
  if (counts.size > 1) counts.delete(1);
  if (counts.size === 1) return [...counts][0];
  throw new InputError({
    what: 'pictures have different numbers of channels',
    where: 'images',
    expected: 'equal numbers, or 1',
    got: [...counts].join(', '),
  });
}

function checkBytes(bytes: number, where: string): void {
  if (bytes <= MAX_OUTPUT_BYTES) return;
  throw new MemoryError({
    what: 'pictures too large',
    where,
    expected: `at most ${MAX_OUTPUT_BYTES} bytes`,
    got: String(bytes),
  });
}
