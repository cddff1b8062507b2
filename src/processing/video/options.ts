/** The video processor's options, in the reference's names and with its defaults. */
import { ConfigError } from '../../errors.js';
import { mergeOptions, type SharedConfig, type SharedOptions, type SizeInput } from '../fast/options.js';
import { RESAMPLING } from '../resample.js';

export interface VideoProcessorOptions extends SharedOptions {
  /** Frames' edges are made multiples of this one (the reference drops it). */
  size_divisor: number | undefined;
  do_sample_frames: boolean;
  /** At most this many frames. */
  num_frames: number | undefined;
  /** This many frames of every second. */
  fps: number | undefined;
  /** Seconds left out at both ends of a long video. */
  skip_secs: number;
  return_metadata: boolean;
  data_format: 'channels_first' | 'channels_last';
}

/** What video_preprocessor_config.json, or the older preprocessor_config.json, or a call may say. */
export type VideoProcessorConfig = SharedConfig &
  Partial<
    Pick<
      VideoProcessorOptions,
      | 'size_divisor'
      | 'do_sample_frames'
      | 'num_frames'
      | 'fps'
      | 'skip_secs'
      | 'return_metadata'
      | 'data_format'
    >
  > & { video_sampling?: { max_frames: number; fps: number; video_size: SizeInput } };

export const VIDEO_DEFAULTS: VideoProcessorOptions = {
  do_convert_rgb: true,
  do_resize: true,
  size: { longest_edge: 4 * 364 },
  default_to_square: true,
  size_divisor: undefined,
  resample: RESAMPLING.lanczos,
  do_center_crop: false,
  crop_size: undefined,
  max_image_size: { longest_edge: 364 },
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  image_mean: [0.5, 0.5, 0.5],
  image_std: [0.5, 0.5, 0.5],
  do_pad: true,
  do_sample_frames: false,
  num_frames: undefined,
  fps: undefined,
  skip_secs: 1,
  return_metadata: false,
  data_format: 'channels_first',
  device: undefined,
  do_upscale: true,
};

const OWNER = 'video processor';

/** Options from `config` over `base`. Throws ConfigError, naming the option. */
export function videoOptions(config: object, base = VIDEO_DEFAULTS): VideoProcessorOptions {
  const options = mergeOptions(config, base, OWNER);
  const invalid = (name: keyof VideoProcessorOptions, expected: string) =>
    new ConfigError({
      what: `invalid option of the ${OWNER}`,
      where: name,
      expected,
      got: JSON.stringify(options[name]),
    });
  for (const name of ['num_frames', 'size_divisor'] as const) {
    const value = options[name];
    if (value !== undefined && !(Number.isInteger(value) && value >= 1))
      throw invalid(name, 'a positive integer');
  }
  for (const name of ['fps', 'skip_secs'] as const) {
    const value = options[name];
    if (value !== undefined && !(Number.isFinite(value) && value >= 0))
      throw invalid(name, 'a number from 0');
  }
  if (options.data_format !== 'channels_first' && options.data_format !== 'channels_last') {
    throw invalid('data_format', 'channels_first or channels_last');
  }
  if (!options.do_upscale && !options.do_pad) throw invalid('do_pad', 'true, because do_upscale is false');
  return options;
}

/**
 * What a config file says: `video_sampling` of the checkpoints gives number, rate and size of the frames, but a `size`
 * beside it wins, as in the reference.
 */
export function optionsOfConfig({ video_sampling, ...config }: VideoProcessorConfig): VideoProcessorOptions {
  if (video_sampling === undefined) return videoOptions(config);
  const { max_frames, fps, video_size } = video_sampling;
  return videoOptions({ ...config, num_frames: max_frames, fps, size: config.size ?? video_size });
}
