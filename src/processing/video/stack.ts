/** Videos of any length and size as one tensor, and the mask that says what is padding. */
import { InputError, MemoryError } from '../../errors.js';
import { channelsLastTensor } from '../fast/planes.js';
import { byRows, type Steps } from '../paced.js';
import type { VideoMetadata } from './metadata.js';
import type { VideoProcessorOptions } from './options.js';

/** float32 [frames, channels, height, width], normalised. */
export interface DecodedVideo {
  data: Float32Array;
  frames: number;
  channels: number;
  height: number;
  width: number;
  metadata: VideoMetadata;
}

type Dims5 = [number, number, number, number, number];

export interface VideoFeatures {
  /** float32 [videos, frames, channels, height, width], or channels last; padding is 0. */
  pixel_values: { data: Float32Array; dims: Dims5 };
  /** 0 or 1, [videos, frames, height, width]; absent without `do_pad`. */
  pixel_attention_mask: { data: Uint8Array; dims: [number, number, number, number] } | undefined;
  /** With `return_metadata`: one for each video, `frames_indices` being the frames that were taken. */
  video_metadata?: VideoMetadata[];
}

const MAX_OUTPUT_BYTES = 2 ** 32;

/** `pad` and `torch.stack`. Throws InputError where videos differ and may not be padded. */
export function* stackVideos(videos: DecodedVideo[], options: VideoProcessorOptions): Steps<VideoFeatures> {
  const channels = videos[0].channels;
  const most = (name: 'frames' | 'height' | 'width') => Math.max(...videos.map((video) => video[name]));
  let [frames, height, width] = [most('frames'), most('height'), most('width')];
  for (const [i, video] of videos.entries()) {
    const same = video.frames === frames && video.height === height && video.width === width;
    if ((options.do_pad || same) && video.channels === channels) continue;
    throw new InputError({
      what: 'videos differ in shape',
      where: `videos[${i}]${video.channels === channels ? ', do_pad' : ''}`,
      expected: `${frames}×${channels}×${height}×${width}, or do_pad: true`,
      got: `${video.frames}×${video.channels}×${video.height}×${video.width}`,
    });
  }
  if (options.do_pad) {
    const divisor = options.size_divisor ?? 1;
    const square = options.do_upscale || options.do_center_crop ? 1 : options.max_image_size.longest_edge;
    height = Math.ceil(Math.max(height, square) / divisor) * divisor;
    width = Math.ceil(Math.max(width, square) / divisor) * divisor;
  }
  const size = frames * channels * height * width;
  if (videos.length * size * 4 > MAX_OUTPUT_BYTES) {
    throw new MemoryError({
      what: 'videos too large',
      where: 'videos',
      expected: `at most ${MAX_OUTPUT_BYTES} bytes of pixel_values`,
      got: `${videos.length * size * 4} when padded to ${frames} frames of ${height}×${width}`,
    });
  }
  const alone = videos.length === 1 && videos[0].data.length === size;
  const data = alone ? videos[0].data : new Float32Array(videos.length * size);
  const mask = options.do_pad ? new Uint8Array(videos.length * frames * height * width) : undefined;
  for (const [v, video] of videos.entries()) {
    for (let t = 0; t < video.frames; t++) {
      const first = v * frames + t;
      yield* byRows(video.height, channels * video.width, (begin, end) => {
        for (let y = begin; y < end; y++) {
          const row = (first * height + y) * width;
          mask?.fill(1, row, row + video.width);
          if (alone) continue;
          for (let c = 0; c < channels; c++) {
            const from = ((t * channels + c) * video.height + y) * video.width;
            const to = ((first * channels + c) * height + y) * width;
            data.set(video.data.subarray(from, from + video.width), to);
          }
        }
      });
    }
  }
  const dims: Dims5 = [videos.length, frames, channels, height, width];
  return {
    pixel_values:
      options.data_format === 'channels_last' ? yield* channelsLastTensor(data, dims) : { data, dims },
    pixel_attention_mask: mask && { data: mask, dims: [videos.length, frames, height, width] },
  };
}
