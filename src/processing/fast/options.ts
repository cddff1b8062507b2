/** Options that the fast image processor and the video processor share, in the reference's names, checked. */
import { ConfigError } from '../../errors.js';
import { resizedSize, type Size } from '../image-size.js';
import { resamplingName } from '../resample.js';

/** What `get_size_dict` makes of a size. */
export type SizeDict =
  | { longest_edge: number; shortest_edge?: number }
  | { height: number; width: number }
  | { shortest_edge: number };

/** A number is a square or, with `default_to_square: false`, the shortest edge; two are height and width. */
export type SizeInput = SizeDict | number | readonly [number, number];

export interface SharedOptions {
  do_convert_rgb: boolean;
  do_resize: boolean;
  size: SizeDict;
  default_to_square: boolean;
  /** A `PIL.Image.Resampling` number; Lanczos means torch's antialiased bicubic here. */
  resample: number;
  do_center_crop: boolean;
  crop_size: Size | undefined;
  max_image_size: { longest_edge: number };
  do_rescale: boolean;
  rescale_factor: number;
  do_normalize: boolean;
  image_mean: number | number[];
  image_std: number | number[];
  do_pad: boolean;
  /** Pixels are always processed by the CPU: only `cpu` is accepted. */
  device: 'cpu' | undefined;
  /** `false`: nothing is enlarged before it is cut or padded (the reference enlarges). */
  do_upscale: boolean;
}

export type SharedConfig = Partial<
  Omit<SharedOptions, 'size' | 'crop_size' | 'max_image_size'> & {
    size: SizeInput;
    crop_size: SizeInput;
    max_image_size: number | { longest_edge: number };
  }
>;

/**
 * Options from `config` over `base`, with what `base` does not know left out; null counts as absent. `owner` names the
 * processor in errors. Throws ConfigError, naming the option.
 */
export function mergeOptions<T extends SharedOptions>(config: object, base: T, owner: string): T {
  const given = config as Record<string, unknown>;
  const merged = { ...base } as Record<string, unknown>;
  for (const name of Object.keys(base)) {
    if (given[name] !== undefined && given[name] !== null) merged[name] = given[name];
  }
  const invalid = (name: string, expected: string) =>
    new ConfigError({
      what: `invalid option of the ${owner}`,
      where: name,
      expected,
      got: JSON.stringify(merged[name]) ?? 'undefined',
    });
  for (const [name, value] of Object.entries(base)) {
    if (typeof value === 'boolean' && typeof merged[name] !== 'boolean') throw invalid(name, 'true or false');
  }
  const options = merged as unknown as T;
  resamplingName(options.resample);
  const size = sizeDict(options.size as SizeInput, options.default_to_square);
  if (size === undefined) {
    throw invalid('size', '{longest_edge}, {height, width}, {shortest_edge}, a number or two');
  }
  options.size = size;
  if (typeof options.max_image_size === 'number') {
    options.max_image_size = { longest_edge: options.max_image_size };
  }
  if (!isEdge(options.max_image_size?.longest_edge)) {
    throw invalid('max_image_size', '{longest_edge: pixels} or pixels');
  }
  if (options.crop_size !== undefined) {
    const crop = sizeDict(options.crop_size as SizeInput, true);
    if (crop === undefined || !('height' in crop))
      throw invalid('crop_size', '{height, width}, a number or two');
    options.crop_size = crop;
  } else if (options.do_center_crop) {
    throw invalid('crop_size', '{height, width}, because do_center_crop is true');
  }
  if (!Number.isFinite(options.rescale_factor) || options.rescale_factor === 0) {
    throw invalid('rescale_factor', 'a number other than 0');
  }
  for (const name of ['image_mean', 'image_std'] as const) {
    const values = [options[name]].flat();
    if (values.length === 0 || !values.every(Number.isFinite))
      throw invalid(name, 'a number or a list of numbers');
    if (name === 'image_std' && options.do_normalize && values.includes(0)) {
      throw invalid(name, 'deviations other than 0');
    }
  }
  if (options.device !== undefined && options.device !== 'cpu') throw invalid('device', '"cpu"');
  return options;
}

function sizeDict(size: SizeInput, square: boolean): SizeDict | undefined {
  if (Array.isArray(size)) size = { height: size[0], width: size[1] };
  if (typeof size === 'number') size = square ? { height: size, width: size } : { shortest_edge: size };
  if (typeof size !== 'object' || size === null) return undefined;
  const keys = Object.keys(size).sort().join();
  const known = ['height,width', 'longest_edge', 'longest_edge,shortest_edge', 'shortest_edge'];
  return known.includes(keys) && Object.values(size).every(isEdge) ? (size as SizeDict) : undefined;
}

function isEdge(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 65536;
}

/**
 * Where `do_resize` takes a picture: the longest edge wins if there is one, as in the reference's `resize`, which refuses
 * a shortest edge on its own; here that means what `default_to_square: false` promises.
 */
export function targetSize(
  image: Size,
  { size, do_upscale }: Pick<SharedOptions, 'size' | 'do_upscale'>,
): Size {
  if ('longest_edge' in size) {
    const longest = Math.max(image.height, image.width);
    if (!do_upscale && longest <= size.longest_edge) return { height: image.height, width: image.width };
    return resizedSize(image, size.longest_edge);
  }
  const target = 'height' in size ? { ...size } : shortestEdge(image, size.shortest_edge);
  if (do_upscale) return target;
  return { height: Math.min(target.height, image.height), width: Math.min(target.width, image.width) };
}

/** `image_transforms.get_resize_output_image_size` with a number and `default_to_square=False`. */
function shortestEdge({ height, width }: Size, edge: number): Size {
  if (width <= height) return { width: edge, height: Math.trunc((edge * height) / width) };
  return { height: edge, width: Math.trunc((edge * width) / height) };
}
