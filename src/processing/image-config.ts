/** The image processor's options, in the reference's names and with its defaults, from preprocessor_config.json. */
import { ConfigError } from '../errors.js';
import { RESAMPLING, resamplingName } from './resample.js';

export interface ImageProcessorOptions {
  do_convert_rgb: boolean;
  do_resize: boolean;
  /** The longest edge, or both edges, before tiling. */
  size: { longest_edge: number } | { height: number; width: number };
  /** A `PIL.Image.Resampling` number: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming. */
  resample: number;
  do_image_splitting: boolean;
  /** The tile's edge. */
  max_image_size: { longest_edge: number };
  do_rescale: boolean;
  rescale_factor: number;
  do_normalize: boolean;
  image_mean: number | number[];
  image_std: number | number[];
  do_pad: boolean;
  /** `false`: a picture smaller than `size` is not enlarged before it is cut (the reference enlarges). */
  do_upscale: boolean;
}

/** What configs may say: `max_image_size` as a number too, as the reference's model page has it. */
export type ImageProcessorConfig = Partial<
  Omit<ImageProcessorOptions, 'max_image_size'> & {
    max_image_size: number | { longest_edge: number };
    image_processor_type: string;
  }
>;

const DEFAULTS: ImageProcessorOptions = {
  do_convert_rgb: true,
  do_resize: true,
  size: { longest_edge: 4 * 364 },
  resample: RESAMPLING.lanczos,
  do_image_splitting: true,
  max_image_size: { longest_edge: 364 },
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  image_mean: [0.5, 0.5, 0.5],
  image_std: [0.5, 0.5, 0.5],
  do_pad: true,
  do_upscale: true,
};

const TYPES = ['SmolVLMImageProcessor', 'Idefics3ImageProcessor'];

/** Fills in defaults (null counts as absent) and checks every value. Throws ConfigError, naming the field. */
export function imageProcessorOptions(
  config: ImageProcessorConfig,
  base: ImageProcessorOptions = DEFAULTS,
): ImageProcessorOptions {
  const type = config.image_processor_type;
  if (type !== undefined && !TYPES.includes(type)) {
    throw invalid('image_processor_type', TYPES.join(' or '), type);
  }
  const options = { ...base } as Record<string, unknown>;
  for (const name of Object.keys(DEFAULTS)) {
    const value = (config as Record<string, unknown>)[name];
    if (value !== undefined && value !== null) options[name] = value;
  }
  if (typeof options.max_image_size === 'number')
    options.max_image_size = { longest_edge: options.max_image_size };
  for (const [name, fallback] of Object.entries(DEFAULTS)) {
    if (typeof fallback === 'boolean' && typeof options[name] !== 'boolean') {
      throw invalid(name, 'true or false', options[name]);
    }
  }
  const checked = options as unknown as ImageProcessorOptions;
  resamplingName(checked.resample);
  const size = Object(checked.size) as object;
  const edges = Object.values(size);
  const known = 'longest_edge' in size || ('height' in size && 'width' in size);
  if (!known || !edges.every(isEdge))
    throw invalid('size', '{longest_edge} or {height, width}', checked.size);
  if (!isEdge(checked.max_image_size.longest_edge)) {
    throw invalid('max_image_size', '{longest_edge: pixels} or pixels', checked.max_image_size);
  }
  if (!Number.isFinite(checked.rescale_factor))
    throw invalid('rescale_factor', 'a number', checked.rescale_factor);
  for (const name of ['image_mean', 'image_std'] as const) {
    const values = [checked[name]].flat();
    if (!values.every(Number.isFinite)) throw invalid(name, 'a number or a list of numbers', checked[name]);
  }
  return checked;
}

function isEdge(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 65536;
}

function invalid(name: string, expected: string, got: unknown): ConfigError {
  return new ConfigError({
    what: 'invalid option of the image processor',
    where: `preprocessor_config.json: ${name}`,
    expected,
    got: JSON.stringify(got),
  });
}
