/**
 * Pictures and text before the model: decoding, resizing and splitting, tokenizing, beside `jpeg-js` and `pngjs` in the
 * same run. Usage, after `npm run build`: node build/bench/processing.js. The last line is JSON.
 */
import { readFileSync } from 'node:fs';
import jpegJs from 'jpeg-js';
import { PNG } from 'pngjs';
import { Bench } from 'tinybench';
import { AutoProcessor, decodeImage, SmolVLMImageProcessor } from '../src/index.js';

const jpeg = new Uint8Array(readFileSync('examples/pictures/shapes-on-checks.jpg'));
const png = new Uint8Array(readFileSync('examples/pictures/shapes-on-blue.png'));
const processor = await AutoProcessor.from_pretrained('checkpoints/smolvlm-shapes');
const tiles = new SmolVLMImageProcessor({
  size: { longest_edge: 2048 },
  max_image_size: { longest_edge: 512 },
});
const [width, height] = [3000, 2000];
const data = Uint8Array.from({ length: 3 * width * height }, (_, i) => (i * 2654435761) >>> 24);
const prompt = 'Where is the red star relative to the yellow circle? '.repeat(20);

const bench = new Bench({ time: 1000, warmupTime: 200 });
bench
  .add('JPEG, libjpeg', () => decodeImage(jpeg, { decoder: 'libjpeg' }))
  .add('JPEG, script decoder', () => decodeImage(jpeg, { decoder: 'script' }))
  .add('JPEG, jpeg-js', () => {
    jpegJs.decode(jpeg, { useTArray: true });
  })
  .add('PNG', () => decodeImage(png))
  .add('PNG, pngjs', () => {
    PNG.sync.read(Buffer.from(png));
  })
  .add('3000 × 2000 pixels to 13 tiles of 512', () => tiles.preprocess({ data, width, height, channels: 3 }))
  .add('tokenize 1060 characters', () => {
    processor.tokenizer.encode(prompt);
  });
await bench.run();

const rows = bench.tasks.map(({ name, result }) => ({
  name,
  milliseconds: 'latency' in result ? Number(result.latency.p50.toPrecision(3)) : null,
}));
for (const { name, milliseconds } of rows) console.log(`${name.padEnd(40)} ${milliseconds} ms`);
console.log(JSON.stringify({ node: process.version, rows }));
