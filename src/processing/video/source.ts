/** A video as the processor reads it, and the sources that are in memory already. */
import { checkSignal, InputError } from '../../errors.js';
import type { DecodeOptions } from '../decode.js';
import {
  type ArrayInput,
  type ChannelFormat,
  checkArray,
  inferChannelFormat,
  isArrayInput,
  type Planes,
  planesOfArray,
  planesOfInterleaved,
} from '../fast/planes.js';
import { GifComposer, type GifFile, readGif } from '../gif.js';
import { type ImageInput, loadPixels } from '../image-input.js';
import { paced } from '../paced.js';
import type { VideoMetadata } from './metadata.js';

export interface VideoSource {
  readonly metadata: VideoMetadata;
  /** When each frame of the whole video is shown, in seconds after the first, where the container says so. */
  readonly times?: readonly number[];
  /**
   * The frames at ascending `indices`, one at a time, as they are asked for. Throws ImageError for frames that cannot be
   * decoded, and the signal's reason when it is aborted.
   */
  frames(indices: readonly number[], signal?: AbortSignal): AsyncIterable<Planes>;
  /** Frees what the source holds (temporary files, decoders). */
  close?(): Promise<void> | void;
}

/** A picture of a video given as a list of frames. */
export type FrameInput = ImageInput | ArrayInput;

export interface FrameOptions extends DecodeOptions {
  input_data_format?: ChannelFormat;
}

/** Frames given one by one: files (bytes, Blobs) or pixels. Each is decoded only when it is taken. */
export function framesSource(
  frames: readonly FrameInput[],
  options: FrameOptions,
  where: string,
): VideoSource {
  if (frames.length === 0) {
    throw new InputError({ what: 'video without frames', where, expected: 'at least one', got: '0' });
  }
  return {
    metadata: unknownRate(frames.length),
    async *frames(indices, signal) {
      for (const index of indices) {
        checkSignal(signal);
        yield await framePlanes(frames[index], { ...options, signal }, `${where}[${index}]`);
      }
    },
  };
}

async function framePlanes(frame: FrameInput, options: FrameOptions, where: string): Promise<Planes> {
  const { signal } = options;
  if (isArrayInput(frame)) return paced(planesOfArray(frame, options.input_data_format, where), signal);
  const { pixels } = await loadPixels(frame, where, options);
  const { data, height, width, channels } = pixels;
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data.buffer, data.byteOffset, data.length);
  return paced(planesOfInterleaved(bytes, height, width, channels), signal);
}

/** A whole video as an array of dims [T, C, H, W] or [T, H, W, C]. */
export function arraySource(
  array: ArrayInput,
  format: ChannelFormat | undefined,
  where: string,
): VideoSource {
  const data = checkArray(array, where);
  const [count, second, third, fourth] = array.dims;
  const order = format ?? inferChannelFormat(second, fourth, where);
  if (order === 'none') {
    throw new InputError({
      what: 'invalid option',
      where: 'input_data_format',
      expected: 'channels_first or channels_last for a video of four dims',
      got: 'none',
    });
  }
  const size = second * third * fourth;
  const [height, width] = order === 'channels_first' ? [third, fourth] : [second, third];
  return {
    metadata: { ...unknownRate(count), height, width },
    async *frames(indices, signal) {
      for (const index of indices) {
        checkSignal(signal);
        const frame = data.subarray(index * size, (index + 1) * size);
        yield order === 'channels_first'
          ? { data: frame, channels: second, height, width }
          : await paced(planesOfInterleaved(frame, height, width, fourth), signal);
      }
    },
  };
}

function unknownRate(frames: number): VideoMetadata {
  const frames_indices = Array.from({ length: frames }, (_, i) => i);
  return { total_num_frames: frames, fps: null, duration: null, frames_indices };
}

/** An animated GIF. Its times are the container's, its rate their average. */
export function gifSource(bytes: Uint8Array, maxPixels: number): VideoSource {
  const file: GifFile = readGif(bytes, maxPixels);
  const { width, height, frames } = file;
  const times: number[] = [];
  let duration = 0;
  for (const { delay } of frames) {
    times.push(duration);
    // Delays are whole hundredths; sums of fractions would drift.
    duration = Math.round((duration + delay) * 100) / 100;
  }
  return {
    metadata: {
      total_num_frames: frames.length,
      fps: frames.length / duration,
      duration,
      width,
      height,
      video_backend: 'gif',
      frames_indices: times.map((_, i) => i),
    },
    times,
    async *frames(indices, signal) {
      const composer = new GifComposer(file);
      const wanted = [...new Set(indices)].filter((index) => index < frames.length);
      for (const index of wanted) {
        yield await paced(
          (function* () {
            return yield* planesOfInterleaved(yield* composer.frame(index), height, width, 3);
          })(),
          signal,
        );
      }
    },
  };
}
