/** Whatever a caller calls a video, as a source of frames. */

import { checkSignal, InputError } from '../../errors.js';
import { DEFAULT_MAX_PIXELS } from '../decode.js';
import { type ArrayInput, isArrayInput } from '../fast/planes.js';
import { detectFormat } from '../formats.js';
import { orAborted } from '../paced.js';
import { platformVideoDecoder, type VideoDecoder } from './decoder.js';
import { hasNode, nodeFiles } from './node.js';
import {
  arraySource,
  type FrameInput,
  type FrameOptions,
  framesSource,
  gifSource,
  type VideoSource,
} from './source.js';

/**
 * One video: an array of dims [T, C, H, W] or [T, H, W, C]; a list of frames (picture files as bytes or Blobs, pixels,
 * or paths); a GIF, mp4 or webm as bytes, Blob, data URL, http(s) URL or path; a folder of frames by path; an open source.
 */
export type VideoInput =
  | ArrayInput
  | FrameInput[]
  | string[]
  | Uint8Array
  | ArrayBuffer
  | Blob
  | string
  | VideoSource;

/** One video, several, or those of each sample of a batch. */
export type VideosInput = VideoInput | VideoInput[] | VideoInput[][];

export interface OpenVideoOptions extends FrameOptions {
  /** What decodes files; by default ffmpeg where there are processes. */
  video_decoder?: VideoDecoder;
  signal?: AbortSignal;
  /** Bytes that a video from a URL may have; 512 MiB by default. */
  maxVideoBytes?: number;
}

const PICTURES = ['JPEG', 'PNG'];
const PICTURE_NAME = /\.(jpe?g|png)$/i;
const DEFAULT_MAX_BYTES = 2 ** 29;

/** `make_batched_videos`: every nesting flattened to a list of videos; a list of pictures is one video. */
export async function flattenVideos(videos: VideosInput): Promise<VideoInput[]> {
  if (!Array.isArray(videos)) return [videos as VideoInput];
  if (videos.length === 0) {
    throw new InputError({
      what: 'no video',
      where: 'videos',
      expected: 'at least one',
      got: 'an empty list',
    });
  }
  const pictures = await Promise.all((videos as unknown[]).map(isPicture));
  if (pictures.every(Boolean)) return [videos as VideoInput];
  const mixed = pictures.findIndex(Boolean);
  if (mixed >= 0) {
    throw new InputError({
      what: 'pictures and videos mixed',
      where: `videos[${mixed}]`,
      expected: 'a list of pictures, or of videos',
      got: 'a picture among videos',
    });
  }
  const flat = await Promise.all((videos as VideosInput[]).map(flattenVideos));
  return flat.flat();
}

async function isPicture(item: unknown): Promise<boolean> {
  if (typeof item === 'string') return PICTURE_NAME.test(item) || /^data:image\/(?!gif)/i.test(item);
  if (item instanceof URL) return isPicture(item.href);
  if (isArrayInput(item)) return item.dims.length < 4;
  const start = await firstBytes(item);
  if (start !== undefined) return PICTURES.includes(detectFormat(start) ?? '');
  return typeof item === 'object' && item !== null && 'width' in item && 'height' in item && 'data' in item;
}

async function firstBytes(item: unknown): Promise<Uint8Array | undefined> {
  if (item instanceof Uint8Array) return item;
  if (item instanceof ArrayBuffer) return new Uint8Array(item);
  if (typeof Blob !== 'undefined' && item instanceof Blob) {
    return new Uint8Array(await item.slice(0, 16).arrayBuffer());
  }
  return undefined;
}

/** Throws InputError for things that are no video, ConfigError without a decoder, ImageError for damaged files. */
export async function openVideo(
  video: VideoInput,
  where: string,
  options: OpenVideoOptions,
): Promise<VideoSource> {
  checkSignal(options.signal);
  if (Array.isArray(video)) {
    const frames = await Promise.all(
      (video as (FrameInput | string | URL)[]).map(async (frame, i) =>
        typeof frame === 'string' || frame instanceof URL
          ? await readPath(String(frame), `${where}[${i}]`, options)
          : frame,
      ),
    );
    return framesSource(frames, options, where);
  }
  if (isArrayInput(video)) {
    if (video.dims.length === 4) return arraySource(video, options.input_data_format, where);
    return framesSource([video], options, where);
  }
  if (typeof video === 'string' || video instanceof URL) return openString(String(video), where, options);
  if (video instanceof ArrayBuffer) return openBytes(new Uint8Array(video), where, options);
  if (video instanceof Uint8Array) return openBytes(video, where, options);
  if (typeof Blob !== 'undefined' && video instanceof Blob) {
    const format = detectFormat((await firstBytes(video)) ?? new Uint8Array());
    if (format === 'GIF') return openBytes(new Uint8Array(await video.arrayBuffer()), where, options);
    return openFile(video, where, options);
  }
  if (typeof video === 'object' && video !== null && 'metadata' in video && 'frames' in video) return video;
  throw new InputError({
    what: 'not a video',
    where,
    expected: 'an array of four dims, a list of frames, bytes, a Blob, a path, a URL or a VideoSource',
    got: video === null ? 'null' : typeof video,
  });
}

function openBytes(
  bytes: Uint8Array,
  where: string,
  options: OpenVideoOptions,
): Promise<VideoSource> | VideoSource {
  if (detectFormat(bytes) === 'GIF') return gifSource(bytes, options.maxPixels ?? DEFAULT_MAX_PIXELS);
  return openFile(bytes, where, options);
}

function openFile(
  file: string | Uint8Array | Blob,
  where: string,
  options: OpenVideoOptions,
): Promise<VideoSource> {
  const decoder = options.video_decoder ?? platformVideoDecoder();
  return decoder.open(file, { maxPixels: options.maxPixels, signal: options.signal, where });
}

async function openString(text: string, where: string, options: OpenVideoOptions): Promise<VideoSource> {
  if (/^(https?|data):/i.test(text)) return openBytes(await fetchBytes(text, where, options), where, options);
  if (!hasNode()) {
    throw new InputError({
      what: 'no file system',
      where,
      expected: 'bytes, a Blob or a URL',
      got: shorten(text),
    });
  }
  const { stat, readdir, open } = await nodeFiles();
  const path = localPath(text);
  let folder: boolean;
  try {
    folder = (await stat(path)).isDirectory();
  } catch (cause) {
    throw notFound(path, where, cause);
  }
  if (folder) {
    const names = (await readdir(path)).filter((name) => PICTURE_NAME.test(name)).sort(byNumber);
    if (names.length === 0) {
      throw new InputError({
        what: 'folder without frames',
        where,
        expected: 'JPEG or PNG files',
        got: path,
      });
    }
    return folderSource(path, names, where, options);
  }
  const handle = await open(path);
  try {
    const start = new Uint8Array(16);
    await handle.read(start, 0, 16, 0);
    if (detectFormat(start) === 'GIF') {
      const bytes = await handle.readFile();
      checkSignal(options.signal);
      return openBytes(new Uint8Array(bytes), where, options);
    }
  } finally {
    await handle.close();
  }
  return openFile(path, where, options);
}

/** Frames of a folder are read when they are taken, one at a time. */
async function folderSource(
  path: string,
  names: string[],
  where: string,
  options: OpenVideoOptions,
): Promise<VideoSource> {
  const { readFile } = await nodeFiles();
  const { metadata } = framesSource(names as never[], options, where);
  return {
    metadata,
    async *frames(indices, signal) {
      for (const index of indices) {
        checkSignal(signal);
        const bytes = new Uint8Array(await orAborted(readFile(`${path}/${names[index]}`), signal));
        yield* framesSource([bytes], options, `${where}/${names[index]}`).frames([0], signal);
      }
    },
  };
}

/** "frame2" before "frame10". */
function byNumber(a: string, b: string): number {
  const [left, right] = [a, b].map((name) => name.split(/(\d+)/));
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = i % 2 === 1 ? Number(left[i]) - Number(right[i]) : 0;
    if (difference !== 0) return difference;
    if (left[i] !== right[i]) return left[i] < right[i] ? -1 : 1;
  }
  return left.length - right.length;
}

async function readPath(path: string, where: string, options: OpenVideoOptions): Promise<Uint8Array> {
  if (/^(https?|data):/i.test(path)) return fetchBytes(path, where, options);
  const { readFile } = await nodeFiles();
  try {
    return new Uint8Array(await orAborted(readFile(localPath(path)), options.signal));
  } catch (cause) {
    checkSignal(options.signal);
    throw notFound(path, where, cause);
  }
}

function localPath(text: string): string {
  return text.startsWith('file:') ? decodeURIComponent(new URL(text).pathname) : text;
}

function notFound(path: string, where: string, cause: unknown): InputError {
  const got = (cause as { code?: string }).code ?? String(cause);
  return new InputError({ what: 'file cannot be read', where, expected: path, got, cause });
}

async function fetchBytes(url: string, where: string, options: OpenVideoOptions): Promise<Uint8Array> {
  const limit = options.maxVideoBytes ?? DEFAULT_MAX_BYTES;
  const tooLarge = (got: number) =>
    new InputError({ what: 'video too large', where, expected: `at most ${limit} bytes`, got: String(got) });
  let response: Response;
  try {
    response = await fetch(url, { signal: options.signal });
  } catch (cause) {
    checkSignal(options.signal);
    const got = cause instanceof Error ? cause.message : String(cause);
    throw new InputError({ what: 'URL cannot be read', where, expected: shorten(url), got, cause });
  }
  if (!response.ok || response.body === null) {
    throw new InputError({
      what: 'URL cannot be read',
      where,
      expected: shorten(url),
      got: `status ${response.status}`,
    });
  }
  const stated = Number(response.headers.get('content-length') ?? 0);
  if (stated > limit) throw tooLarge(stated);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  const reader = response.body.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      length += part.value.length;
      if (length > limit) throw tooLarge(length);
      parts.push(part.value as Uint8Array<ArrayBuffer>);
    }
  } catch (cause) {
    await reader.cancel().catch(() => undefined);
    checkSignal(options.signal);
    if (cause instanceof InputError) throw cause;
    const got = cause instanceof Error ? cause.message : String(cause);
    throw new InputError({ what: 'URL cannot be read', where, expected: shorten(url), got, cause });
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

function shorten(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
