/** `SmolVLMVideoProcessor` of transformers 4.56.2, as it computes with torchvision 0.29. */
import { checkSignal, InputError, MemoryError } from '../../errors.js';
import { centerCrop } from '../fast/crop.js';
import { Normalizer } from '../fast/normalize.js';
import { type SizeDict, targetSize } from '../fast/options.js';
import { type Planes, takeChannels } from '../fast/planes.js';
import { resizeSteps } from '../fast/resize.js';
import { MAX_IMAGE_SIZE } from '../image-size.js';
import { paced, type Steps } from '../paced.js';
import { blendOnWhite, isTransparent } from './alpha.js';
import { checkMetadata, type VideoMetadata } from './metadata.js';
import { flattenVideos, type OpenVideoOptions, openVideo, type VideosInput } from './open.js';
import {
  optionsOfConfig,
  type VideoProcessorConfig,
  type VideoProcessorOptions,
  videoOptions,
} from './options.js';
import { sampleFrames } from './sample-frames.js';
import type { VideoSource } from './source.js';
import { type DecodedVideo, stackVideos, type VideoFeatures } from './stack.js';

export interface VideoPreprocessOptions
  extends Omit<VideoProcessorConfig, 'do_sample_frames'>,
    OpenVideoOptions {
  /** `auto` samples videos whose rate is known and takes all frames of the others. */
  do_sample_frames?: boolean | 'auto';
  /** What is known of videos that are passed in as frames: one for all of one, or one for each. */
  video_metadata?: VideoMetadata | VideoMetadata[] | VideoMetadata[][];
}

const MAX_OUTPUT_BYTES = 2 ** 32;

export interface SmolVLMVideoProcessor extends VideoProcessorOptions {}

// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the constructor assigns every option.
export class SmolVLMVideoProcessor {
  /** `config` is the content of video_preprocessor_config.json or preprocessor_config.json. Throws ConfigError. */
  constructor(config: VideoProcessorConfig = {}) {
    Object.assign(this, optionsOfConfig(config));
  }

  /**
   * Videos to float32 [videos, frames, channels, height, width] (`data_format: 'channels_last'`: channels at the end);
   * options given here override the processor's. Frames are decoded one at a time, only those that are sampled. Shorter
   * and smaller videos are padded with zeros, where the mask is 0 (the reference fails to stack them). Throws ConfigError,
   * InputError, ImageError, MemoryError, and the signal's reason when it is aborted.
   */
  async preprocess(videos: VideosInput, overrides: VideoPreprocessOptions = {}): Promise<VideoFeatures> {
    const { signal } = overrides;
    checkSignal(signal);
    const auto = overrides.do_sample_frames === 'auto';
    const options = videoOptions(
      auto ? { ...overrides, do_sample_frames: true } : overrides,
      this.#options(),
    );
    const list = await flattenVideos(videos);
    const given = metadataList(overrides.video_metadata, list.length);
    const decoded: DecodedVideo[] = [];
    let bytes = 0;
    for (const [i, video] of list.entries()) {
      const where = `videos[${i}]`;
      const source = await openVideo(video, where, overrides);
      try {
        const chosen = chooseFrames(source, given?.[i], options, auto, where);
        const result = await this.#decode(source, chosen, options, signal, where, bytes);
        bytes += result.data.byteLength;
        decoded.push(result);
      } finally {
        await source.close?.();
      }
    }
    const features = await paced(stackVideos(decoded, options), signal);
    if (!options.return_metadata) return features;
    return { ...features, video_metadata: decoded.map(({ metadata }) => metadata) };
  }

  /** `sample_frames`: ascending indices of the frames to take; options left out are the processor's. */
  sample_frames(
    metadata: VideoMetadata,
    options: { num_frames?: number; fps?: number; skip_secs?: number } = {},
  ): number[] {
    const { num_frames = this.num_frames, fps = this.fps, skip_secs = this.skip_secs } = options;
    return sampleFrames(checkMetadata(metadata, 'metadata'), { num_frames, fps, skip_secs });
  }

  async #decode(
    source: VideoSource,
    { indices, metadata }: Chosen,
    options: VideoProcessorOptions,
    signal: AbortSignal | undefined,
    where: string,
    bytesBefore: number,
  ): Promise<DecodedVideo> {
    const normalizer = new Normalizer(options);
    const takeRgb = await rgbReader(source, indices, options, signal);
    let out: DecodedVideo | undefined;
    let at = 0;
    for await (const frame of source.frames(indices, signal)) {
      const image = await paced(resizeFrame(frame, takeRgb, options), signal);
      const { height, width } = image;
      const channels = normalizer.channels(image.channels, where);
      if (out === undefined) {
        const bytes = bytesBefore + indices.length * channels * height * width * 4;
        if (bytes > MAX_OUTPUT_BYTES) {
          const got = `${bytes} for ${indices.length} frames of ${height}×${width}`;
          const expected = `at most ${MAX_OUTPUT_BYTES} bytes of pixel_values`;
          throw new MemoryError({ what: 'videos too large', where, expected, got });
        }
        const data = new Float32Array(indices.length * channels * height * width);
        out = { data, frames: indices.length, channels, height, width, metadata };
      } else if (height !== out.height || width !== out.width || channels !== out.channels) {
        throw new InputError({
          what: 'frames of one video differ in size',
          where: `${where}[${at}]`,
          expected: `${out.channels}×${out.height}×${out.width}, or do_resize: true`,
          got: `${channels}×${height}×${width}`,
        });
      }
      const plane = height * width;
      const window = { top: 0, left: 0, height, width };
      const place = at++ * channels * plane;
      await paced(normalizer.write(image, window, channels, out.data, place, width, plane), signal);
    }
    if (out === undefined || at !== indices.length) {
      const got = `${at} frames`;
      throw new InputError({ what: 'video lacks frames', where, expected: `${indices.length} frames`, got });
    }
    return out;
  }

  #options(): VideoProcessorOptions {
    const names = Object.keys(this) as (keyof VideoProcessorOptions)[];
    return Object.fromEntries(names.map((name) => [name, this[name]])) as unknown as VideoProcessorOptions;
  }
}

/** `make_batched_metadata`: flattened, one for each video. */
function metadataList(
  given: VideoPreprocessOptions['video_metadata'],
  videos: number,
): VideoMetadata[] | undefined {
  if (given === undefined) return undefined;
  const list = [given].flat(2) as VideoMetadata[];
  if (list.length === videos) return list.map((item, i) => checkMetadata(item, `video_metadata[${i}]`));
  throw new InputError({
    what: 'number of metadata and of videos differ',
    where: 'video_metadata',
    expected: `one for each of ${videos} videos`,
    got: String(list.length),
  });
}

/** Frames to take from a source, and what the result says of them. */
interface Chosen {
  indices: number[];
  metadata: VideoMetadata;
}

/** What a container says of a video wins over what is passed in. */
function chooseFrames(
  source: VideoSource,
  given: VideoMetadata | undefined,
  options: VideoProcessorOptions,
  auto: boolean,
  where: string,
): Chosen {
  const total = source.metadata.total_num_frames;
  const known = source.metadata.fps ? { ...given, ...source.metadata } : { ...source.metadata, ...given };
  if (!options.do_sample_frames || (auto && !known.fps)) {
    const indices = Array.from({ length: total }, (_, i) => i);
    // Frames passed in may already be a sample: only their metadata can say which.
    const chosen = source.metadata.fps ? undefined : given?.frames_indices;
    if (chosen && chosen.length !== total) {
      throw new InputError({
        what: 'number of frames and of their indices differ',
        where: `${where}: video_metadata.frames_indices`,
        expected: `${total}, one for each frame`,
        got: String(chosen.length),
      });
    }
    return { indices, metadata: withTimes({ ...known, frames_indices: chosen ?? indices }, source, indices) };
  }
  const indices = sampleFrames(known, options);
  const last = indices[indices.length - 1];
  if (last >= total) {
    throw new InputError({
      what: 'video has fewer frames than its metadata says',
      where: `${where}: video_metadata.total_num_frames`,
      expected: `at most ${total}`,
      got: String(known.total_num_frames),
    });
  }
  return { indices, metadata: withTimes({ ...known, frames_indices: indices }, source, indices) };
}

function withTimes(metadata: VideoMetadata, { times }: VideoSource, indices: number[]): VideoMetadata {
  return times === undefined ? metadata : { ...metadata, frame_times: indices.map((index) => times[index]) };
}

type TakeRgb = (frame: Planes) => Steps<Planes>;

// biome-ignore lint/correctness/useYield: one step.
function* asIs(frame: Planes): Steps<Planes> {
  return frame;
}

/**
 * `convert_to_rgb`: grey repeated, transparent pixels blended with white in float32, which has the whole video resized in
 * float32; an opaque alpha is dropped (the reference keeps it and then fails).
 */
async function rgbReader(
  source: VideoSource,
  indices: readonly number[],
  { do_convert_rgb }: VideoProcessorOptions,
  signal: AbortSignal | undefined,
): Promise<TakeRgb> {
  if (!do_convert_rgb) return asIs;
  let blend = false;
  // Only frames in memory have alpha, so that looking at them first costs no decoding of files.
  if (source.metadata.video_backend === undefined) {
    for await (const frame of source.frames(indices, signal)) {
      if (frame.channels !== 4) break;
      blend = await paced(isTransparent(frame), signal);
      if (blend) break;
    }
  }
  return function* (frame) {
    return blend && frame.channels === 4 ? yield* blendOnWhite(frame) : takeChannels(frame, 3);
  };
}

/** The reference limits the edge before it counts the other one; its image processor does so after. */
function belowLimit(size: SizeDict): SizeDict {
  return 'longest_edge' in size ? { longest_edge: Math.min(size.longest_edge, MAX_IMAGE_SIZE) } : size;
}

/** `resize`: to `size`, then squashed to the square that the model takes; cropping comes after, as in the base class. */
function* resizeFrame(frame: Planes, takeRgb: TakeRgb, options: VideoProcessorOptions): Steps<Planes> {
  let image = yield* takeRgb(frame);
  const resize = function* (height: number, width: number): Steps<void> {
    image = yield* resizeSteps(image, height, width, options.resample, 'v2');
  };
  if (options.do_resize) {
    const divisor = options.size_divisor ?? 1;
    const edge = Math.ceil(options.max_image_size.longest_edge / divisor) * divisor;
    const first = targetSize(image, { ...options, size: belowLimit(options.size) });
    yield* resize(first.height, first.width);
    if (options.do_upscale) {
      yield* resize(edge, edge);
    } else {
      // Never enlarged, its shape kept: what is missing to the square is padded.
      const scale = Math.min(1, edge / Math.max(image.height, image.width));
      const [height, width] = [image.height, image.width].map((side) =>
        Math.max(1, Math.round(side * scale)),
      );
      yield* resize(height, width);
    }
  }
  if (!options.do_center_crop || !options.crop_size) return image;
  return centerCrop(image, options.crop_size.height, options.crop_size.width);
}
