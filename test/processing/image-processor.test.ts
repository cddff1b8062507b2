import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SmolVLMError } from '../../src/errors.js';
import { type PreprocessOptions, SmolVLMImageProcessor } from '../../src/processing/image-processor.js';
import { cases, fixtureBytes, formula, type PictureName, sha256 } from './pictures.js';

interface ProcessorCase {
  name: string;
  images: (PictureName | string)[][];
  options: PreprocessOptions;
  dims?: number[];
  rows?: number[][];
  cols?: number[][];
  pixel_values?: string;
  pixel_attention_mask?: string;
  error?: string;
}

const all = cases<ProcessorCase>('image_processor.json');
const groups = new Map<string, ProcessorCase[]>();
for (const item of all) {
  const group = item.error ? 'refused by the reference' : item.name.split(/ (?:split|whole)|\d/)[0].trim();
  groups.set(group, [...(groups.get(group) ?? []), item]);
}

async function preprocess({ images, options }: ProcessorCase) {
  const { input_data_format, ...config } = options;
  const processor = new SmolVLMImageProcessor(config);
  const inputs = images.map((sample) =>
    sample.map((i) => (typeof i === 'string' ? fixtureBytes(i) : formula(i))),
  );
  return processor.preprocess(inputs, { input_data_format });
}

for (const [group, items] of groups) {
  if (items[0].error) continue;
  test(`${group}: ${items.length} × pixel_values, mask, rows and columns are the reference's, bit for bit`, async () => {
    for (const item of items) {
      const { pixel_values, pixel_attention_mask, rows, cols } = await preprocess(item);
      assert.equal(pixel_values.dims, item.dims, item.name);
      assert.equal(rows, item.rows, item.name);
      assert.equal(cols, item.cols, item.name);
      assert.is(sha256(pixel_values.data), item.pixel_values, item.name);
      assert.is(sha256(pixel_attention_mask!.data), item.pixel_attention_mask, item.name);
    }
  });
}

test('what the reference refuses is refused with a typed error', async () => {
  const refused = groups.get('refused by the reference')!;
  assert.is(refused.length, 13);
  for (const item of refused) {
    try {
      await preprocess(item);
      assert.unreachable(item.name);
    } catch (error) {
      assert.instance(error, SmolVLMError, `${item.name}: ${error}`);
      const expected = item.error!.startsWith('mean') ? 'InputError' : 'ImageError';
      assert.is((error as SmolVLMError).name, expected, item.name);
    }
  }
});

test('190 cases were compared', () => {
  assert.is(all.length, 190);
});

test.run();
