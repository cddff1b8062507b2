/** `VideoMetadata` of the reference: what sampling and prompts know about a video. */
import { InputError } from '../../errors.js';

export interface VideoMetadata {
  total_num_frames: number;
  /** Frames per second, on average. */
  fps?: number | null;
  width?: number | null;
  height?: number | null;
  /** Seconds. */
  duration?: number | null;
  /** What read the frames: `ffmpeg`, `webcodecs`, `gif`; none for frames passed in. */
  video_backend?: string | null;
  /** Which of the video's frames are there, counted from 0. */
  frames_indices?: number[] | null;
  /** When each of them is shown, in seconds after the first frame, where the container says so. */
  frame_times?: number[] | null;
}

/**
 * Seconds of the frames that are there: the container's, else `frames_indices / fps`. Throws InputError where neither is
 * known.
 */
export function frameTimes(metadata: VideoMetadata): number[] {
  const { frame_times, frames_indices, fps } = metadata;
  if (frame_times) return [...frame_times];
  if (!fps || !frames_indices) {
    throw new InputError({
      what: 'times of the frames unknown',
      where: fps ? 'video_metadata.frames_indices' : 'video_metadata.fps',
      expected: 'fps and frames_indices',
      got: `fps ${fps ?? 'missing'}, frames_indices ${frames_indices ? 'given' : 'missing'}`,
    });
  }
  return frames_indices.map((index) => index / fps);
}

/** Throws InputError unless every given field has a sensible value. */
export function checkMetadata(metadata: VideoMetadata, where: string): VideoMetadata {
  const invalid = (name: keyof VideoMetadata, expected: string) =>
    new InputError({
      what: 'invalid video metadata',
      where: `${where}.${name}`,
      expected,
      got: JSON.stringify(metadata[name]) ?? 'undefined',
    });
  const total = metadata.total_num_frames;
  if (!Number.isInteger(total) || total < 1) throw invalid('total_num_frames', 'a positive integer');
  for (const name of ['fps', 'duration'] as const) {
    const value = metadata[name];
    if (value !== undefined && value !== null && !(Number.isFinite(value) && value >= 0)) {
      throw invalid(name, 'a number from 0');
    }
  }
  const indices = metadata.frames_indices;
  if (indices && !indices.every((index) => Number.isInteger(index) && index >= 0)) {
    throw invalid('frames_indices', 'integers from 0');
  }
  const times = metadata.frame_times;
  if (times && !times.every((time) => Number.isFinite(time) && time >= 0)) {
    throw invalid('frame_times', 'seconds from 0');
  }
  return metadata;
}
