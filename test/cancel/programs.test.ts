/** Child processes of video decoding: an abort kills them and takes the temporary files away, in whatever state they are. */
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ffmpegDecoder, SmolVLMVideoProcessor } from '../../src/index.js';
import { listenersOf, openThings, settled } from '../support/aborts.js';

const folder = mkdtempSync(join(tmpdir(), 'smolvlm-programs-'));
const bytes = new Uint8Array(readFileSync('test/fixtures/video/clip.mp4'));

/** A program that writes its process id and then does this. */
function program(name: string, body: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\necho $$ > '${path}.pid'\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

const probe = JSON.stringify({
  streams: [{ width: 4, height: 4, avg_frame_rate: '25/1', duration: '0.08' }],
  format: { format_name: 'mov', duration: '0.08', start_time: '0' },
  packets: [
    { pts_time: '0', flags: 'K_' },
    { pts_time: '0.04', flags: '__' },
  ],
});
const answers = program('answers', `printf '%s' '${probe}'`);
const hangs = program('hangs', 'exec sleep 60');
const stutters = program('stutters', "printf 'P6 4 4 255\\n'; exec sleep 60");

const isAlive = (path: string) => {
  try {
    return process.kill(Number(readFileSync(`${path}.pid`, 'utf8')), 0);
  } catch {
    return false;
  }
};
const temporary = () => readdirSync(tmpdir()).filter((name) => name.startsWith('smolvlm-video-')).length;

for (const [name, programs, last] of [
  ['ffprobe that never answers', { ffprobe: hangs, ffmpeg: hangs }, hangs],
  ['ffmpeg that never answers', { ffprobe: answers, ffmpeg: hangs }, hangs],
  ['ffmpeg that breaks off within a frame', { ffprobe: answers, ffmpeg: stutters }, stutters],
] as const) {
  test(`${name}: an abort kills it within 2 s, and leaves no process, file or listener`, async () => {
    const [things, files] = [openThings(), temporary()];
    const controller = new AbortController();
    const { signal } = controller;
    const call = new SmolVLMVideoProcessor().preprocess(bytes, {
      video_decoder: ffmpegDecoder(programs),
      signal,
    });
    const ended = call.then(
      () => 'done',
      (error) => error,
    );
    await settled(() => existsSync(`${last}.pid`) && isAlive(last));
    assert.ok(isAlive(last), 'it runs');
    const reason = new Error('enough');
    const started = performance.now();
    controller.abort(reason);
    assert.is(await ended, reason);
    assert.ok(performance.now() - started < 2000, `${performance.now() - started} ms`);
    await settled(() => !isAlive(last) && openThings().length <= things.length);
    assert.not(isAlive(last));
    assert.is(temporary(), files);
    assert.is(listenersOf(signal), 0);
    assert.equal(openThings(), things);
  });
}

test('a reason that is no error becomes an AbortError', async () => {
  const controller = new AbortController();
  const call = new SmolVLMVideoProcessor().preprocess(bytes, {
    video_decoder: ffmpegDecoder({ ffprobe: hangs, ffmpeg: hangs }),
    signal: controller.signal,
  });
  setTimeout(() => controller.abort('a text'), 30);
  try {
    await call;
    assert.unreachable();
  } catch (error) {
    assert.instance(error, DOMException);
    assert.is((error as DOMException).name, 'AbortError');
  }
});

test.run();
