/**
 * Video files through a browser's WebCodecs. Reading mp4 and webm containers is left to the package mediabunny, which the
 * caller passes in, so that nobody who needs no videos loads it.
 */
import { ConfigError, checkSignal, ImageError } from '../../errors.js';
import { DEFAULT_MAX_PIXELS } from '../decode.js';
import { type Planes, planesOfInterleaved } from '../fast/planes.js';
import { paced } from '../paced.js';
import type { VideoDecoder, VideoFile } from './decoder.js';

/** A decoded frame, as mediabunny's `VideoSample` is one. */
interface Sample {
  readonly displayWidth: number;
  readonly displayHeight: number;
  draw(context: OffscreenCanvasRenderingContext2D, x: number, y: number): void;
  allocationSize(options: { format: 'RGBA' }): number;
  copyTo(target: Uint8Array, options: { format: 'RGBA' }): Promise<unknown>;
  close(): void;
}

interface Track {
  getDisplayWidth(): Promise<number>;
  getDisplayHeight(): Promise<number>;
  computeDuration(): Promise<number>;
  canDecode(): Promise<boolean>;
  getCodec(): Promise<string | null>;
}

interface Container<T extends Track> {
  getPrimaryVideoTrack(): Promise<T | null>;
  dispose(): void;
}

/** What is used of mediabunny 1.61: `webCodecsDecoder(await import('mediabunny'))`. */
export interface Mediabunny<S, T extends Track, F> {
  Input: new (options: { source: S; formats: F[] }) => Container<T>;
  BlobSource: new (blob: Blob) => S;
  ALL_FORMATS: F[];
  EncodedPacketSink: new (
    track: T,
  ) => {
    packets(
      start: undefined,
      end: undefined,
      options: { metadataOnly: true },
    ): AsyncIterable<{ timestamp: number }>;
  };
  VideoSampleSink: new (
    track: T,
  ) => { samplesAtTimestamps(times: Iterable<number>): AsyncIterable<Sample | null> };
}

/** A decoder over WebCodecs. Opening throws ConfigError where the platform has none or lacks the codec. */
export function webCodecsDecoder<S, T extends Track, F>(mediabunny: Mediabunny<S, T, F>): VideoDecoder {
  return {
    name: 'webcodecs',
    async open(file, { maxPixels = DEFAULT_MAX_PIXELS, signal, where = 'video' } = {}) {
      checkSignal(signal);
      const source = new mediabunny.BlobSource(asBlob(file, where));
      const input = new mediabunny.Input({ source, formats: mediabunny.ALL_FORMATS });
      try {
        const track = await videoTrack(input, where);
        const [width, height] = [await track.getDisplayWidth(), await track.getDisplayHeight()];
        if (width * height > maxPixels) {
          throw new ImageError({
            what: 'video: too many pixels',
            where,
            expected: `at most ${maxPixels} pixels a frame`,
            got: `${width}×${height}`,
          });
        }
        const stamps: number[] = [];
        const packets = new mediabunny.EncodedPacketSink(track);
        for await (const { timestamp } of packets.packets(undefined, undefined, { metadataOnly: true })) {
          checkSignal(signal);
          stamps.push(timestamp);
        }
        stamps.sort((a, b) => a - b);
        if (stamps.length === 0) throw damaged(where, 'no frame', undefined);
        const duration = (await track.computeDuration()) - stamps[0];
        return {
          metadata: {
            total_num_frames: stamps.length,
            fps: duration > 0 ? stamps.length / duration : 25,
            duration,
            width,
            height,
            video_backend: 'webcodecs',
            frames_indices: stamps.map((_, i) => i),
          },
          times: stamps.map((stamp) => Math.round((stamp - stamps[0]) * 1e6) / 1e6),
          async *frames(indices, abort = signal) {
            await checkCodec(track, where);
            const sink = new mediabunny.VideoSampleSink(track);
            // The sample at a time is the last one not after it; the middle of its span is safe from rounding.
            const times = indices.map((i) => (stamps[i] + (stamps[i + 1] ?? stamps[i] + 1e-3)) / 2);
            for await (const sample of sink.samplesAtTimestamps(times)) {
              if (sample === null) throw damaged(where, 'no frame at one of the times', undefined);
              try {
                checkSignal(abort);
                yield await samplePlanes(sample, abort);
              } finally {
                sample.close();
              }
            }
          },
          close: () => input.dispose(),
        };
      } catch (error) {
        input.dispose();
        throw error;
      }
    },
  };
}

async function videoTrack<T extends Track>(input: Container<T>, where: string): Promise<T> {
  let track: T | null;
  try {
    track = await input.getPrimaryVideoTrack();
  } catch (cause) {
    throw damaged(where, cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (track === null) throw damaged(where, 'no video track', undefined);
  return track;
}

function damaged(where: string, got: string, cause: unknown): ImageError {
  return new ImageError({
    what: 'video cannot be decoded',
    where,
    expected: 'an mp4 or webm file',
    got,
    cause,
  });
}

async function checkCodec(track: Track, where: string): Promise<void> {
  if (await track.canDecode()) return;
  const none = typeof (globalThis as { VideoDecoder?: unknown }).VideoDecoder === 'undefined';
  throw new ConfigError({
    what: 'no video decoder',
    where,
    expected: 'a platform with WebCodecs that decodes this video, or frames instead of a file',
    got: none ? 'no WebCodecs' : `the codec ${await track.getCodec()}`,
  });
}

function asBlob(file: VideoFile, where: string): Blob {
  if (typeof file !== 'string')
    return file instanceof Blob ? file : new Blob([file as Uint8Array<ArrayBuffer>]);
  throw new ConfigError({
    what: 'WebCodecs opens no paths',
    where,
    expected: 'bytes, a Blob or a URL',
    got: file.length > 80 ? `${file.slice(0, 80)}…` : file,
  });
}

/** Drawn on a canvas, which turns rotated videos upright; copied out where there is none. */
async function samplePlanes(sample: Sample, signal: AbortSignal | undefined): Promise<Planes> {
  const { displayWidth: width, displayHeight: height } = sample;
  let rgba: Uint8Array;
  if (typeof OffscreenCanvas === 'function') {
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
    sample.draw(context as OffscreenCanvasRenderingContext2D, 0, 0);
    const { data } = (context as OffscreenCanvasRenderingContext2D).getImageData(0, 0, width, height);
    rgba = new Uint8Array(data.buffer, data.byteOffset, data.length);
  } else {
    rgba = new Uint8Array(sample.allocationSize({ format: 'RGBA' }));
    await sample.copyTo(rgba, { format: 'RGBA' });
  }
  const planes = await paced(planesOfInterleaved(rgba, height, width, 4), signal);
  return { ...planes, channels: 3, data: planes.data.subarray(0, 3 * height * width) };
}
