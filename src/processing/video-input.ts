/** How videos belong to texts: `make_batched_videos` flattens, the processor needs to know whose each one is. */
import { InputError } from '../errors.js';
import { isArrayInput } from './fast/planes.js';
import { detectFormat } from './formats.js';
import type { VideoInput, VideosInput } from './video/open.js';

/**
 * Per text, its videos: of a video or a list of them, one text's. A list of pictures is one video. Throws InputError for
 * mixtures.
 */
export function nestVideos(videos: VideosInput): VideoInput[][] {
  if (isVideo(videos)) return [[videos as VideoInput]];
  if (Array.isArray(videos) && videos.length > 0) {
    if (videos.every(isVideo)) return [videos as VideoInput[]];
    const nested = videos.every((list) => Array.isArray(list) && (list as unknown[]).every(isVideo));
    if (nested) return videos as VideoInput[][];
  }
  throw new InputError({
    what: 'no videos',
    where: 'videos',
    expected:
      'a video, a list of videos, or a list of lists; a video is a file, an array [T, …] or a list of frames',
    got: Array.isArray(videos) ? `a list of ${videos.length}` : typeof videos,
  });
}

function isVideo(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0 && value.every(isFrame);
  return (typeof value === 'string' || (typeof value === 'object' && value !== null)) && !isFrame(value);
}

function isFrame(value: unknown): boolean {
  if (typeof value === 'string') return /\.(jpe?g|png)$/i.test(value);
  if (value instanceof Uint8Array || value instanceof ArrayBuffer) {
    const format = detectFormat(value instanceof Uint8Array ? value : new Uint8Array(value));
    return format === 'JPEG' || format === 'PNG';
  }
  if (typeof Blob !== 'undefined' && value instanceof Blob) return /^image\/(jpeg|png)$/.test(value.type);
  if (isArrayInput(value)) return value.dims.length < 4;
  return typeof value === 'object' && value !== null && 'width' in value && 'data' in value;
}
