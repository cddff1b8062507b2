import { deflateSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError, ImageError, InputError, MemoryError, type SmolVLMError } from '../../src/errors.js';
import { type DecodeOptions, decodeImage, SmolVLMImageProcessor } from '../../src/processing/index.js';
import { cases, fixtureBytes, sha256 } from './pictures.js';
import { loadProcessor, OWN } from './text-fixtures.js';

const latin1 = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));

interface Expected {
  type: new (details: never) => SmolVLMError;
  what: RegExp;
  where?: RegExp;
  expected?: RegExp;
  got?: RegExp;
}

async function fails(action: () => unknown, expected: Expected, message = ''): Promise<void> {
  try {
    await action();
  } catch (error) {
    assert.instance(error, expected.type, `${message}: ${error}`);
    const { what, where, expected: wanted, got } = error as SmolVLMError;
    assert.match(what, expected.what, message);
    if (expected.where) assert.match(where, expected.where, message);
    if (expected.expected) assert.match(wanted!, expected.expected, message);
    if (expected.got) assert.match(got!, expected.got, message);
    return;
  }
  assert.unreachable(`${message}: nothing was thrown`);
}

const decode = (bytes: Uint8Array, options?: DecodeOptions) => () => decodeImage(bytes, options);

/** A JPEG header that claims a size, one grey component. */
function claimingJpeg(width: number, height: number): Uint8Array {
  const size = [height >> 8, height & 255, width >> 8, width & 255];
  return Uint8Array.from([0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, ...size, 1, 1, 0x11, 0, 0xff, 0xd9]);
}

/** A PNG of one IDAT chunk with the given content; grey of 8 bits. Checksums are right. */
function claimingPng(width: number, height: number, idat: Uint8Array): Uint8Array {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8;
  const parts = [
    latin1('\x89PNG\r\n\x1a\n'),
    chunk('IHDR', header),
    chunk('IDAT', idat),
    chunk('IEND', new Uint8Array(0)),
  ];
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function chunk(type: string, content: Uint8Array): Uint8Array {
  const out = new Uint8Array(12 + content.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, content.length);
  out.set(latin1(type), 4);
  out.set(content, 8);
  let crc = -1;
  for (const byte of out.subarray(4, 8 + content.length)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  view.setUint32(8 + content.length, ~crc >>> 0);
  return out;
}

test('bytes that are no picture: ImageError with the format found and byte 0', async () => {
  const files: [string, string][] = [
    ['GIF89a......', 'GIF'],
    ['RIFF....WEBPVP8 ', 'WebP'],
    ['BM......', 'BMP'],
    ['II*\0....', 'TIFF'],
    ['MM\0*....', 'TIFF'],
    ['\0\0\0\x18ftypheic', 'HEIC'],
    ['\0\0\0\x18ftypavif', 'AVIF'],
    ['%PDF-1.7', 'PDF'],
    ['<!DOCTYPE html><html>', 'HTML'],
    ['hello, I am a text', 'unknown format'],
  ];
  for (const [start, format] of files) {
    const got = new RegExp(format);
    await fails(decode(latin1(start)), {
      type: ImageError,
      what: /picture/,
      where: /^byte 0$/,
      expected: /JPEG or PNG/,
      got,
    });
  }
  await fails(decode(new Uint8Array(0)), { type: ImageError, what: /not a picture/, got: /empty file/ });
  await fails(() => decodeImage('x' as never), { type: InputError, what: /not bytes/, got: /string/ });
});

test('a claim of 20,000 × 20,000 is refused on the header, with the numbers', async () => {
  const expected = {
    type: ImageError,
    what: /too many pixels/,
    expected: /178956970/,
    got: /20000×20000 = 400000000/,
  };
  await fails(decode(claimingJpeg(20000, 20000)), expected);
  await fails(decode(claimingPng(20000, 20000, new Uint8Array(10))), expected);
  const small = { ...expected, expected: /at most 5062 pixels/, got: /83×61 = 5063/ };
  await fails(decode(fixtureBytes('420_baseline.jpg'), { maxPixels: 5062 }), small);
  assert.is((await decodeImage(fixtureBytes('420_baseline.jpg'), { maxPixels: 5063 })).width, 83);
});

test('a size within the budget that the file is far too short for takes no memory', async () => {
  const before = process.memoryUsage().rss;
  const png = claimingPng(13000, 13000, deflateSync(new Uint8Array(1000)));
  const truncated = { type: ImageError, what: /truncated/, where: /^byte \d+$/ };
  await fails(decode(png), { ...truncated, expected: /at least 163\d+ bytes/ });
  await fails(decode(claimingJpeg(13000, 13000)), { ...truncated, what: /no scan|truncated/ });
  assert.ok(process.memoryUsage().rss - before < 100e6);
});

test('packed pixels that unpack to a thousand times what the header asks for are cut off', async () => {
  const before = process.memoryUsage().rss;
  const image = await decodeImage(claimingPng(100, 100, deflateSync(new Uint8Array(100e6))));
  assert.equal([image.width, image.height], [100, 100]);
  assert.ok(process.memoryUsage().rss - before < 200e6);
});

test('every truncation of a JPEG is an ImageError with the byte where the file ends', async () => {
  for (const name of ['420_baseline.jpg', '444_progressive.jpg', 'cmyk.jpg', 'orientation_6.jpg']) {
    const bytes = fixtureBytes(name);
    const step = Math.max(1, bytes.length >> 7);
    for (let end = 3; end < bytes.length; end += step) {
      const where = new RegExp(`^byte ${end}$`);
      await fails(
        decode(bytes.slice(0, end)),
        { type: ImageError, what: /JPEG/, where },
        `${name} to ${end}`,
      );
    }
    await fails(decode(bytes.slice(0, -1)), { type: ImageError, what: /truncated/ }, name);
  }
});

test('every truncation of a PNG is an ImageError with its byte, unless only the end marker is missing', async () => {
  for (const name of ['rgb_8.png', 'palette_4_alpha_interlaced.png']) {
    const bytes = fixtureBytes(name);
    const whole = sha256((await decodeImage(bytes)).data);
    let complete = 0;
    for (let end = 8; end < bytes.length; end++) {
      try {
        assert.is(sha256((await decodeImage(bytes.slice(0, end))).data), whole);
        complete++;
      } catch (error) {
        assert.instance(error, ImageError, `${name} to ${end}: ${error}`);
        assert.match((error as ImageError).where, /^byte \d+$/);
      }
    }
    assert.ok(complete <= 30, `${complete} prefixes of ${name} decoded`);
  }
});

test('4,000 damaged files decode or fail with a typed error, and a good one decodes afterwards', async () => {
  let state = 7;
  const random = (limit: number) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >> 8) % limit;
  };
  const names = cases<{ file: string }>('files.json').map(({ file }) => file);
  let failed = 0;
  for (let i = 0; i < 4000; i++) {
    const bytes = fixtureBytes(names[i % names.length]);
    for (let n = random(4); n >= 0; n--) bytes[2 + random(bytes.length - 2)] = random(256);
    const decoder = i % 3 === 0 ? 'script' : 'libjpeg';
    try {
      await decodeImage(bytes, { decoder, maxPixels: 1e6 });
    } catch (error) {
      failed++;
      assert.ok(
        error instanceof ImageError || error instanceof MemoryError,
        `${names[i % names.length]}: ${error}`,
      );
    }
  }
  assert.ok(failed > 1000, `only ${failed} failed`);
  for (const { file, rgb } of cases<{ file: string; rgb: string }>('files.json')) {
    assert.is(sha256((await decodeImage(fixtureBytes(file))).data), rgb, file);
  }
});

test('things that are no pictures are named by their place in the batch', async () => {
  const processor = new SmolVLMImageProcessor({ size: { longest_edge: 64 }, max_image_size: 32 });
  const good = { data: new Uint8Array(27), width: 3, height: 3, channels: 3 };
  const bad: [unknown, Expected][] = [
    [latin1('no picture'), { type: ImageError, what: /not a picture/, where: /^images\[0\]\[1\], byte 0$/ }],
    ['path.png', { type: InputError, what: /not a picture/, where: /images\[0\]\[1\]/, got: /string/ }],
    [
      { ...good, data: new Uint8Array(26) },
      { type: InputError, what: /fit/, expected: /3×3/, got: /26 bytes/ },
    ],
    [
      { ...good, width: 0 },
      { type: InputError, what: /fit/, expected: /0×3/ },
    ],
    [
      { ...good, width: 1.5 },
      { type: InputError, what: /fit/, expected: /1\.5×3/ },
    ],
    [
      { data: new Uint8Array(18), width: 3, height: 3, channels: 2 },
      { type: InputError, what: /fit/, got: /2 channels/ },
    ],
    [null, { type: InputError, what: /not a picture/, got: /null/ }],
  ];
  for (const [image, expected] of bad) {
    await fails(
      () => processor.preprocess([good, image as never], { input_data_format: 'channels_last' }),
      expected,
    );
  }
  await fails(() => processor.preprocess([]), { type: InputError, what: /no picture/, got: /empty/ });
  await fails(() => processor.preprocess([good, [good]] as never), {
    type: InputError,
    what: /mixed/,
    got: /1 lists among 2/,
  });
});

test('pictures whose tensors would pass 4 GiB are a MemoryError with the number of bytes', async () => {
  const processor = new SmolVLMImageProcessor({ do_resize: false, max_image_size: 512 });
  const wide = { data: new Uint8Array(600 * 1), width: 600, height: 1, channels: 1 };
  const options = {
    size: { height: 30000, width: 30000 },
    do_resize: true,
    input_data_format: 'channels_last',
  } as const;
  await fails(() => processor.preprocess(wide, options), {
    type: MemoryError,
    what: /too large/,
    expected: /4294967296/,
  });
});

test('more and fewer <image> than pictures, an empty prompt: InputError with both numbers; then a good request', async () => {
  const processor = loadProcessor(OWN);
  const image = fixtureBytes('444_baseline.jpg');
  const counts = (text: string | string[], images: never, got: RegExp, expected: RegExp) =>
    fails(() => processor.process({ text, images }), { type: InputError, what: /<image>/, got, expected });
  await counts('<image><image>', image as never, /^2$/, /1$/);
  await counts('none', image as never, /^0$/, /1$/);
  await counts('<image>', undefined as never, /^1$/, /0$/);
  await counts(['<image>', 'a'], [[image], [image]] as never, /^1, 0$/, /1, 1$/);
  await counts(['<image>'], [[image], [image]] as never, /^1$/, /1, 1$/);
  const empty = { type: InputError, what: /empty prompt/, where: /text/, got: /empty string/ };
  await fails(() => processor.process({ text: '' }), empty);
  await fails(() => processor.process({ text: ['a', ''] }), { ...empty, where: /text\[1\]/ });
  await fails(() => processor.process({ text: [] }), { type: InputError, what: /empty batch/ });
  await fails(() => processor.process({ text: 7 as never }), {
    type: InputError,
    what: /not a text/,
    got: /number/,
  });
  const { input_ids, pixel_values } = await processor.process({ text: 'What? <image>', images: image });
  assert.ok(input_ids.dims[1] > 16);
  assert.equal(pixel_values!.dims.slice(2), [3, 64, 64]);
});

test('sizes that are none are ConfigErrors naming the option', async () => {
  for (const size of [512, 'large', [], { longest_edge: 0 }, { height: 40 }]) {
    await fails(
      () => new SmolVLMImageProcessor({ size: size as never }),
      { type: ConfigError, what: /invalid option/, where: /size$/, expected: /longest_edge/, got: /./ },
      JSON.stringify(size),
    );
  }
});

test.run();
