/**
 * The longest stretch that each stage keeps the event loop waiting: `node build/bench/turns.js [PATTERN] [THREADS]`, of the
 * model where the pattern begins with 256M. The promise is a turn every 20 ms. Stretches are in processor time of the main
 * thread where Linux tells it (a busy machine then does not count), else by the clock.
 */
import { readFileSync } from 'node:fs';
import jpegJs from 'jpeg-js';
import { PNG } from 'pngjs';
import {
  AutoProcessor,
  decodeImage,
  SmolVLMForConditionalGeneration,
  SmolVLMImageProcessor,
  SmolVLMImageProcessorFast,
} from '../src/index.js';
import { shapes } from '../test/support/paths.js';
import { checkpoint } from './checkpoints.js';
import { textIds, tile } from './inputs.js';
import { sizeConfig } from './sizes.js';

/** Milliseconds that the main thread has computed. */
const clock = ((): (() => number) => {
  const read = () => Number(readFileSync('/proc/self/schedstat', 'latin1').split(' ')[0]) / 1e6;
  try {
    return read() > 0 ? read : () => performance.now();
  } catch {
    return () => performance.now();
  }
})();

/** Milliseconds in all, and the longest stretch between two turns. */
async function watch(compute: () => Promise<unknown>): Promise<{ total: number; longest: number }> {
  let longest = 0;
  let last = clock();
  let isOver = false;
  const tick = () => {
    const now = clock();
    longest = Math.max(longest, now - last);
    last = now;
    if (!isOver) setImmediate(tick);
  };
  setImmediate(tick);
  const started = clock();
  await compute();
  const total = clock() - started;
  isOver = true;
  tick();
  return { total, longest };
}

/** Smooth shapes under fine noise: what a photograph costs a decoder. */
function photograph(width: number, height: number, channels: number): Uint8Array {
  const data = new Uint8Array(width * height * channels).fill(255);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += channels) {
      const noise = ((x * 374761393 + y * 668265263) >>> 0) % 13;
      for (let c = 0; c < 3; c++) {
        data[at + c] = 120 + 80 * Math.sin((x * (c + 1)) / 190) * Math.cos(y / 240) + noise;
      }
    }
  }
  return data;
}

const SIZES = [
  ['2 MP', 1632, 1224],
  ['12 MP', 4032, 3024],
  ['24 MP', 6000, 4000],
] as const;

async function* works(): AsyncGenerator<[name: string, call: () => Promise<unknown>]> {
  const tiles = { size: { longest_edge: 2048 }, max_image_size: { longest_edge: 512 } };
  for (const [name, width, height] of SIZES) {
    const rgba = { data: Buffer.from(photograph(width, height, 4)), width, height };
    const jpeg = new Uint8Array(jpegJs.encode(rgba, 90).data);
    yield [`JPEG of ${name}, libjpeg`, () => decodeImage(jpeg, { decoder: 'libjpeg' })];
    yield [`JPEG of ${name}, script`, () => decodeImage(jpeg, { decoder: 'script' })];
  }
  const [name, width, height] = SIZES[1];
  const data = photograph(width, height, 3);
  const image = { data, width, height, channels: 3 };
  const file = new PNG({ width, height, colorType: 2, inputHasAlpha: false });
  file.data = Buffer.from(data);
  const png = new Uint8Array(PNG.sync.write(file, { colorType: 2, inputHasAlpha: false, deflateLevel: 3 }));
  yield [`PNG of ${name}`, () => decodeImage(png)];
  yield [`${name} to tiles, slow processor`, () => new SmolVLMImageProcessor(tiles).preprocess(image)];
  yield [`${name} to tiles, fast processor`, () => new SmolVLMImageProcessorFast(tiles).preprocess(image)];
  const base64 = Buffer.from(png).toString('base64');
  const processor = await AutoProcessor.from_pretrained(shapes);
  yield [
    `${name} of PNG as base64`,
    () =>
      processor.process({ images: `data:image/png;base64,${base64}`, size: { longest_edge: 64 } } as never),
  ];
  const frames = Array.from({ length: 16 }, () => {
    const size = 1920 * 1080 * 3;
    return { data: data.subarray(0, size), width: 1920, height: 1080, channels: 3 };
  });
  yield ['16 frames of 1920 × 1080', () => processor.video_processor.preprocess(frames)];
  const text = 'Where is the red star relative to the yellow circle? '.repeat(2000);
  yield [`tokenize ${text.length} characters`, () => processor.process({ text })];
}

/** The model at the real 256M size. */
async function* modelWorks(): AsyncGenerator<[name: string, call: () => Promise<unknown>]> {
  const folder = await checkpoint('256m');
  const config = sizeConfig('256m');
  const pixels = tile(config);
  const open = (dtype: 'auto' | 'int8' | 'int4') =>
    SmolVLMForConditionalGeneration.from_pretrained(folder, { threads, dtype, image_cache_bytes: 0 });
  for (const dtype of ['auto', 'int8', 'int4'] as const) {
    yield [`256M: loading, ${dtype}`, async () => (await open(dtype)).dispose()];
  }
  for (const dtype of ['auto', 'int8'] as const) {
    const model = await open(dtype);
    const name = (work: string) => `256M, ${dtype}: ${work}`;
    const text = (count: number) => ({ input_ids: textIds(config, count), reuse_prefix: false });
    yield [name('a tile'), () => model.get_image_features(pixels)];
    yield [name('prefill of 500 tokens'), () => model.generate({ ...text(500), max_new_tokens: 1 })];
    const made = { max_new_tokens: 20, min_new_tokens: 20 };
    yield [name('20 tokens, greedy'), () => model.generate({ ...text(20), ...made })];
    const drawn = { ...made, do_sample: true, top_p: 0.9, seed: 1 };
    yield [name('20 tokens, sampling'), () => model.generate({ ...text(20), ...drawn })];
    yield [name('20 tokens, 4 beams'), () => model.generate({ ...text(20), ...made, num_beams: 4 })];
    yield [
      name('all logits of 64 tokens'),
      () => model.forward({ ...text(64), reuse_prefix: undefined } as never),
    ];
    if (dtype === 'int8') yield [name('saving'), () => model.save_pretrained(new Map())];
    model.dispose();
  }
}

const [pattern = '', threadsGiven = '1'] = process.argv.slice(2);
const threads = Number(threadsGiven);
for await (const [name, call] of pattern.startsWith('256M') ? modelWorks() : works()) {
  if (!name.includes(pattern)) continue;
  await call();
  const runs = [await watch(call), await watch(call), await watch(call)];
  runs.sort((a, b) => a.longest - b.longest);
  const { total, longest } = runs[1];
  console.log(
    `${name.padEnd(36)} ${total.toFixed(0).padStart(6)} ms, longest ${longest.toFixed(1).padStart(6)} ms`,
  );
}
