/** What decodes video files, and which decoder a platform has. */
import { ConfigError } from '../../errors.js';
import { ffmpegDecoder } from './ffmpeg.js';
import { hasNode } from './node.js';
import type { VideoSource } from './source.js';

/** A path (where there are files), or the file's content. */
export type VideoFile = string | Uint8Array | Blob;

export interface OpenOptions {
  /** Pixels (width × height) that a frame may have. */
  maxPixels?: number;
  signal?: AbortSignal;
  /** Names the video in errors. */
  where?: string;
}

export interface VideoDecoder {
  readonly name: string;
  /** Reads what the container says; frames are decoded when they are taken. Throws ImageError, ConfigError. */
  open(file: VideoFile, options?: OpenOptions): Promise<VideoSource>;
}

/** ffmpeg where there are processes. Throws ConfigError elsewhere, saying how to get a decoder. */
export function platformVideoDecoder(): VideoDecoder {
  if (hasNode()) return ffmpegDecoder();
  throw new ConfigError({
    what: 'no video decoder',
    where: 'video_decoder',
    expected: "webCodecsDecoder(await import('mediabunny')) in a browser, or frames instead of a file",
    got: 'none',
  });
}
