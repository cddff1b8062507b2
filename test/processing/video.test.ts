import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { InputError, SmolVLMError } from '../../src/errors.js';
import type { ArrayInput } from '../../src/processing/fast/planes.js';
import type { VideoMetadata } from '../../src/processing/video/metadata.js';
import { numberWords } from '../../src/processing/video/number-words.js';
import { expandVideoTokens, videoPrompt } from '../../src/processing/video/prompt.js';
import { sampleFrames } from '../../src/processing/video/sample-frames.js';
import {
  SmolVLMVideoProcessor,
  type VideoPreprocessOptions,
} from '../../src/processing/video/video-processor.js';
import { formula, type PictureName, ROOT, sha256 } from './pictures.js';

function golden<T>(name: string): T[] {
  const text = readFileSync(join(ROOT, 'test', 'fixtures', 'video', name), 'utf8');
  return (JSON.parse(text) as { cases: T[] }).cases;
}

// ---- sampling -------------------------------------------------------------------------------------------------------

interface SamplingCase {
  metadata: VideoMetadata;
  options: { num_frames: number; fps: number; skip_secs: number };
  indices: number[];
}

const samplings = golden<SamplingCase>('sampling.json');
test(`sample_frames takes the reference's frames in ${samplings.length} videos: skip_secs, rounding, uniqueness`, () => {
  for (const { metadata, options, indices } of samplings) {
    assert.equal(sampleFrames(metadata, options), indices, JSON.stringify([metadata, options]));
  }
  assert.is(samplings.length, 198);
});

test('sample_frames with what the reference cannot do: one of num_frames and fps, and no duration', () => {
  const metadata = { total_num_frames: 100, fps: 10 };
  assert.equal(sampleFrames(metadata, { num_frames: 3, skip_secs: 0 }), [0, 49, 99]);
  assert.equal(sampleFrames(metadata, { fps: 0.3, skip_secs: 0 }), [0, 49, 99]);
  const processor = new SmolVLMVideoProcessor({ num_frames: 3, fps: 5, skip_secs: 0 });
  assert.equal(processor.sample_frames(metadata), [0, 49, 99]);
  assert.equal(processor.sample_frames(metadata, { num_frames: 2 }), [0, 99]);
});

// ---- prompts --------------------------------------------------------------------------------------------------------

const numbers = golden<[number, string]>('numbers.json');
test(`${numbers.length} numbers in words are num2words', 0 to 1100 among them`, () => {
  for (const [value, words] of numbers) assert.is(numberWords(value), words);
  assert.is(numbers.length, 1114);
  assert.throws(() => numberWords(-1), /expected an integer from 0 .*got -1/);
});

const TOKENS = {
  image_seq_len: 2,
  image_token: '<image>',
  fake_image_token: '<fake_token_around_image>',
  global_image_token: '<global-img>',
};
const prompts = golden<{ metadata: VideoMetadata; text: string; result?: string; error?: string }>(
  'prompts.json',
);
test('video prompts are the reference’s: number of frames in words, duration over days, MM:SS, 24 fps where unknown', () => {
  let compared = 0;
  for (const { metadata, text, result } of prompts) {
    if (result === undefined) continue;
    assert.is(expandVideoTokens(text, [metadata, metadata], TOKENS), result, JSON.stringify(metadata));
    compared++;
  }
  assert.is(compared, 9);
});

test('video prompts without frames_indices are refused, and so are texts with too few <video>', () => {
  const refused = prompts.find(({ error }) => error !== undefined)!;
  assert.throws(
    () => videoPrompt(refused.metadata, TOKENS),
    (error: unknown) =>
      error instanceof InputError && /frames_indices.*got fps 5, .*missing/.test(error.message),
  );
  const metadata = prompts[0].metadata;
  assert.throws(
    () => expandVideoTokens('<video>', [metadata, metadata], TOKENS),
    (error: unknown) =>
      error instanceof InputError && /expected one <video> per video: 2, got 1/.test(error.message),
  );
});

test('video prompts take the container’s times where it gives them', () => {
  const metadata = {
    total_num_frames: 9,
    fps: 3,
    duration: 65,
    frames_indices: [0, 8],
    frame_times: [0, 63.2],
  };
  const prompt = videoPrompt(metadata, TOKENS);
  assert.match(prompt, /following series of two frames from a 0:01:05 \[H:MM:SS\] video/);
  assert.match(prompt, /Frame from 00:00:.*Frame from 01:03:/s);
});

// ---- processor ------------------------------------------------------------------------------------------------------

type VideoName = [kind: 'wave' | 'noise', frames: number, height: number, width: number, channels: number];

interface ProcessorCase {
  name: string;
  videos: VideoName[];
  options: VideoPreprocessOptions;
  form: 'thwc' | 'tchw' | 'pil' | 'float';
  dims?: number[];
  pixel_values?: string;
  pixel_attention_mask?: string;
  video_metadata?: VideoMetadata[];
  error?: string;
}

function frame([kind, , height, width, channels]: VideoName, t: number): Uint8Array {
  const picture: PictureName = [kind, height, width, channels];
  return Uint8Array.from(formula(picture).data, (v) => v + 7 * t);
}

function makeVideo(name: VideoName, form: ProcessorCase['form']) {
  const [, frames, height, width, channels] = name;
  const list = Array.from({ length: frames }, (_, t) => frame(name, t));
  if (form === 'pil') return list.map((data) => ({ data, width, height, channels }));
  const size = height * width * channels;
  const data = new Uint8Array(frames * size);
  for (const [t, levels] of list.entries()) data.set(levels, t * size);
  if (form === 'thwc') return { data, dims: [frames, height, width, channels] } satisfies ArrayInput;
  const first = new Uint8Array(data.length);
  for (let t = 0; t < frames; t++) {
    for (let i = 0; i < size; i++) {
      first[t * size + (i % channels) * height * width + Math.floor(i / channels)] = data[t * size + i];
    }
  }
  const dims = [frames, channels, height, width];
  if (form === 'tchw') return { data: first, dims } satisfies ArrayInput;
  return { data: Float32Array.from(first, (v) => v / 255), dims } satisfies ArrayInput;
}

const CALL =
  /^(input_data_format|video_metadata|return_metadata|do_sample_frames|num_frames|fps|skip_secs|data_format)$/;

async function preprocess({ videos, options, form }: Pick<ProcessorCase, 'videos' | 'options' | 'form'>) {
  const entries = Object.entries(options);
  const processor = new SmolVLMVideoProcessor(
    Object.fromEntries(entries.filter(([name]) => !CALL.test(name))),
  );
  const inputs = videos.map((name) => makeVideo(name, form));
  return processor.preprocess(
    inputs as never,
    Object.fromEntries(entries.filter(([name]) => CALL.test(name))),
  );
}

const all = golden<ProcessorCase>('processor.json');
/** The reference takes these options and drops them; here they do what the page says. */
const DROPPED = /drops$/;
const held = all.filter(({ name, error }) => error === undefined && !DROPPED.test(name));

for (const [title, pick] of [
  ['sizes and forms', /^(size \d|real|form|grey|RGBA)/],
  ['sampled by num_frames, fps and skip_secs, with metadata', /^(sampled|metadata)/],
  ['every other option', /^(?!size \d|real|form|grey|RGBA|sampled|metadata)/],
] as const) {
  const cases = held.filter(({ name }) => pick.test(name));
  test(`video processor, ${title}: 0 differing values in ${cases.length} cases`, async () => {
    for (const item of cases) {
      const { pixel_values, pixel_attention_mask, video_metadata } = await preprocess(item);
      assert.equal(pixel_values.dims, item.dims, item.name);
      assert.is(sha256(pixel_values.data), item.pixel_values, item.name);
      const mask = pixel_attention_mask && sha256(pixel_attention_mask.data);
      assert.is(mask, item.pixel_attention_mask, item.name);
      assert.is(video_metadata?.length, item.video_metadata?.length, item.name);
      for (const [i, expected] of (item.video_metadata ?? []).entries()) {
        for (const [key, value] of Object.entries(expected)) {
          const got = video_metadata![i][key as keyof VideoMetadata];
          // The reference leaves out what it was not told; the size is known here all the same.
          if (key === 'frames_indices' || value !== null) assert.equal(got, value, `${item.name}: ${key}`);
        }
      }
    }
  });
}

test(`${held.length} cases that the reference answers were compared`, () => {
  assert.is(held.length, 62);
  assert.is(all.length, 73);
});

const SMALL = { size: { longest_edge: 128 }, max_image_size: { longest_edge: 64 } };
const by = (name: string) => all.find((item) => item.name === name)!;

test('uneven videos, which the reference fails to stack, are padded with zeros and masked, each as it is alone', async () => {
  for (const name of ['two videos of other lengths', 'two videos of other sizes, not resized']) {
    const item = by(name);
    assert.ok(item.error, name);
    const { pixel_values, pixel_attention_mask } = await preprocess(item);
    const [count, frames, channels, height, width] = pixel_values.dims;
    assert.is(count, 2);
    let [ones, zeros] = [0, 0];
    for (const [v, video] of item.videos.entries()) {
      const alone = (await preprocess({ ...item, videos: [video] })).pixel_values;
      const [, t0, , h0, w0] = alone.dims;
      for (let t = 0; t < frames; t++) {
        for (let c = 0; c < channels; c++) {
          for (let y = 0; y < height; y++) {
            for (let x = 0; x < width; x++) {
              const value = pixel_values.data[(((v * frames + t) * channels + c) * height + y) * width + x];
              const mask = pixel_attention_mask!.data[((v * frames + t) * height + y) * width + x];
              const inside = t < t0 && y < h0 && x < w0;
              const expected = inside ? alone.data[((t * channels + c) * h0 + y) * w0 + x] : 0;
              if (value !== expected || mask !== Number(inside))
                assert.unreachable(`${name} at ${[v, t, c, y, x]}`);
              if (inside) ones++;
              else zeros++;
            }
          }
        }
      }
    }
    assert.ok(ones > 1000 && zeros > 1000, `${name}: ${ones} and ${zeros}`);
  }
});

test('options that the reference drops or refuses although the page has them', async () => {
  const item = by('tile as a number');
  const plain = await preprocess({ ...item, options: SMALL });
  const asNumber = await preprocess(item);
  assert.is(sha256(asNumber.pixel_values.data), sha256(plain.pixel_values.data));
  const cropped = await preprocess(by('centre crop, which the reference drops'));
  assert.equal(cropped.pixel_values.dims, [1, 2, 3, 20, 20]);
  assert.is(cropped.pixel_values.data[0], plain.pixel_values.data[22 * 64 + 22]);
  const divided = await preprocess(by('divisor, which the reference drops'));
  assert.equal(divided.pixel_values.dims, [1, 2, 3, 96, 96]);
  const last = await preprocess(by('channels last'));
  assert.equal(last.pixel_values.dims, [1, 2, 64, 64, 3]);
  for (const i of [0, 100, 64 * 64 * 2 + 17]) {
    const [c, rest] = [Math.floor(i / 4096) % 3, i % 4096];
    assert.is(last.pixel_values.data[rest * 3 + c], plain.pixel_values.data[i]);
  }
  const opaque = await preprocess({ ...by('filter 0'), options: { ...SMALL, resample: 4 } });
  assert.equal(opaque.pixel_values.dims, [1, 2, 3, 64, 64]);
});

test('RGBA frames that are opaque lose their alpha, where the reference fails', async () => {
  const [height, width] = [20, 24];
  const rgb = formula(['wave', height, width, 3]).data;
  const rgba = new Uint8Array(height * width * 4).fill(255);
  for (let i = 0; i < rgb.length; i++) rgba[Math.floor(i / 3) * 4 + (i % 3)] = rgb[i];
  const processor = new SmolVLMVideoProcessor(SMALL);
  const plain = await processor.preprocess([{ data: rgb, width, height, channels: 3 }]);
  const opaque = await processor.preprocess([{ data: rgba, width, height, channels: 4 }]);
  assert.is(sha256(opaque.pixel_values.data), sha256(plain.pixel_values.data));
});

test('do_upscale: false leaves small frames their size, padded and masked; the reference enlarges them', async () => {
  const videos: VideoName[] = [['wave', 2, 20, 30, 3]];
  const item = { videos, form: 'tchw' as const };
  const { pixel_values, pixel_attention_mask } = await preprocess({
    ...item,
    options: { ...SMALL, do_upscale: false },
  });
  assert.equal(pixel_values.dims, [1, 2, 3, 64, 64]);
  const unresized = await preprocess({ ...item, options: { ...SMALL, do_resize: false } });
  assert.equal(unresized.pixel_values.dims, [1, 2, 3, 20, 30]);
  for (let y = 0; y < 20; y++) {
    const [row, whole] = [pixel_values.data, unresized.pixel_values.data];
    assert.equal(row.slice(y * 64, y * 64 + 30), whole.slice(y * 30, y * 30 + 30));
  }
  assert.is(
    pixel_attention_mask!.data.reduce((a, b) => a + b, 0),
    2 * 20 * 30,
  );
  // A large frame keeps its shape: 100×200 is 32×64.
  const large = await preprocess({
    videos: [['wave', 1, 100, 200, 3]],
    form: 'tchw',
    options: { ...SMALL, do_upscale: false },
  });
  assert.is(
    large.pixel_attention_mask!.data.reduce((a, b) => a + b, 0),
    32 * 64,
  );
});

test('video_sampling of a checkpoint’s config sets number, rate and size; a size beside it wins', () => {
  const sampling = { max_frames: 4, fps: 2, video_size: { longest_edge: 64 } };
  const first = new SmolVLMVideoProcessor({ video_sampling: sampling });
  assert.equal([first.num_frames, first.fps, first.size], [4, 2, { longest_edge: 64 }]);
  const second = new SmolVLMVideoProcessor({ video_sampling: sampling, size: { longest_edge: 96 } });
  assert.equal(second.size, { longest_edge: 96 });
});

async function refused(videos: unknown, options: object, type: string, part: RegExp): Promise<void> {
  let thrown: unknown;
  try {
    await new SmolVLMVideoProcessor(SMALL).preprocess(videos as never, options);
  } catch (error) {
    thrown = error;
  }
  assert.instance(thrown, SmolVLMError, String(thrown));
  assert.is((thrown as SmolVLMError).name, type);
  assert.match((thrown as SmolVLMError).message, part);
}

test('bad videos and options are refused by name, with what was expected and got', async () => {
  const video = makeVideo(['wave', 2, 8, 8, 3], 'tchw');
  const other = makeVideo(['wave', 3, 8, 8, 3], 'tchw');
  const metadata = { total_num_frames: 2, fps: 2, duration: 1 };
  await refused(
    video,
    { do_sample_frames: true, num_frames: 1 },
    'InputError',
    /video_metadata\.fps\).*got null/,
  );
  await refused(
    video,
    { do_sample_frames: true, video_metadata: metadata },
    'InputError',
    /num_frames, fps\).*neither/,
  );
  const more = {
    do_sample_frames: true,
    num_frames: 4,
    fps: 4,
    video_metadata: { ...metadata, total_num_frames: 9 },
  };
  await refused(video, more, 'InputError', /total_num_frames\): expected at most 2, got 9/);
  await refused(
    [video, other],
    { video_metadata: metadata },
    'InputError',
    /one for each of 2 videos, got 1/,
  );
  await refused(
    video,
    { video_metadata: { total_num_frames: 0 } },
    'InputError',
    /total_num_frames\).*got 0/,
  );
  const indices = { video_metadata: { ...metadata, frames_indices: [1] } };
  await refused(video, indices, 'InputError', /frames_indices\): expected 2, one for each frame, got 1/);
  await refused([video, other], { do_pad: false }, 'InputError', /videos\[0\], do_pad\).*got 2×3×64×64/);
  await refused(video, { num_frames: 0 }, 'ConfigError', /num_frames\): expected a positive integer, got 0/);
  await refused(video, { do_upscale: false, do_pad: false }, 'ConfigError', /do_pad\).*do_upscale is false/);
  await refused(video, { data_format: 'last' }, 'ConfigError', /data_format\).*got "last"/);
  await refused(
    video,
    { do_sample_frames: 1 },
    'ConfigError',
    /do_sample_frames\): expected true or false, got 1/,
  );
  await refused([], {}, 'InputError', /no video \(videos\)/);
  await refused(7, {}, 'InputError', /not a video \(videos\[0\]\).*got number/);
  await refused(
    [video, { data: new Uint8Array(3), dims: [1, 1, 3] }],
    {},
    'InputError',
    /mixed \(videos\[1\]\)/,
  );
  const frames = [4, 5].map((width) => ({
    data: new Uint8Array(4 * width * 3),
    width,
    height: 4,
    channels: 3,
  }));
  await refused(frames, { do_resize: false }, 'InputError', /videos\[0\]\[1\]\): expected 3×4×4.*got 3×4×5/);
});

test('do_sample_frames: auto samples where the rate is known, and takes all frames where it is not', async () => {
  const video = makeVideo(['wave', 6, 8, 8, 3], 'pil');
  const processor = new SmolVLMVideoProcessor({ ...SMALL, num_frames: 2, fps: 1 });
  const options = { do_sample_frames: 'auto', return_metadata: true } as const;
  const whole = await processor.preprocess(video as never, options);
  assert.equal(whole.video_metadata![0].frames_indices, [0, 1, 2, 3, 4, 5]);
  const video_metadata = { total_num_frames: 6, fps: 2, duration: 3 };
  const sampled = await processor.preprocess(video as never, { ...options, video_metadata });
  assert.equal(sampled.video_metadata![0].frames_indices, [0, 5]);
});

test('an abort ends preprocessing with the signal’s reason', async () => {
  const reason = new Error('no longer wanted');
  const video = makeVideo(['wave', 2, 8, 8, 3], 'tchw');
  try {
    await new SmolVLMVideoProcessor(SMALL).preprocess(video as never, { signal: AbortSignal.abort(reason) });
    assert.unreachable();
  } catch (error) {
    assert.is(error, reason);
  }
});

test.run();
