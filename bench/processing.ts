/** Pictures and text before the model: decoding, resizing and splitting, tokenizing, beside `jpeg-js` and `pngjs`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import jpegJs from 'jpeg-js';
import { PNG } from 'pngjs';
import { AutoProcessor, decodeImage, SmolVLMImageProcessor } from '../src/index.js';
import { root, shapes } from '../test/support/paths.js';
import type { Report } from './report.js';
import { timeAsync } from './timing.js';

const [WIDTH, HEIGHT] = [3000, 2000];

interface Work {
  readonly name: string;
  readonly call: () => unknown;
  readonly peer?: { readonly name: string; readonly call: () => unknown };
}

export async function benchProcessing(report: Report): Promise<void> {
  for (const { name, call, peer } of await works()) {
    const { median, ...spread } = await timed(call);
    const against = peer && { name: peer.name, value: 1e3 * (await timed(peer.call)).median };
    report({ part: 'processing', work: name, value: 1e3 * median, unit: 'ms', ...spread, against });
  }
}

const timed = (call: () => unknown) => timeAsync(async () => call(), { budget: 0.7, warm: 0.2 });

async function works(): Promise<Work[]> {
  const picture = (name: string) => new Uint8Array(readFileSync(join(root, 'examples/pictures', name)));
  const jpeg = picture('shapes-on-checks.jpg');
  const png = picture('shapes-on-blue.png');
  const processor = await AutoProcessor.from_pretrained(shapes);
  const tiles = new SmolVLMImageProcessor({
    size: { longest_edge: 2048 },
    max_image_size: { longest_edge: 512 },
  });
  const data = Uint8Array.from({ length: 3 * WIDTH * HEIGHT }, (_, i) => (i * 2654435761) >>> 24);
  const prompt = 'Where is the red star relative to the yellow circle? '.repeat(20);
  const jpegPeer = { name: 'jpeg-js', call: () => jpegJs.decode(jpeg, { useTArray: true }) };
  const pngPeer = { name: 'pngjs', call: () => PNG.sync.read(Buffer.from(png)) };
  return [
    { name: 'JPEG, libjpeg', call: () => decodeImage(jpeg, { decoder: 'libjpeg' }), peer: jpegPeer },
    { name: 'JPEG, script decoder', call: () => decodeImage(jpeg, { decoder: 'script' }), peer: jpegPeer },
    { name: 'PNG', call: () => decodeImage(png), peer: pngPeer },
    {
      name: '3000 × 2000 pixels to 13 tiles of 512',
      call: () => tiles.preprocess({ data, width: WIDTH, height: HEIGHT, channels: 3 }),
    },
    { name: `tokenize ${prompt.length} characters`, call: () => processor.tokenizer.encode(prompt) },
  ];
}
