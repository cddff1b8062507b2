/** Video files through the `ffmpeg` and `ffprobe` of the machine: Node, Deno, Bun. */
import { checkSignal, ImageError } from '../../errors.js';
import { DEFAULT_MAX_PIXELS } from '../decode.js';
import type { Planes } from '../fast/planes.js';
import type { VideoDecoder, VideoFile } from './decoder.js';
import { type FfmpegOptions, programText, runProgram } from './ffmpeg-process.js';
import type { VideoMetadata } from './metadata.js';
import { nodeFiles } from './node.js';
import { readPpmStream } from './ppm.js';
import type { VideoSource } from './source.js';

/** Formats that ffmpeg may open: files that hold their pictures. Playlists, which name other files, are none of them. */
const DEMUXERS = 'mov,matroska,avi,ogg,mpegts,mpeg,flv,asf,gif,mjpeg,m4v,ivf,apng';
/** What probing may say: some 30 bytes for every packet, so many hours of video. */
const MAX_PROBE_TEXT = 1 << 26;
/** Starting ffmpeg anew for one frame costs about as much as decoding this many. */
const SEEK_COST = 40;
/** More indices than this are picked from all frames, not by ffmpeg's filter, whose expression would grow too long. */
const MAX_SELECTED = 400;

/** A decoder that runs ffmpeg when a video is opened, not before. */
export function ffmpegDecoder(options: FfmpegOptions = {}): VideoDecoder {
  return {
    name: 'ffmpeg',
    async open(file, { maxPixels = DEFAULT_MAX_PIXELS, signal, where = 'video' } = {}) {
      checkSignal(signal);
      const { path, remove } = await onDisk(file);
      try {
        return await openPath(path, remove, options, maxPixels, signal, where);
      } catch (error) {
        await remove();
        throw error;
      }
    },
  };
}

/** Bytes go to a temporary file: many videos have their index at the end, where a pipe cannot go. */
async function onDisk(file: VideoFile): Promise<{ path: string; remove: () => Promise<void> }> {
  if (typeof file === 'string') return { path: file, remove: async () => {} };
  const { mkdtemp, writeFile, rm } = await nodeFiles();
  const base = process.env.TMPDIR ?? process.env.TEMP ?? '/tmp';
  const folder = await mkdtemp(`${base}/smolvlm-video-`);
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const bytes = file instanceof Uint8Array ? file : new Uint8Array(await file.arrayBuffer());
    await writeFile(`${folder}/video`, bytes);
  } catch (error) {
    await remove();
    throw error;
  }
  return { path: `${folder}/video`, remove };
}

interface Probe {
  metadata: VideoMetadata;
  /** Seconds of every frame, in the order in which they are shown; as the container has them. */
  stamps: number[];
  /** From where ffmpeg counts when it seeks: where the file starts, its sound included. */
  start: number;
  /** Whether the container has an index, so that seeking lands where it should. */
  indexed: boolean;
  /** Whether each frame is one that decoding may start from. */
  keys: boolean[];
}

async function openPath(
  path: string,
  remove: () => Promise<void>,
  options: FfmpegOptions,
  maxPixels: number,
  signal: AbortSignal | undefined,
  where: string,
): Promise<VideoSource> {
  const input = ['-protocol_whitelist', 'file', '-format_whitelist', DEMUXERS, '-i', `file:${path}`];
  const { metadata, stamps, start, indexed, keys } = await probe(input, options, signal, where);
  const { width, height } = metadata;
  if ((width ?? 0) * (height ?? 0) > maxPixels) {
    throw new ImageError({
      what: 'video: too many pixels',
      where,
      expected: `at most ${maxPixels} pixels a frame`,
      got: `${width}×${height}`,
    });
  }
  const decode = (before: string[], after: string[], abort: AbortSignal | undefined) => {
    const args = [
      ...['-v', 'error', '-nostdin', '-threads', '2', ...before, ...input, '-map', '0:v:0', ...after],
      ...['-sws_flags', 'bicubic+accurate_rnd+full_chroma_int+bitexact'],
      ...['-f', 'image2pipe', '-c:v', 'ppm', '-pix_fmt', 'rgb24', 'pipe:1'],
    ];
    return readPpmStream(runProgram('ffmpeg', args, options, where, abort), maxPixels, where, abort);
  };
  return {
    metadata,
    times: stamps.map((stamp) => round(stamp - stamps[0])),
    async *frames(indices, abort = signal) {
      let count = 0;
      const produced =
        indexed && seekCost(indices, keys) < indices[indices.length - 1]
          ? soughtFrames(indices, stamps, start, decode, abort)
          : selectedFrames(indices, decode, abort);
      for await (const frame of produced) {
        yield frame;
        count++;
      }
      if (count === indices.length) return;
      throw new ImageError({
        what: 'video has fewer frames than its container says',
        where: `${where}, frame ${indices[count]}`,
        expected: `${stamps.length} frames`,
        got: `${count} of the ${indices.length} wanted`,
      });
    },
    close: remove,
  };
}

type Decode = (before: string[], after: string[], signal: AbortSignal | undefined) => AsyncIterable<Planes>;

/** Frames decoded when each one is reached from the nearest place before it that decoding may start from. */
function seekCost(indices: readonly number[], keys: readonly boolean[]): number {
  let cost = 0;
  for (const index of indices) {
    let key = index;
    while (key > 0 && !keys[key]) key--;
    cost += index - key + SEEK_COST;
  }
  return cost;
}

/** One run for each frame: for few frames far apart. */
async function* soughtFrames(
  indices: readonly number[],
  stamps: readonly number[],
  start: number,
  decode: Decode,
  signal: AbortSignal | undefined,
): AsyncGenerator<Planes> {
  for (const index of indices) {
    // The first frame not before the middle of the gap is the one.
    const time = index === 0 ? 0 : Math.max(0, (stamps[index - 1] + stamps[index]) / 2 - start);
    yield* decode(['-ss', time.toFixed(6)], ['-frames:v', '1'], signal);
  }
}

/** New times, evenly spaced, so that ffmpeg neither repeats nor drops a frame; its option for that has two names. */
const EVEN_TIMES = 'settb=1/1000,setpts=N*40';
const EVEN_RATE = ['-r', '25'];

/** One run through the file up to the last wanted frame; only wanted ones are converted and passed on. */
async function* selectedFrames(
  indices: readonly number[],
  decode: Decode,
  signal: AbortSignal | undefined,
): AsyncGenerator<Planes> {
  const last = indices[indices.length - 1];
  if (indices.length <= MAX_SELECTED) {
    const filter = `select='${indices.map((index) => `eq(n,${index})`).join('+')}',${EVEN_TIMES}`;
    yield* decode([], ['-vf', filter, ...EVEN_RATE, '-frames:v', String(indices.length)], signal);
    return;
  }
  const wanted = new Set(indices);
  let n = 0;
  for await (const frame of decode(
    [],
    ['-vf', EVEN_TIMES, ...EVEN_RATE, '-frames:v', String(last + 1)],
    signal,
  )) {
    if (wanted.has(n++)) yield frame;
  }
}

async function probe(
  input: string[],
  options: FfmpegOptions,
  signal: AbortSignal | undefined,
  where: string,
): Promise<Probe> {
  const wanted =
    'stream=width,height,avg_frame_rate,duration:format=format_name,duration,start_time:packet=pts_time,flags';
  const args = [
    '-v',
    'error',
    '-select_streams',
    'v:0',
    '-show_entries',
    wanted,
    '-of',
    'json=compact=1',
    ...input,
  ];
  const text = await programText('ffprobe', args, options, where, signal, MAX_PROBE_TEXT);
  const { streams, format, packets } = JSON.parse(text) as {
    streams?: { width?: number; height?: number; avg_frame_rate?: string; duration?: string }[];
    format?: { format_name?: string; duration?: string; start_time?: string };
    packets?: { pts_time?: string; flags?: string }[];
  };
  const stream = streams?.[0];
  // A packet to be discarded is decoded for the others' sake and not shown; one without a time stands where it stands.
  const shown = (packets ?? [])
    .filter(({ flags }) => !flags?.includes('D'))
    .map(({ pts_time, flags }) => ({ stamp: Number(pts_time), key: flags?.startsWith('K') ?? false }));
  if (stream === undefined || shown.length === 0) {
    throw new ImageError({ what: 'no video in the file', where, expected: 'a video stream', got: 'none' });
  }
  const [numerator, denominator] = (stream.avg_frame_rate ?? '').split('/').map(Number);
  const timed = shown.every(({ stamp }) => Number.isFinite(stamp));
  let fps = numerator > 0 && denominator > 0 ? numerator / denominator : undefined;
  if (timed) shown.sort((a, b) => a.stamp - b.stamp);
  else for (const [i, packet] of shown.entries()) packet.stamp = i / (fps ?? 25);
  const first = shown[0].stamp;
  const last = shown[shown.length - 1].stamp;
  if (fps === undefined && last > first) fps = (shown.length - 1) / (last - first);
  fps ??= 25;
  const stated = Number(stream.duration ?? format?.duration);
  const duration = stated > 0 ? stated : last - first + 1 / fps;
  return {
    metadata: {
      total_num_frames: shown.length,
      fps,
      duration,
      width: stream.width ?? null,
      height: stream.height ?? null,
      video_backend: 'ffmpeg',
      frames_indices: shown.map((_, i) => i),
    },
    stamps: shown.map(({ stamp }) => stamp),
    start: Number.isFinite(Number(format?.start_time)) ? Number(format?.start_time) : first,
    indexed: /^(mov|matroska)/.test(format?.format_name ?? ''),
    keys: shown.map(({ key }) => key),
  };
}

/** Microseconds, as ffprobe says them. */
function round(seconds: number): number {
  return Math.round(seconds * 1e6) / 1e6;
}
