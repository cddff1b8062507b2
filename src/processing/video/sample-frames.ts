/** `SmolVLMVideoProcessor.sample_frames`. */
import { InputError } from '../../errors.js';
import type { VideoMetadata } from './metadata.js';

export interface SampleOptions {
  /** At most this many frames. */
  num_frames?: number;
  /** This many frames of every second. */
  fps?: number;
  /** Seconds left out at both ends of a video that is long enough; 1 by default. */
  skip_secs?: number;
}

/**
 * Ascending indices of the frames to take. The reference needs both `num_frames` and `fps` and a duration; here one of
 * the two is enough, and the duration may be counted from the frames. Throws InputError.
 */
export function sampleFrames(metadata: VideoMetadata, options: SampleOptions): number[] {
  const { total_num_frames: total } = metadata;
  const rate = metadata.fps;
  const { num_frames, fps, skip_secs = 1 } = options;
  if (rate === undefined || rate === null || rate === 0) {
    throw new InputError({
      what: 'sampling needs to know how fast the video is',
      where: 'video_metadata.fps',
      expected: 'video_metadata with fps, or do_sample_frames: false',
      got: String(rate),
    });
  }
  if (num_frames === undefined && fps === undefined) {
    throw new InputError({
      what: 'sampling needs to know how many frames to take',
      where: 'num_frames, fps',
      expected: 'one of them, or do_sample_frames: false',
      got: 'neither',
    });
  }
  for (const [name, value] of Object.entries({ num_frames, fps, skip_secs })) {
    if (value === undefined || (Number.isFinite(value) && value >= 0)) continue;
    throw new InputError({
      what: 'invalid option',
      where: name,
      expected: 'a number from 0',
      got: String(value),
    });
  }
  const duration = metadata.duration ?? total / rate;
  const estimated = fps === undefined ? Number.POSITIVE_INFINITY : roundHalfEven(fps * duration);
  const wanted = Math.max(1, Math.min(estimated, num_frames ?? Number.POSITIVE_INFINITY));

  let start = 0;
  let end = total - 1;
  const limit = (num_frames ?? Number.POSITIVE_INFINITY) * (fps ?? 1);
  if (skip_secs > 0 && duration - 2 * skip_secs > limit) {
    start = Math.max(0, Math.trunc(skip_secs * rate));
    end = Math.min(Math.trunc(total - skip_secs * rate), total - 1);
  }
  if (start >= end) {
    start = 0;
    end = total - 1;
  }
  return evenlySpaced(start, end, Math.trunc(wanted));
}

/** `np.unique(np.linspace(start, end, count, dtype=int))`. A count beyond the number of positions would only repeat them. */
function evenlySpaced(start: number, end: number, count: number): number[] {
  if (count > 4 * (end - start + 1)) return Array.from({ length: end - start + 1 }, (_, i) => start + i);
  const indices = new Set<number>();
  const step = count > 1 ? (end - start) / (count - 1) : 0;
  for (let i = 0; i < count; i++) indices.add(i > 0 && i === count - 1 ? end : Math.floor(i * step + start));
  return [...indices];
}

/** Python's `round`. */
function roundHalfEven(value: number): number {
  const down = Math.floor(value);
  const rest = value - down;
  if (rest === 0.5) return down % 2 === 0 ? down : down + 1;
  return rest > 0.5 ? down + 1 : down;
}
