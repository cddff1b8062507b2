/** Videos in messages: where they may come from, and which frames are taken. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { InputError } from '../../src/errors.js';
import { type ProcessedInputs, SmolVLMProcessor } from '../../src/processing/index.js';
import { ROOT } from './pictures.js';
import { OWN, readFiles } from './text-fixtures.js';

const CLIPS = join(ROOT, 'test', 'fixtures', 'video');
const files = readFiles(OWN);
const video_sampling = { max_frames: 4, fps: 5, video_size: { longest_edge: 64 } };
const sampling = SmolVLMProcessor.from_files({
  ...files,
  'video_preprocessor_config.json': JSON.stringify({ video_sampling, max_image_size: { longest_edge: 64 } }),
});
const plain = SmolVLMProcessor.from_files(files);

type Video = { video?: unknown; path?: string; url?: string | URL };

const ask = (processor: SmolVLMProcessor, video: Video, options: object = {}): Promise<ProcessedInputs> => {
  const content = [
    { type: 'video', ...video },
    { type: 'text', text: 'What?' },
  ];
  const all = { tokenize: true, return_dict: true, return_metadata: true, ...options } as const;
  return processor.apply_chat_template([{ role: 'user', content }], all);
};

const text = (processor: SmolVLMProcessor, { input_ids }: ProcessedInputs) =>
  processor.decode(input_ids.data).replaceAll(/(<image>)+/g, '<image>');

async function sameEverywhere(file: string): Promise<void> {
  const path = join(CLIPS, file);
  const bytes = new Uint8Array(readFileSync(path));
  const want = await ask(sampling, { path });
  const url = `data:video/any;base64,${Buffer.from(bytes).toString('base64')}`;
  const sources: Video[] = [
    { video: path },
    { url: pathToFileURL(path) },
    { url: pathToFileURL(path).href },
    { url },
    { video: url },
    { video: bytes },
    { video: new Blob([bytes]) },
  ];
  for (const source of sources) {
    const got = await ask(sampling, source);
    assert.equal(got.pixel_values, want.pixel_values);
    assert.equal(got.input_ids, want.input_ids);
  }
  const asked: unknown[] = [];
  const load_image = async (source: unknown) => {
    asked.push(source);
    return bytes;
  };
  const loaded = await ask(sampling, { url: 'https://example.org/v' }, { load_image });
  assert.equal(loaded.pixel_values, want.pixel_values);
  assert.equal(asked, [{ url: 'https://example.org/v' }]);
}

test('a GIF by path, file URL, data URL, bytes, Blob and load_image gives the same inputs', () =>
  sameEverywhere('plain.gif'));

const hasFfmpeg = (() => {
  try {
    execFileSync('ffmpeg', ['-version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();
if (!hasFfmpeg) console.log('SKIP mp4 in messages (no ffmpeg on the PATH)');
(hasFfmpeg ? test : test.skip)(
  'an mp4 by path, file URL, data URL, bytes, Blob and load_image gives the same inputs',
  () => sameEverywhere('clip.mp4'),
);

test('num_frames and fps: the call before the checkpoint; the prompt has the number in words and a time for each frame', async () => {
  const path = join(CLIPS, 'plain.gif');
  const cases: [object, number][] = [];
  const whole = await ask(plain, { path });
  const total = whole.pixel_values!.dims[1];
  assert.ok(total >= 6, 'nobody says how many: every frame');
  cases.push(
    [{}, 4],
    [{ num_frames: 2 }, 2],
    [{ num_frames: 1, fps: 30 }, 1],
    [{ do_sample_frames: false }, total],
  );
  cases.push(
    [{ videos_kwargs: { num_frames: 3 } }, 3],
    [{ videos_kwargs: { do_sample_frames: false } }, total],
  );
  const words = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten'];
  for (const [options, most] of cases) {
    const out = await ask(sampling, { path }, options);
    const [metadata] = out.video_metadata!;
    const count = metadata.frames_indices!.length;
    assert.ok(count >= 1 && count <= most, `${JSON.stringify(options)}: ${count}`);
    if (most === total) assert.is(count, total);
    assert.is(out.pixel_values!.dims[1], count);
    const prompt = text(sampling, out);
    assert.match(prompt, `following series of ${words[count]} frames from a 0:00:`);
    assert.is(prompt.match(/\nFrame from 00:\d\d:/g)!.length, count);
    assert.match(prompt, /^<\|im_start\|>User: You are provided/);
  }
  assert.is((await ask(plain, { path }, { num_frames: 2 })).pixel_values!.dims[1], 2);
});

test('frames without a rate: taken whole where only the checkpoint speaks of sampling, refused where the call does', async () => {
  const frames = { data: new Uint8Array(6 * 8 * 8 * 3), dims: [6, 8, 8, 3] };
  assert.is((await ask(sampling, { video: frames })).pixel_values!.dims[1], 6);
  const video_metadata = { total_num_frames: 6, fps: 2, duration: 3 };
  assert.is((await ask(sampling, { video: frames }, { video_metadata })).pixel_values!.dims[1], 4);
  try {
    await ask(sampling, { video: frames }, { num_frames: 2 });
    assert.unreachable('sampled without a rate');
  } catch (error) {
    assert.instance(error, InputError);
    assert.match((error as InputError).where, 'fps');
  }
});

test('videos of different lengths in one batch are padded, and each prompt has its own frames', async () => {
  const film = (frames: number) => ({
    data: new Uint8Array(frames * 192).fill(frames),
    dims: [frames, 8, 8, 3],
  });
  const out = await plain.process({ text: ['<video>a', 'b<video>'], videos: [[film(2)], [film(5)]] });
  assert.equal(out.pixel_values!.dims, [2, 5, 3, 64, 64]);
  const rows = plain.batch_decode(out.input_ids);
  assert.match(rows[0], 'series of two frames');
  assert.match(rows[1], 'series of five frames');
  const images = (row: string) => row.split('<image>').length - 1;
  assert.equal(rows.map(images), [2 * plain.image_seq_len, 5 * plain.image_seq_len]);
});

test('video_metadata is in the result only with return_metadata, and an aborted signal ends the decoding', async () => {
  const path = join(CLIPS, 'plain.gif');
  assert.is((await ask(plain, { path }, { return_metadata: undefined })).video_metadata, undefined);
  const reason = new Error('enough');
  try {
    await ask(plain, { path }, { signal: AbortSignal.abort(reason) });
    assert.unreachable('went on');
  } catch (error) {
    assert.is(error, reason);
  }
});

test.run();
