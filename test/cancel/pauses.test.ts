/**
 * Processing pauses: how much is done between two turns of the event loop, counted. The clock is made to say that a turn is due
 * at every look at it, so the turns are the pauses, on any machine.
 */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  AutoProcessor,
  decodeImage,
  load_image,
  SmolVLMImageProcessor,
  SmolVLMImageProcessorFast,
} from '../../src/index.js';
import { runSync } from '../../src/processing/paced.js';
import { shapes } from '../support/paths.js';
import { VALUES_BETWEEN_TURNS } from '../tolerance.js';

let time = performance.now();

/** Turns that a computation gives. */
async function turnsOf(compute: () => Promise<unknown>): Promise<number> {
  const { now } = performance;
  const { setImmediate: own } = globalThis;
  let turns = 0;
  time = Math.max(time, now.call(performance));
  performance.now = () => (time += 50);
  globalThis.setImmediate = ((run: () => void) => {
    turns++;
    return own(run);
  }) as typeof setImmediate;
  try {
    await compute();
    return turns;
  } finally {
    performance.now = now;
    globalThis.setImmediate = own;
  }
}

const read = (path: string) => new Uint8Array(readFileSync(path));
const jpeg = read('examples/pictures/shapes-on-checks.jpg');
const png = read('examples/pictures/shapes-on-blue.png');
const [width, height] = [1000, 800];
const data = Uint8Array.from({ length: 3 * width * height }, (_, i) => (i * 2654435761) >>> 24);
const image = { data, width, height, channels: 3 };
const size = { size: { longest_edge: 1024 }, max_image_size: { longest_edge: 256 } };
const processor = await AutoProcessor.from_pretrained(shapes);
const base64 = `data:image/png;base64,${Buffer.from(data).toString('base64')}`;
const text = 'Where is the red star relative to the yellow circle, and what of it? '.repeat(800);
const { width: across, height: down } = await decodeImage(png);
const pixels = 3 * across * down;

/** What each touches at least: values in and out of every pass. */
const works: [name: string, values: number, compute: () => Promise<unknown>][] = [
  ['a PNG: checksum, inflating, filters, pixels', 2 * pixels, () => decodeImage(png)],
  ['a JPEG by the script decoder', 3 * pixels, () => decodeImage(jpeg, { decoder: 'script' })],
  // Lanczos to 1024 × 819, then to whole tiles; then 17 tiles of 256.
  [
    'pictures to tiles, the slow processor',
    7 * 3 * 1024 * (800 + 819) + 17 * 3 * 256 ** 2,
    () => new SmolVLMImageProcessor(size).preprocess(image),
  ],
  [
    'pictures to tiles, the fast processor',
    5 * 3 * 1024 * (800 + 819) + 17 * 3 * 256 ** 2,
    () => new SmolVLMImageProcessorFast(size).preprocess(image),
  ],
  [
    'frames of a video',
    4 * 3 * 2 * width * height,
    () => processor.video_processor.preprocess([image, image, image, image]),
  ],
  ['base64', 3 * width * height, () => load_image(base64)],
  // A character costs a tokenizer what a hundred values cost a filter.
  [`a text of ${text.length} characters`, 100 * 0.5 * text.length, () => processor.process({ text })],
];

for (const [name, values, compute] of works) {
  test(`${name}: the event loop has a turn at least every ${VALUES_BETWEEN_TURNS} values`, async () => {
    const turns = await turnsOf(compute);
    assert.ok(turns >= values / VALUES_BETWEEN_TURNS, `${turns} turns for ${values} values`);
  });
}

test('a long text in pieces has the ids of the whole: 6 texts of up to 200 thousand characters, most of them cut', () => {
  const { tokenizer } = processor;
  const texts = [
    text,
    text.replaceAll(' ', '  '),
    text.replaceAll(' ', ' 12 '),
    text.replaceAll('star', '<image><end_of_utterance> it’s 3.5 °C\n\n'),
    text.replaceAll('of', "día 東京 ’s ẞ don't").repeat(2),
    'x'.repeat(30_000),
  ];
  let pieces = 0;
  for (const one of texts) {
    const steps = tokenizer.encodeSteps(one);
    for (let next = steps.next(); !next.done; next = steps.next()) pieces++;
    assert.equal(runSync(tokenizer.encodeSteps(one)), tokenizer.encode(one, { add_special_tokens: false }));
  }
  assert.ok(pieces > 60, `${pieces} pieces`);
});

test.run();
