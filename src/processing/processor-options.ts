/** The options of a processor's call, sorted by what takes them (`ProcessorMixin._merge_kwargs`). */
import { InputError } from '../errors.js';
import type { ArrayInput } from './fast/planes.js';
import type { ImageInput } from './image-input.js';
import type { PreprocessOptions } from './image-processor.js';
import type { MediaOptions } from './message-media.js';
import type { PaddingOptions, TextSequence } from './text-batch.js';
import type { VideosInput } from './video/open.js';
import type { VideoPreprocessOptions } from './video/video-processor.js';

/** A picture: a file, pixels, an array with dims [C, H, W], [H, W, C] or [H, W], or where one is: path, URL, base64. */
export type ImageSource = ImageInput | ArrayInput | string | URL;
/** One picture, the pictures of one text, or those of each text of a batch. An array of four dims is a list of pictures. */
export type ImageSources = ImageSource | ImageSource[] | ImageSource[][];

/** Options for pictures; those that only the fast image processor knows are refused by the other. */
export interface ImageOptions extends PreprocessOptions {
  /** `false` leaves `rows` and `cols` out of the result. Prompts have their rows and columns either way. */
  return_row_col_info?: boolean;
  /** Order of the result's dims; the fast image processor has channels first only. */
  data_format?: 'channels_first' | 'channels_last' | null;
  do_center_crop?: boolean;
  crop_size?: number | { height: number; width: number };
  default_to_square?: boolean;
  device?: 'cpu';
  disable_grouping?: boolean;
}

export interface CommonOptions {
  /**
   * Results are always `{ data, dims }`. The reference's names of frameworks (`pt`, `np`, `tf`, `jax`, `mlx`) are accepted
   * and mean that.
   */
  return_tensors?: 'pt' | 'np' | 'tf' | 'jax' | 'mlx' | null;
}

/** Options of a call, flat or by kind. Flat ones go to whatever knows them; the same one in both forms is an error. */
export interface CallOptions
  extends PaddingOptions,
    Omit<VideoPreprocessOptions, keyof ImageOptions>,
    ImageOptions,
    CommonOptions,
    MediaOptions {
  text_kwargs?: PaddingOptions;
  images_kwargs?: ImageOptions;
  videos_kwargs?: VideoPreprocessOptions;
  common_kwargs?: CommonOptions;
}

export interface ProcessOptions extends CallOptions {
  /** A text, several, or with `is_split_into_words` lists of words. */
  text?: string | readonly TextSequence[];
  images?: ImageSources;
  videos?: VideosInput;
  /** Always refused: SmolVLM has no ears. */
  audio?: undefined;
}

export interface SortedOptions {
  text: PaddingOptions;
  images: ImageOptions;
  videos: VideoPreprocessOptions;
  media: MediaOptions;
}

const words = (text: string) => new Set(text.trim().split(/\s+/));

const NAMES = {
  text: words(`add_special_tokens padding padding_side truncation max_length stride is_split_into_words
    pad_to_multiple_of return_attention_mask return_token_type_ids return_special_tokens_mask return_length verbose`),
  images:
    words(`do_convert_rgb do_resize size resample do_image_splitting max_image_size do_rescale rescale_factor
    do_normalize image_mean image_std do_pad return_row_col_info data_format input_data_format do_center_crop crop_size
    default_to_square device disable_grouping do_upscale maxPixels decoder alpha`),
  videos:
    words(`do_convert_rgb do_resize size resample max_image_size do_rescale rescale_factor do_normalize image_mean
    image_std do_pad data_format input_data_format do_center_crop crop_size default_to_square size_divisor device
    do_upscale video_metadata do_sample_frames num_frames fps skip_secs return_metadata maxPixels decoder
    video_decoder maxVideoBytes`),
  common: words('return_tensors'),
  media: words('load_image signal max_bytes feature_cache'),
};

type Kind = keyof typeof NAMES;

/** What the reference's signature has and this one cannot give, with the reason. */
const REFUSED: Record<string, string> = {
  audio: 'no audio: the model has none',
  audio_kwargs: 'no audio: the model has none',
  sampling_rate: 'no audio: the model has none',
  load_audio_from_video: 'no audio: the model has none',
  return_mm_token_type_ids: 'none, as the tokenizer of the reference refuses it',
  return_offsets_mapping: 'false: the tokenizer keeps no offsets',
  return_overflowing_tokens: 'false: what truncation cuts off is not returned',
  text_pair: 'one text, not a pair',
  text_target: 'texts, not targets',
  text_pair_target: 'texts, not targets',
  size_divisor: 'an option of videos (videos_kwargs)',
  pad_size: 'do_pad, which pads to the most images',
};

const FRAMEWORKS = ['pt', 'np', 'tf', 'jax', 'mlx', null, undefined];

/**
 * Every option to the kinds that know it. `undefined` counts as left out, and so does `null` where no default is null.
 * @throws InputError naming the option, for unknown ones and those given twice
 */
export function sortOptions(options: CallOptions): SortedOptions {
  const sorted = { text: {}, images: {}, videos: {}, common: {}, media: {} } as Record<Kind, object>;
  const put = (kind: Kind, name: string, value: unknown) => {
    (sorted[kind] as Record<string, unknown>)[name] = value;
  };
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const nested = /^(text|images|videos|common)_kwargs$/.exec(name)?.[1] as Kind | undefined;
    if (nested !== undefined) {
      for (const [inner, innerValue] of Object.entries((value ?? {}) as object)) {
        if (innerValue === undefined) continue;
        if (!NAMES[nested].has(inner)) refuse(inner, name, innerValue);
        if ((options as Record<string, unknown>)[inner] !== undefined) {
          throw new InputError({
            what: 'option given twice',
            where: inner,
            expected: `it in ${name} or on its own`,
            got: 'both',
          });
        }
        put(nested, inner, innerValue);
      }
      continue;
    }
    const kinds = (Object.keys(NAMES) as Kind[]).filter((kind) => NAMES[kind].has(name));
    if (kinds.length === 0) refuse(name, 'options', value);
    for (const kind of kinds) put(kind, name, value);
  }
  const { return_tensors } = sorted.common as CommonOptions;
  if (!FRAMEWORKS.includes(return_tensors)) {
    const got = String(return_tensors);
    throw new InputError({ what: 'invalid option', where: 'return_tensors', expected: 'pt or np', got });
  }
  return sorted as unknown as SortedOptions;
}

/** @throws InputError, always, except for switches that are off anyway */
function refuse(name: string, where: string, value: unknown): void {
  const known = Object.hasOwn(REFUSED, name);
  if (known && (value === false || value === null)) return;
  throw new InputError({
    what: /audio|sampling_rate/.test(name) ? 'audio is not supported' : `unsupported option ${name}`,
    where: where === 'options' ? name : `${where}.${name}`,
    expected: known
      ? REFUSED[name]
      : 'an option of the processor, the tokenizer or the image or video processor',
    got: typeof value === 'object' ? Object.prototype.toString.call(value).slice(8, -1) : String(value),
  });
}

/** What the image processors may be made with: the options that are not about one call's pictures. */
export const IMAGE_PROCESSOR_OPTIONS: ReadonlySet<string> = new Set(
  [...NAMES.images].filter(
    (name) => !['data_format', 'input_data_format', 'maxPixels', 'decoder', 'alpha'].includes(name),
  ),
);

const ONLY_FAST = ['do_center_crop', 'crop_size', 'default_to_square', 'device', 'disable_grouping'];

/** @throws InputError for options that the slow image processor does not know, as its `preprocess` does */
export function checkSlowImageOptions(options: object): void {
  const odd = ONLY_FAST.find((name) => (options as Record<string, unknown>)[name] !== undefined);
  if (odd !== undefined) {
    const expected = 'SmolVLMImageProcessorFast (use_fast: true)';
    throw new InputError({
      what: `unsupported option ${odd}`,
      where: odd,
      expected,
      got: 'SmolVLMImageProcessor',
    });
  }
}
