import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SmolVLMError } from '../../src/errors.js';
import { centerCrop } from '../../src/processing/fast/crop.js';
import { type ArrayInput, type Planes, planesOfInterleaved } from '../../src/processing/fast/planes.js';
import { resizePlanes } from '../../src/processing/fast/resize.js';
import { type OutputOptions, SmolVLMImageProcessor } from '../../src/processing/image-processor.js';
import {
  type FastImageInput,
  type FastPreprocessOptions,
  SmolVLMImageProcessorFast,
} from '../../src/processing/image-processor-fast.js';
import { runSync } from '../../src/processing/paced.js';
import { resample } from '../../src/processing/resample.js';
import { fixtureBytes, formula, type PictureName, ROOT, sha256 } from './pictures.js';

const SMALL = { size: { longest_edge: 256 }, max_image_size: { longest_edge: 64 } };

function golden<T>(name: string): T[] {
  const text = readFileSync(join(ROOT, 'test', 'fixtures', 'fast', name), 'utf8');
  return (JSON.parse(text) as { cases: T[] }).cases;
}

function sha(data: Planes['data']): string {
  return sha256(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

/** A formula picture as planes. */
function planes(name: PictureName): Planes & { data: Uint8Array } {
  const { data, width, height, channels } = formula(name);
  return runSync(planesOfInterleaved(data as Uint8Array, height, width, channels)) as Planes & {
    data: Uint8Array;
  };
}

// ---- resize ---------------------------------------------------------------------------------------------------------

interface ResizeCase {
  picture: PictureName;
  size: [number, number];
  resample: number;
  v1_uint8: string;
  v1_float32: string;
  v1_uint16?: string;
  v2_uint8: string;
  v2_float32: string;
}

const resizes = golden<ResizeCase>('resize.json');
const FORMS = {
  v1_uint8: (image: Planes) => image,
  v2_uint8: (image: Planes) => image,
  v1_float32: (image: Planes) => ({ ...image, data: Float32Array.from(image.data) }),
  v2_float32: (image: Planes) => ({ ...image, data: Float32Array.from(image.data) }),
  v1_uint16: (image: Planes) => ({ ...image, data: Uint16Array.from(image.data, (v) => v * 256) }),
};

for (const key of Object.keys(FORMS) as (keyof typeof FORMS)[]) {
  const [version, dtype] = key.split('_') as ['v1' | 'v2', string];
  const cases = resizes.filter((item) => item[key] !== undefined);
  test(`resize ${version} ${dtype}: 0 differing pixels in ${cases.length} sizes (nearest, bilinear, bicubic)`, () => {
    assert.ok(cases.length >= 100, `only ${cases.length} cases`);
    for (const item of cases) {
      const [height, width] = item.size;
      const result = resizePlanes(FORMS[key](planes(item.picture)), height, width, item.resample, version);
      assert.equal([result.height, result.width], [height, width]);
      assert.is(sha(result.data), item[key], JSON.stringify([item.picture, item.size, item.resample]));
    }
  });
}

test('resize, box and Hamming, which torch refuses: within 1 level of Pillow', () => {
  let compared = 0;
  for (const filter of ['box', 'hamming'] as const) {
    for (const [height, width] of [
      [40, 33],
      [91, 300],
      [7, 101],
    ]) {
      const result = resizePlanes(planes(['noise', 90, 101, 1]), height, width, filter, 'v1').data;
      const pillow = resample(formula(['noise', 90, 101, 1]), width, height, filter).data;
      for (let i = 0; i < pillow.length; i++) {
        assert.ok(Math.abs(result[i] - pillow[i]) <= 1, `${filter} ${height}×${width} at ${i}`);
        compared++;
      }
    }
  }
  assert.is(compared, 2 * (40 * 33 + 91 * 300 + 7 * 101));
});

test('resize of a picture one pixel wide keeps its rows, where torch 2.14 repeats the first one', () => {
  const image = {
    data: Float32Array.from({ length: 12 }, (_, i) => i * 10),
    channels: 1,
    height: 12,
    width: 1,
  };
  const torch = [12.5, 12.5, 12.5, 12.5];
  const result = [...resizePlanes(image, 4, 1, 'bilinear', 'v1').data];
  assert.is(result[0], torch[0]);
  // What torch gives for the same numbers as a row.
  assert.equal(result, [12.5, 40.000003814697266, 70, 97.5]);
});

test('centre crop: odd margins, halves to even, zeros outside', () => {
  const image = { data: Uint8Array.from({ length: 35 }, (_, i) => i + 1), channels: 1, height: 5, width: 7 };
  assert.equal([...centerCrop(image, 2, 4).data], [17, 18, 19, 20, 24, 25, 26, 27]);
  assert.equal(centerCrop(image, 5, 7), image);
  const padded = centerCrop(image, 8, 3);
  assert.equal([...padded.data.subarray(0, 6)], [0, 0, 0, 3, 4, 5]);
  assert.equal([...padded.data.subarray(18)], [0, 0, 0, 0, 0, 0]);
});

// ---- processor ------------------------------------------------------------------------------------------------------

interface ProcessorCase {
  name: string;
  images: (PictureName | string)[][];
  options: FastPreprocessOptions;
  form: 'pil' | 'hwc' | 'chw' | 'float' | 'uint16';
  dims?: number[];
  pixel_values?: string;
  pixel_attention_mask?: string;
  rows?: number[][];
  cols?: number[][];
  error?: string;
}

const all = golden<ProcessorCase>('processor.json');
const held = all.filter(({ error }) => error === undefined);
/** The reference takes these options and drops them; here they do what the page says. */
const DROPPED = ['centre crop, which the reference drops'];

function input(image: PictureName | string, form: ProcessorCase['form']): FastImageInput {
  if (typeof image === 'string') return fixtureBytes(image);
  const { data, width, height, channels } = formula(image);
  if (form === 'pil') return { data, width, height, channels };
  if (form === 'hwc') return { data, dims: [height, width, channels] };
  const first: ArrayInput = { data: planes(image).data, dims: [channels, height, width] };
  if (form === 'float') return { ...first, data: Float32Array.from(first.data, (v) => v / 255) };
  if (form === 'uint16') return { ...first, data: Uint16Array.from(first.data, (v) => v * 100 + 20000) };
  return first;
}

async function preprocess({ images, options, form }: Pick<ProcessorCase, 'images' | 'options' | 'form'>) {
  const { input_data_format, ...config } = options;
  const inputs = images.map((sample) => sample.map((image) => input(image, form)));
  return new SmolVLMImageProcessorFast(config).preprocess(inputs, { input_data_format });
}

for (const [title, pick] of [
  ['small and real sizes, split and whole', /^(small|real) /],
  ['arrays CHW, HWC, grey, float32 and uint16', /array (hwc|chw|float|uint16)/],
  ['files, grey, RGBA, palette and 16-bit pictures', /^(file|\d channels) /],
  ['every other option', /^(?!small|real|array|grey array|file|\d channels)/],
] as const) {
  const cases = held.filter(({ name }) => pick.test(name) && !DROPPED.includes(name));
  test(`fast, ${title}: 0 differing values in ${cases.length} cases`, async () => {
    for (const item of cases) {
      const { pixel_values, pixel_attention_mask, rows, cols } = await preprocess(item);
      assert.equal(pixel_values.dims, item.dims, item.name);
      assert.is(sha256(pixel_values.data), item.pixel_values, item.name);
      const mask = pixel_attention_mask && sha256(pixel_attention_mask.data);
      assert.is(mask, item.pixel_attention_mask, item.name);
      assert.equal(rows, item.rows, item.name);
      assert.equal(cols, item.cols, item.name);
    }
  });
}

test(`${held.length} cases that the reference answers were compared`, () => {
  assert.is(held.length, 112);
  assert.is(all.length, 120);
});

const ONE: Pick<ProcessorCase, 'images' | 'form'> = { images: [[['noise', 50, 71, 3]]], form: 'pil' };

test('options that the reference drops or refuses although the page has them: crop, shortest edge, tile as a number', async () => {
  const cropped = await preprocess({
    ...ONE,
    options: { ...SMALL, do_center_crop: true, crop_size: 20, return_row_col_info: true },
  });
  assert.equal([cropped.rows, cropped.cols], [[[0]], [[0]]]);
  const dropped = all.find(({ name }) => name === DROPPED[0])!;
  assert.is.not(sha256(cropped.pixel_values.data), dropped.pixel_values);
  // 50×71 with a shortest edge of 100 is 100×142, which 3×3 tiles of 64 hold.
  const shortest = { ...SMALL, size: 100, default_to_square: false, return_row_col_info: true };
  const { rows, cols } = await preprocess({ ...ONE, options: shortest });
  assert.equal([rows, cols], [[[3]], [[3]]]);
  const asNumber = await preprocess({ ...ONE, options: { ...SMALL, max_image_size: 64 } });
  const asObject = await preprocess({ ...ONE, options: SMALL });
  assert.is(sha256(asNumber.pixel_values.data), sha256(asObject.pixel_values.data));
});

test('do_upscale: false leaves a small picture one tile, where the reference makes 17', async () => {
  const images = [[{ data: formula(['wave', 50, 60, 3]).data, dims: [50, 60, 3] }]];
  const processor = new SmolVLMImageProcessorFast({ ...SMALL, return_row_col_info: true });
  const { rows, cols } = await processor.preprocess(images);
  assert.equal([rows, cols], [[[4]], [[4]]]);
  const small = await processor.preprocess(images, { do_upscale: false });
  assert.equal([small.rows, small.cols], [[[0]], [[0]]]);
  assert.equal(small.pixel_values.dims, [1, 1, 3, 64, 64]);
});

test('RGBA with do_convert_rgb loses its alpha, as PIL converts it; the slow processor composites on white', async () => {
  const rgba = formula(['noise', 40, 40, 4]);
  const rgb = { ...rgba, channels: 3, data: rgba.data.filter((_, i) => i % 4 !== 3) };
  const fast = new SmolVLMImageProcessorFast(SMALL);
  const [first, second] = [await fast.preprocess(rgba), await fast.preprocess(rgb)];
  assert.is(sha256(first.pixel_values.data), sha256(second.pixel_values.data));
  const slow = new SmolVLMImageProcessor(SMALL);
  const [third, fourth] = [await slow.preprocess(rgba), await slow.preprocess(rgb)];
  assert.is.not(sha256(third.pixel_values.data), sha256(fourth.pixel_values.data));
});

test('get_number_of_image_patches agrees with what preprocess makes', async () => {
  const processor = new SmolVLMImageProcessorFast(SMALL);
  for (const [height, width] of [
    [30, 40],
    [300, 90],
    [64, 64],
  ]) {
    const data = new Uint8Array(height * width * 3);
    const { pixel_values, rows, cols } = await processor.preprocess(
      { data, width, height, channels: 3 },
      { return_row_col_info: true },
    );
    const expected = [pixel_values.dims[1], rows![0][0], cols![0][0]];
    assert.equal(processor.get_number_of_image_patches(height, width), expected);
  }
});

// ---- arrays given to the slow one ------------------------------------------------------------------------------------

interface SlowCase {
  picture: PictureName;
  form: 'hwc' | 'chw' | 'hw' | 'float' | 'levels' | 'halves' | 'uint16' | 'uint16_large' | 'double';
  options: FastPreprocessOptions & OutputOptions;
  dims?: number[];
  pixel_values?: string;
  error?: string;
}

function slowArray({ picture, form }: SlowCase): ArrayInput {
  const { data, width, height, channels } = formula(picture);
  const hwc = { data, dims: [height, width, channels] };
  const chw = { data: planes(picture).data, dims: [channels, height, width] };
  switch (form) {
    case 'hwc':
      return hwc;
    case 'chw':
      return chw;
    case 'hw':
      return { data, dims: [height, width] };
    case 'float':
      return { ...chw, data: Float32Array.from(chw.data, (v) => v / 255) };
    case 'levels':
      return { ...chw, data: Float32Array.from(chw.data) };
    case 'halves':
      return { ...chw, data: Float32Array.from(chw.data, (v) => v + 0.5) };
    case 'uint16':
      return { ...chw, data: Uint16Array.from(chw.data) };
    case 'uint16_large':
      return { ...chw, data: Uint16Array.from(chw.data, (v) => v * 257) };
    case 'double':
      return { ...hwc, data: Float64Array.from(data, (v) => (v / 255) * 0.999) };
  }
}

const slowCases = golden<SlowCase>('slow_arrays.json');
test(`slow processor on arrays: dims, dtypes and data_format as in the reference, bit for bit, ${slowCases.length} cases`, async () => {
  let [answers, refusals] = [0, 0];
  for (const item of slowCases) {
    const { data_format, ...config } = item.options;
    const name = JSON.stringify([item.form, item.picture, data_format]);
    const work = new SmolVLMImageProcessor(config as object).preprocess(slowArray(item), { data_format });
    if (item.error === undefined) {
      const { pixel_values } = await work;
      assert.equal(pixel_values.dims, item.dims, name);
      assert.is(sha256(pixel_values.data), item.pixel_values, name);
      answers++;
      continue;
    }
    const error = await work.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    assert.instance(error, SmolVLMError, name);
    assert.match(
      (error as Error).message,
      /values that cannot become 8-bit levels \(images\[0\]\[0\]\).*got \d/,
    );
    refusals++;
  }
  assert.equal([answers, refusals], [76, 24]);
});

test('slow processor: dims, input_data_format none and do_upscale', async () => {
  const slow = new SmolVLMImageProcessor(SMALL);
  const { data } = formula(['wave', 30, 40, 1]);
  const grey = await slow.preprocess({ data, dims: [30, 40] }, { input_data_format: 'none' });
  const pixels = await slow.preprocess({ data, width: 40, height: 30, channels: 1 });
  assert.is(sha256(grey.pixel_values.data), sha256(pixels.pixel_values.data));
  const small = await slow.preprocess({ data, dims: [30, 40] }, { do_upscale: false });
  assert.equal([pixels.rows, small.rows], [[[3]], [[0]]]);
  for (const [array, part] of [
    [{ data, dims: [30, 10, 4, 1] }, /not the dims of a picture.*got \[30, 10, 4, 1\]/],
    [{ data, dims: [30, 20, 2] }, /channel dimension cannot be inferred.*got 30 and 2/],
    [
      { data: Float32Array.from(data, (v) => v - 1), dims: [30, 40] },
      /whole numbers from 0 to 255, got -1 to \d+/,
    ],
  ] as const) {
    const error = await slow.preprocess(array as ArrayInput).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    assert.instance(error, SmolVLMError);
    assert.match((error as Error).message, part);
  }
});

interface Difference {
  picture: PictureName;
  options: FastPreprocessOptions;
  values: number;
  different: number;
  largest: number;
}

const differences = golden<Difference>('slow_and_fast.json');
const farthest = Math.max(...differences.map(({ largest }) => largest));
test(`slow and fast differ exactly as in the reference: up to ${farthest} levels of 255`, async () => {
  for (const { picture, options, values, different, largest } of differences) {
    const { image_processor_type: _, ...config } = options;
    const slow = await new SmolVLMImageProcessor(config as object).preprocess(formula(picture));
    const fast = await new SmolVLMImageProcessorFast(config).preprocess(formula(picture));
    const apart = slow.pixel_values.data.map((v, i) => Math.abs(v - fast.pixel_values.data[i]));
    assert.is(apart.length, values);
    assert.is(apart.filter((v) => v > 0).length, different, picture.join());
    assert.is(
      apart.reduce((a, b) => Math.max(a, b)),
      largest,
      picture.join(),
    );
  }
});

// ---- errors ---------------------------------------------------------------------------------------------------------

async function refused(
  images: FastImageInput | FastImageInput[][],
  options: object,
  type: string,
  part: RegExp,
): Promise<void> {
  let thrown: unknown;
  try {
    await new SmolVLMImageProcessorFast(SMALL).preprocess(images, options);
  } catch (error) {
    thrown = error;
  }
  assert.instance(thrown, SmolVLMError, String(thrown));
  assert.is((thrown as SmolVLMError).name, type);
  assert.match((thrown as SmolVLMError).message, part);
}

test('bad options and arrays are refused by name, with what was expected and got', async () => {
  const image = formula(['wave', 20, 20, 3]);
  await refused(
    image,
    { do_center_crop: true },
    'ConfigError',
    /crop_size\): expected .*do_center_crop.*got undefined/,
  );
  await refused(image, { resample: 9 }, 'ConfigError', /resample\): expected 0 \(nearest\).*got 9/);
  await refused(image, { device: 'cuda' }, 'ConfigError', /device\): expected "cpu", got "cuda"/);
  await refused(image, { data_format: 'channels_last' }, 'ConfigError', /data_format\).*got channels_last/);
  await refused(
    image,
    { image_std: [1, 0, 1] },
    'ConfigError',
    /image_std\): expected deviations other than 0/,
  );
  await refused(
    image,
    { size: { width: 3 } },
    'ConfigError',
    /size\): expected \{longest_edge\}.*got \{"width":3\}/,
  );
  await refused(image, { do_pad: 1 }, 'ConfigError', /do_pad\): expected true or false, got 1/);
  await refused(
    image,
    { image_mean: [0.5, 0.5] },
    'InputError',
    /images\[0\]\[0\]\): expected 2, as image_mean has, got 3/,
  );
  const array = { data: new Uint8Array(20 * 20 * 4), dims: [20, 20, 4] };
  await refused(
    array,
    {},
    'InputError',
    /channel dimension cannot be inferred \(images\[0\]\[0\]\).*got 20 and 4/,
  );
  await refused(
    { data: new Uint8Array(7), dims: [1, 2, 3] },
    {},
    'InputError',
    /1×2×3 = 6 values.*got 7 values/,
  );
  await refused({ data: new Uint8Array(0), dims: [0, 2, 3] }, {}, 'InputError', /every dim at least 1/);
  await refused([[image], [image, image]], { do_pad: false }, 'InputError', /do_pad\).*got 17, 34/);
  await refused([[]], {}, 'InputError', /no picture/);
});

test.run();
