import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as mediabunny from 'mediabunny';
import { PNG } from 'pngjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SmolVLMError } from '../../src/errors.js';
import type { Planes } from '../../src/processing/fast/planes.js';
import { GifComposer, readGif } from '../../src/processing/gif.js';
import { runSync } from '../../src/processing/paced.js';
import { platformVideoDecoder, type VideoDecoder } from '../../src/processing/video/decoder.js';
import { ffmpegDecoder } from '../../src/processing/video/ffmpeg.js';
import { openVideo, type VideoInput } from '../../src/processing/video/open.js';
import { readPpmStream } from '../../src/processing/video/ppm.js';
import type { VideoSource } from '../../src/processing/video/source.js';
import { SmolVLMVideoProcessor } from '../../src/processing/video/video-processor.js';
import { webCodecsDecoder } from '../../src/processing/video/webcodecs.js';
import { formula, ROOT, sha256 } from './pictures.js';

const CLIPS = join(ROOT, 'test', 'fixtures', 'video');
const SMALL = { size: { longest_edge: 64 }, max_image_size: { longest_edge: 32 } };

function clip(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(CLIPS, name)));
}

async function take(source: VideoSource, indices: number[], signal?: AbortSignal): Promise<Planes[]> {
  const frames: Planes[] = [];
  for await (const frame of source.frames(indices, signal)) frames.push(frame);
  return frames;
}

async function refusal(work: Promise<unknown>): Promise<SmolVLMError> {
  try {
    await work;
  } catch (error) {
    assert.instance(error, SmolVLMError, String(error));
    return error as SmolVLMError;
  }
  throw new Error('nothing was thrown');
}

async function refused(work: Promise<unknown>, type: string, part: RegExp): Promise<void> {
  const error = await refusal(work);
  assert.is(error.name, type);
  assert.match(error.message, part);
}

// ---- GIF ------------------------------------------------------------------------------------------------------------

interface GifCase {
  file: string;
  size: [number, number];
  frames: string[];
  delays: number[];
}

const gifs = (JSON.parse(readFileSync(join(CLIPS, 'gif.json'), 'utf8')) as { cases: GifCase[] }).cases;

for (const { file, size, frames, delays } of gifs) {
  test(`GIF ${file}: ${frames.length} frames are Pillow's, 0 differing pixels, and so are their times`, async () => {
    const gif = readGif(clip(file), 1e6);
    assert.equal([gif.width, gif.height], size);
    assert.is(gif.frames.length, frames.length);
    const composer = new GifComposer(gif);
    const found = frames.map((_, i) => sha256(runSync(composer.frame(i))));
    assert.equal(found, frames);
    for (const [i, delay] of delays.entries())
      assert.is(gif.frames[i].delay, delay > 0 ? delay : 0.1, `frame ${i}`);
  });
}

test('GIF as a video: container times, average rate, only the wanted frames', async () => {
  const source = await openVideo(clip('plain.gif'), 'video', {});
  assert.equal(source.times, [0, 0.1, 0.15, 0.35, 0.39, 0.46]);
  const { total_num_frames, fps, duration, video_backend } = source.metadata;
  assert.equal([total_num_frames, duration, video_backend], [6, 1.46, 'gif']);
  assert.is(fps, 6 / 1.46);
  const all = await take(source, [0, 1, 2, 3, 4, 5]);
  const some = await take(source, [1, 4]);
  assert.equal(some, [all[1], all[4]]);
  const features = await new SmolVLMVideoProcessor(SMALL).preprocess(clip('plain.gif'), {
    do_sample_frames: true,
    num_frames: 3,
    fps: 5,
    return_metadata: true,
  });
  assert.equal(features.pixel_values.dims, [1, 3, 3, 32, 32]);
  assert.equal(features.video_metadata![0].frames_indices, [0, 2, 5]);
  assert.equal(features.video_metadata![0].frame_times, [0, 0.15, 0.46]);
});

test('damaged GIFs: typed errors or the frames before the damage, never a crash, for every byte cut off or flipped', async () => {
  const bytes = clip('disposal_mixed.gif');
  let refusals = 0;
  for (let length = 0; length < bytes.length; length += 7) {
    for (const damaged of [bytes.slice(0, length), bytes.map((v, i) => (i === length ? v ^ 0x55 : v))]) {
      try {
        const gif = readGif(damaged, 1e4);
        const composer = new GifComposer(gif);
        for (const i of gif.frames.keys()) {
          assert.is(runSync(composer.frame(i)).length, gif.width * gif.height * 3);
        }
      } catch (error) {
        assert.instance(error, SmolVLMError, `${length}: ${error}`);
        refusals++;
      }
    }
  }
  assert.ok(refusals > 100, `${refusals} refusals`);
  const huge = bytes.slice();
  huge.set([255, 255, 255, 255], 6);
  await refused(
    openVideo(huge, 'v', {}) as Promise<unknown>,
    'ImageError',
    /GIF: too many pixels.*65535×65535/,
  );
});

// ---- frames in folders and lists ------------------------------------------------------------------------------------

function pngOf(t: number): Uint8Array {
  const { data, width, height } = formula(['wave', 20, 24, 3]);
  const png = new PNG({ width, height, colorType: 2 });
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) png.data[i * 4 + c] = data[i * 3 + c] + 7 * t;
    png.data[i * 4 + 3] = 255;
  }
  return new Uint8Array(PNG.sync.write(png, { colorType: 2 }));
}

test('a folder of frames, a list of their paths, of their bytes, of Blobs and of pixels are one video, in natural order', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'smolvlm-frames-'));
  try {
    const names = Array.from({ length: 12 }, (_, t) => `frame${t}.png`);
    for (const [t, name] of names.entries()) writeFileSync(join(folder, name), pngOf(t));
    writeFileSync(join(folder, 'notes.txt'), 'no frame');
    const processor = new SmolVLMVideoProcessor(SMALL);
    const { data, width, height } = formula(['wave', 20, 24, 3]);
    const pixels = names.map((_, t) => ({
      data: Uint8Array.from(data, (v) => v + 7 * t),
      width,
      height,
      channels: 3,
    }));
    const expected = await processor.preprocess(pixels);
    assert.equal(expected.pixel_values.dims, [1, 12, 3, 32, 32]);
    const bytes = names.map((_, t) => pngOf(t));
    for (const video of [
      folder,
      new URL(`file://${folder}`),
      names.map((name) => join(folder, name)),
      bytes,
      bytes.map((file) => new Blob([file as Uint8Array<ArrayBuffer>])),
      bytes.map((file) => `data:image/png;base64,${Buffer.from(file).toString('base64')}`),
    ] as VideoInput[]) {
      const found = await processor.preprocess(video);
      assert.is(sha256(found.pixel_values.data), sha256(expected.pixel_values.data));
    }
    const sampled = await processor.preprocess(folder, {
      do_sample_frames: true,
      num_frames: 2,
      fps: 1,
      video_metadata: { total_num_frames: 12, fps: 4, duration: 3 },
    });
    const last = expected.pixel_values.data.slice(11 * 3 * 1024);
    assert.equal(sampled.pixel_values.data.slice(3 * 1024), last);
    mkdirSync(join(folder, 'empty'));
    await refused(
      processor.preprocess(join(folder, 'empty')),
      'InputError',
      /folder without frames.*JPEG or PNG/,
    );
    await refused(
      processor.preprocess(join(folder, 'none.mp4')),
      'InputError',
      /cannot be read.*none\.mp4, got ENOENT/,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('videos from URLs are read up to a limit', async () => {
  const gif = clip('plain.gif');
  const server = createServer((request, response) => {
    response.statusCode = request.url === '/clip.gif' ? 200 : 404;
    response.end(request.url === '/clip.gif' ? gif : undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const source = await openVideo(`${base}/clip.gif`, 'video', {});
    assert.is(source.metadata.total_num_frames, 6);
    const data = await openVideo(`data:image/gif;base64,${Buffer.from(gif).toString('base64')}`, 'video', {});
    assert.equal(await take(data, [3]), await take(source, [3]));
    await refused(
      openVideo(`${base}/none`, 'video', {}),
      'InputError',
      /URL cannot be read \(video\).*got status 404/,
    );
    const limited = openVideo(`${base}/clip.gif`, 'video', { maxVideoBytes: 1000 });
    await refused(limited, 'InputError', /video too large \(video\): expected at most 1000 bytes, got \d{4}/);
  } finally {
    server.close();
  }
});

// ---- ffmpeg ---------------------------------------------------------------------------------------------------------

function withFfmpeg(name: string, body: () => Promise<void>): void {
  try {
    execFileSync('ffmpeg', ['-version'], { stdio: 'ignore' });
    execFileSync('ffprobe', ['-version'], { stdio: 'ignore' });
  } catch {
    console.log(`SKIP ${name} (no ffmpeg and ffprobe on the PATH)`);
    test.skip(name, body);
    return;
  }
  test(name, body);
}

/** The clips' frame n has the level 20 + 4·n everywhere. */
function number({ data, height, width }: Planes): number {
  return Math.round((data[Math.floor((height * width) / 2)] - 20) / 4);
}

withFfmpeg(
  'ffmpeg, mp4 with reordered frames: every frame by its number, times and rate from the container',
  async () => {
    for (const video of [
      join(CLIPS, 'clip.mp4'),
      clip('clip.mp4'),
      new Blob([clip('clip.mp4') as Uint8Array<ArrayBuffer>]),
    ]) {
      const source = await openVideo(video, 'video', {});
      const { total_num_frames, fps, duration, width, height, video_backend } = source.metadata;
      assert.equal([total_num_frames, fps, duration, width, height], [50, 25, 2, 64, 48]);
      assert.is(video_backend, 'ffmpeg');
      assert.equal(source.times!.slice(0, 4), [0, 0.04, 0.08, 0.12]);
      const indices = [0, 1, 2, 7, 24, 48, 49];
      const frames = await take(source, indices);
      assert.equal(frames.map(number), indices);
      assert.equal([frames[0].channels, frames[0].height, frames[0].width], [3, 48, 64]);
      await source.close?.();
    }
  },
);

withFfmpeg('ffmpeg, webm with uneven times: frames by number, times from the container', async () => {
  const source = await openVideo(clip('uneven.webm'), 'video', {});
  const times = Array.from({ length: 25 }, (_, n) => (n + 2 * Math.floor(n / 3)) / 25);
  assert.equal(source.times, times);
  const all = Array.from({ length: 25 }, (_, n) => n);
  assert.equal((await take(source, all)).map(number), all);
  assert.equal((await take(source, [3, 11, 24])).map(number), [3, 11, 24]);
  await source.close?.();
});

withFfmpeg(
  'ffmpeg, 1000 frames: few far apart are sought, many are read in one run, with the same pixels',
  async () => {
    const source = await openVideo(join(CLIPS, 'long.mp4'), 'video', {});
    assert.is(source.metadata.total_num_frames, 1000);
    const sought = await take(source, [60, 551, 999]);
    assert.equal(sought.map(number), [10, 1, 49]);
    const every = Array.from({ length: 1000 }, (_, n) => n);
    const read = await take(source, every);
    assert.equal(
      read.map(number),
      every.map((n) => n % 50),
    );
    assert.equal(sought, [read[60], read[551], read[999]]);
  },
);

withFfmpeg(
  'ffmpeg: files that start late, sound before the pictures, rotated ones, names like options',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'smolvlm-clips-'));
    const make = (name: string, ...options: string[]) => {
      execFileSync('ffmpeg', ['-v', 'error', ...options, '-c:v', 'copy', `file:${join(folder, name)}`]);
      return join(folder, name);
    };
    try {
      const long = join(CLIPS, 'long.mp4');
      const sound = [
        '-f',
        'lavfi',
        '-t',
        '3',
        '-i',
        'sine',
        '-itsoffset',
        '1.5',
        '-i',
        long,
        '-map',
        '0',
        '-map',
        '1',
      ];
      for (const path of [make('late.ts', '-i', long), make('sound.mkv', ...sound, '-c:a', 'pcm_s16le')]) {
        const source = await openVideo(path, 'video', {});
        assert.is(source.metadata.total_num_frames, 1000, path);
        assert.equal(source.times!.slice(0, 3), [0, 0.04, 0.08], path);
        assert.equal((await take(source, [0, 551, 999])).map(number), [0, 1, 49], path);
        assert.equal((await take(source, [0, 1, 2, 3, 51])).map(number), [0, 1, 2, 3, 1], path);
      }
      const rotated = make('-rotated.mp4', '-i', join(CLIPS, 'clip.mp4'), '-metadata:s:v:0', 'rotate=90');
      const [frame] = await take(await openVideo(rotated, 'video', {}), [9]);
      assert.equal([frame.height, frame.width, number(frame)], [64, 48, 9]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

withFfmpeg('ffmpeg through the processor: sampled frames, container times in the metadata', async () => {
  const processor = new SmolVLMVideoProcessor({ ...SMALL, num_frames: 64, fps: 4, do_sample_frames: true });
  const { pixel_values, video_metadata } = await processor.preprocess(clip('uneven.webm'), {
    return_metadata: true,
  });
  const { frames_indices, frame_times } = video_metadata![0];
  assert.equal(frames_indices, [0, 4, 8, 12, 16, 20, 24].slice(0, frames_indices!.length));
  assert.equal(
    frame_times,
    frames_indices!.map((n) => (n + 2 * Math.floor(n / 3)) / 25),
  );
  assert.is(pixel_values.dims[1], frames_indices!.length);
  // Frames are flat: normalised levels (20 + 4n) / 127.5 - 1.
  for (const [t, n] of frames_indices!.entries()) {
    const level = (pixel_values.data[t * 3 * 1024] + 1) * 127.5;
    assert.ok(Math.abs(level - 20 - 4 * n) <= 3, `frame ${n}: ${level}`);
  }
});

withFfmpeg(
  'ffmpeg: damaged and other files, playlists among them, are typed errors that name the video',
  async () => {
    const half = clip('clip.mp4').slice(0, 1500);
    await refused(
      openVideo(half, 'videos[3]', {}),
      'ImageError',
      /video cannot be decoded \(videos\[3\]\).*got .+/,
    );
    const text = new TextEncoder().encode('no video at all, but long enough to be looked at');
    await refused(openVideo(text, 'videos[0]', {}), 'ImageError', /video cannot be decoded \(videos\[0\]\)/);
    const list = new TextEncoder().encode(
      `#EXTM3U\n#EXTINF:2,\nfile://${join(CLIPS, 'clip.mp4')}\n#EXT-X-ENDLIST\n`,
    );
    await refused(openVideo(list, 'videos[0]', {}), 'ImageError', /video cannot be decoded/);
    const small = openVideo(clip('clip.mp4'), 'videos[0]', { maxPixels: 1000 });
    await refused(small, 'ImageError', /too many pixels \(videos\[0\]\): expected at most 1000.*got 64×48/);
  },
);

withFfmpeg('ffmpeg: an abort and the timeout end the child process; temporary files go', async () => {
  const before = readdirSync(tmpdir()).filter((name) => name.startsWith('smolvlm-video-'));
  const reason = new Error('no longer wanted');
  const controller = new AbortController();
  const processor = new SmolVLMVideoProcessor({ ...SMALL, do_resize: true });
  const work = processor.preprocess(clip('long.mp4'), { signal: controller.signal });
  setTimeout(() => controller.abort(reason), 150);
  try {
    await work;
    assert.unreachable('it should have been aborted');
  } catch (error) {
    assert.is(error, reason);
  }
  const slow = ffmpegDecoder({ timeout_ms: 1 }).open(clip('long.mp4'), { where: 'videos[0]' });
  await refused(slow, 'ImageError', /ffprobe takes too long \(videos\[0\]\): expected at most 1 ms/);
  const after = readdirSync(tmpdir()).filter((name) => name.startsWith('smolvlm-video-'));
  assert.equal(after, before);
});

test('without ffmpeg the error says how to get one', async () => {
  const missing = ffmpegDecoder({ ffprobe: 'no-such-ffprobe', ffmpeg: 'no-such-ffmpeg' });
  const work = openVideo(clip('clip.mp4'), 'videos[0]', { video_decoder: missing });
  await refused(work, 'ConfigError', /no video decoder \(ffprobe\).*apt-get install ffmpeg.*got ENOENT/);
  assert.is(platformVideoDecoder().name, 'ffmpeg');
});

test('ffmpeg’s pictures: pieces of any size, several sizes, and a stream that breaks off', async () => {
  const picture = (w: number, h: number) => [
    ...new TextEncoder().encode(`P6\n${w} ${h}\n255\n`),
    ...new Array(w * h * 3).keys(),
  ];
  const bytes = Uint8Array.from([...picture(3, 2), ...picture(2, 2)]);
  for (const size of [1, 5, 100]) {
    const pieces = async function* () {
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    };
    const found: Planes[] = [];
    for await (const planes of readPpmStream(pieces(), 100, 'v')) found.push(planes);
    assert.equal(
      found.map(({ width, height }) => [width, height]),
      [
        [3, 2],
        [2, 2],
      ],
    );
    assert.equal([...found[1].data], [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]);
  }
  const read = async (data: Uint8Array, limit: number) => {
    for await (const _ of readPpmStream(
      (async function* () {
        yield data;
      })(),
      limit,
      'v',
    ));
  };
  await refused(
    read(bytes.subarray(0, 20), 100),
    'ImageError',
    /breaks off within a frame \(v\): expected 18 bytes, got 9/,
  );
  await refused(read(bytes, 5), 'ImageError', /too many pixels.*got 3×2/);
  await refused(read(new Uint8Array(99), 5), 'ImageError', /no PPM picture/);
});

// ---- WebCodecs ------------------------------------------------------------------------------------------------------

/** Stands in for the browser's decoder: the frame at a time is a flat picture of that time. */
class FlatSink {
  async *samplesAtTimestamps(times: Iterable<number>) {
    for (const time of times) {
      yield {
        displayWidth: 64,
        displayHeight: 48,
        draw: () => assert.unreachable('there is no canvas here'),
        allocationSize: () => 64 * 48 * 4,
        copyTo: async (target: Uint8Array) => target.fill(20 + 4 * Math.floor(time * 25)),
        close: () => closed++,
      };
    }
  }
}
let closed = 0;

const flat = (): VideoDecoder => webCodecsDecoder({ ...mediabunny, VideoSampleSink: FlatSink } as never);

test('WebCodecs: containers are read by mediabunny, times and sizes are ffmpeg’s; frames come by their times', async () => {
  const source = await flat().open(clip('clip.mp4'));
  const { total_num_frames, fps, duration, width, height, video_backend } = source.metadata;
  assert.equal([total_num_frames, fps, duration, width, height], [50, 25, 2, 64, 48]);
  assert.is(video_backend, 'webcodecs');
  assert.equal(source.times!.slice(0, 4), [0, 0.04, 0.08, 0.12]);
  const uneven = await flat().open(new Blob([clip('uneven.webm') as Uint8Array<ArrayBuffer>]));
  assert.equal(
    uneven.times,
    Array.from({ length: 25 }, (_, n) => (n + 2 * Math.floor(n / 3)) / 25),
  );
  uneven.close?.();
  // Node has no WebCodecs: that is said when frames are taken.
  await refused(take(source, [0]), 'ConfigError', /no video decoder \(video\).*WebCodecs.*got no WebCodecs/);
  source.close?.();
});

test('WebCodecs: frames are copied out, closed, and numbered right', async () => {
  class Track extends mediabunny.Input {
    override async getPrimaryVideoTrack() {
      const track = await super.getPrimaryVideoTrack();
      return track && Object.assign(track, { canDecode: async () => true });
    }
  }
  closed = 0;
  const decoder = webCodecsDecoder({ ...mediabunny, Input: Track, VideoSampleSink: FlatSink } as never);
  const source = await openVideo(clip('clip.mp4'), 'video', { video_decoder: decoder });
  const frames = await take(source, [0, 7, 49]);
  assert.equal(frames.map(number), [0, 7, 49]);
  assert.equal([frames[0].channels, frames[0].data.length, closed], [3, 3 * 64 * 48, 3]);
  source.close?.();
});

test('WebCodecs: paths and damaged files are typed errors', async () => {
  await refused(
    flat().open('/videos/a.mp4'),
    'ConfigError',
    /WebCodecs opens no paths \(video\).*got \/videos\/a\.mp4/,
  );
  await refused(flat().open(new Uint8Array(200)), 'ImageError', /video cannot be decoded \(video\).*got .+/);
  await refused(
    flat().open(clip('clip.mp4'), { maxPixels: 9 }),
    'ImageError',
    /at most 9 pixels a frame, got 64×48/,
  );
});

test.run();
