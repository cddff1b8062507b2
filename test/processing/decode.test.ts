import { PNG } from 'pngjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeImage } from '../../src/processing/decode.js';
import { cases, fixtureBytes, sha256 } from './pictures.js';

interface FileCase {
  file: string;
  mode: string;
  width: number;
  height: number;
  rgb: string;
  rgba?: string;
}

const all = cases<FileCase>('files.json');
const jpegs = all.filter(({ file }) => file.endsWith('.jpg'));
const pngs = all.filter(({ file }) => file.endsWith('.png'));

async function compare(item: FileCase, decoder?: 'libjpeg' | 'script'): Promise<string> {
  const image = await decodeImage(fixtureBytes(item.file), { decoder });
  assert.equal([image.mode, image.width, image.height], [item.mode, item.width, item.height], item.file);
  assert.is(image.channels, 3);
  assert.is(sha256(image.data), item.rgb, `${item.file} by ${image.decoder}`);
  return image.decoder;
}

test(`${jpegs.length} JPEG files have the pixels of the reference's load_image (libjpeg; CMYK and 4:4:0 by the script)`, async () => {
  assert.ok(jpegs.length >= 44);
  for (const item of jpegs) {
    assert.is(
      await compare(item),
      item.mode === 'CMYK' || item.file === '440.jpg' ? 'script-jpeg' : 'libjpeg',
      item.file,
    );
  }
});

test(`${jpegs.length} JPEG files have the same pixels by the script decoder`, async () => {
  for (const item of jpegs) assert.is(await compare(item, 'script'), 'script-jpeg');
});

test(`${pngs.length} PNG files of every colour type and depth have the pixels of the reference's load_image`, async () => {
  assert.ok(pngs.length >= 50);
  for (const item of pngs) await compare(item);
});

test("files with transparency kept have Pillow's convert('RGBA')", async () => {
  const transparent = all.filter(({ rgba }) => rgba !== undefined);
  assert.ok(transparent.length >= 20);
  for (const { file, rgba } of transparent) {
    const image = await decodeImage(fixtureBytes(file), { alpha: 'keep' });
    assert.is(image.channels, 4, file);
    assert.is(sha256(image.data), rgba, file);
  }
});

test('PNG files of up to 8 bits have the RGBA pixels of pngjs', async () => {
  let compared = 0;
  for (const { file } of pngs) {
    // pngjs keeps 16 bits in its own way, refuses short palettes and knows no orientation.
    if (/16|short|orientation/.test(file)) continue;
    const theirs = PNG.sync.read(Buffer.from(fixtureBytes(file)));
    const { data, channels } = await decodeImage(fixtureBytes(file), { alpha: 'keep' });
    for (let i = 0; i < theirs.width * theirs.height; i++) {
      const alpha = channels === 4 ? data[i * 4 + 3] : 255;
      const ours = [data[i * channels], data[i * channels + 1], data[i * channels + 2], alpha];
      // The colour that is declared transparent: pngjs makes it black.
      if (file.includes('key') && alpha === 0) ours.fill(0);
      assert.equal(ours, [...theirs.data.subarray(i * 4, i * 4 + 4)], `${file}, pixel ${i}`);
    }
    compared++;
  }
  assert.ok(compared >= 35, `${compared} files`);
});

test.run();
