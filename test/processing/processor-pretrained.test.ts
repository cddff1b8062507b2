/** from_pretrained, saving and loading again. */
import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AutoProcessor } from '../../src/auto-processor.js';
import { CheckpointError, ConfigError, InputError, type SmolVLMError } from '../../src/errors.js';
import { SmolVLMProcessor } from '../../src/processing/index.js';
import { fixtureBytes, ROOT } from './pictures.js';
import { loadProcessor, OWN, readFiles } from './text-fixtures.js';

const EMBEDDED = join(ROOT, 'checkpoints', 'smolvlm-shapes');
const processor = loadProcessor(OWN);
const picture = fixtureBytes('rgb_8.png');

async function refusal(action: () => unknown): Promise<SmolVLMError> {
  try {
    await action();
  } catch (error) {
    return error as SmolVLMError;
  }
  throw new Error('nothing was thrown');
}

test('from_pretrained of both names reads a folder and its options override the files', async () => {
  const plain = await AutoProcessor.from_pretrained(EMBEDDED);
  assert.instance(plain, SmolVLMProcessor);
  assert.type(plain, 'function');
  assert.is(plain.image_seq_len, 16);
  const given = await SmolVLMProcessor.from_pretrained(EMBEDDED, {
    image_seq_len: 4,
    chat_template: 'x',
    padding_side: 'left',
    truncation_side: 'right',
    do_image_splitting: true,
    size: { longest_edge: 128 },
  });
  assert.is(given.image_seq_len, 4);
  assert.is(given.apply_chat_template([{ role: 'user', content: 'y' }]), 'x');
  assert.is(given.tokenizer.padding_side, 'left');
  assert.is(given.tokenizer.truncation_side, 'right');
  assert.is(given.image_processor.do_image_splitting, true);
  assert.equal(given.image_processor.size, { longest_edge: 128 });
  assert.equal(given.image_processor.max_image_size, { longest_edge: 64 });
  const side = await refusal(() => AutoProcessor.from_pretrained(EMBEDDED, { padding_side: 'top' as never }));
  assert.instance(side, ConfigError);
  assert.is(side.where, 'padding_side');
  const odd = await refusal(() => AutoProcessor.from_pretrained(EMBEDDED, { shimmer: 3 } as never));
  assert.instance(odd, ConfigError);
  assert.is(odd.where, 'shimmer');
  assert.is(odd.got, '3');
  const fastOnly = { crop_size: { height: 9, width: 9 } };
  assert.is((await refusal(() => AutoProcessor.from_pretrained(EMBEDDED, fastOnly))).where, 'crop_size');
  const fast = await AutoProcessor.from_pretrained(EMBEDDED, { use_fast: true, crop_size: 9 });
  assert.equal((fast.image_processor as { crop_size?: unknown }).crop_size, { height: 9, width: 9 });
  const missing = await refusal(() => SmolVLMProcessor.from_pretrained(join(EMBEDDED, 'missing')));
  assert.instance(missing, CheckpointError);
});

test('without processor_config.json the tokens of a tile follow from config.json', async () => {
  const { 'processor_config.json': _, ...files } = readFiles(EMBEDDED);
  const config = (scale_factor: number) =>
    JSON.stringify({ scale_factor, vision_config: { image_size: 64, patch_size: 4 } });
  const from = async (text: string) =>
    (await SmolVLMProcessor.from_pretrained({ ...(files as object), 'config.json': text })).image_seq_len;
  assert.is(await from(config(2)), 64);
  assert.is(await from(config(4)), 16);
  assert.is(await from('{}'), 12);
  assert.is((await SmolVLMProcessor.from_pretrained({ ...(files as object) })).image_seq_len, 169);
});

test('the image processor is the slow one whatever the file names, as in 4.56.2, and the fast one with use_fast', async () => {
  const files = readFiles(OWN);
  const config = JSON.parse(files['preprocessor_config.json']!);
  const named = {
    ...files,
    'preprocessor_config.json': JSON.stringify({
      ...config,
      image_processor_type: 'SmolVLMImageProcessorFast',
    }),
  };
  const slow = SmolVLMProcessor.from_files(named);
  assert.is(slow.image_processor.constructor.name, 'SmolVLMImageProcessor');
  const fast = SmolVLMProcessor.from_files(files, { use_fast: true });
  assert.is(fast.image_processor.constructor.name, 'SmolVLMImageProcessorFast');
  const inputs = { text: '<image>What?', images: [[picture]] };
  const [a, b, c] = [await processor.process(inputs), await slow.process(inputs), await fast.process(inputs)];
  assert.equal(b.pixel_values, a.pixel_values);
  assert.equal(c.input_ids, a.input_ids);
  assert.equal(c.pixel_values!.dims, a.pixel_values!.dims);
  assert.not.equal(c.pixel_values!.data, a.pixel_values!.data);
  const cropped = await fast.process({
    ...inputs,
    do_center_crop: true,
    crop_size: { height: 64, width: 64 },
  });
  assert.ok(cropped.pixel_values!.dims[1] < c.pixel_values!.dims[1]);
});

test('the video processor reads video_preprocessor_config.json before preprocessor_config.json', () => {
  const files = readFiles(OWN);
  const own = SmolVLMProcessor.from_files(files);
  assert.equal(own.video_processor.max_image_size, { longest_edge: 64 });
  assert.is(own.video_processor.num_frames, undefined);
  const video = {
    video_sampling: { max_frames: 7, fps: 2, video_size: { longest_edge: 96 } },
    max_image_size: { longest_edge: 32 },
  };
  const both = SmolVLMProcessor.from_files({
    ...files,
    'video_preprocessor_config.json': JSON.stringify(video),
  });
  assert.is(both.video_processor.num_frames, 7);
  assert.is(both.video_processor.fps, 2);
  assert.equal(both.video_processor.size, { longest_edge: 96 });
  assert.equal(both.video_processor.max_image_size, { longest_edge: 32 });
  assert.equal(both.image_processor.max_image_size, { longest_edge: 64 });
});

test('save_pretrained to a folder and to a Map: from_pretrained gives the same processor again', async () => {
  const own = await SmolVLMProcessor.from_pretrained(EMBEDDED, {
    padding_side: 'left',
    size: { longest_edge: 128 },
  });
  own.image_processor.do_image_splitting = true;
  own.video_processor.num_frames = 5;
  const folder = join(mkdtempSync(join(tmpdir(), 'smolvlm-save-')), 'deeper');
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  await own.save_pretrained(folder);
  await own.save_pretrained(files);
  assert.equal(readdirSync(folder).sort(), [...files.keys()].sort());
  const messages = [
    {
      role: 'user',
      content: [
        { type: 'image', image: picture },
        { type: 'text', text: 'What?' },
      ],
    },
  ];
  const options = { tokenize: true, add_generation_prompt: true } as const;
  const want = await own.apply_chat_template(messages, options);
  assert.ok(want.rows![0][0] > 0);
  for (const place of [folder, files]) {
    const again = await AutoProcessor.from_pretrained(place);
    assert.equal(await again.apply_chat_template(messages, options), want);
    assert.is(again.tokenizer.padding_side, 'left');
    assert.is(again.video_processor.num_frames, 5);
    assert.equal(again.tokenizer.special_tokens_map, own.tokenizer.special_tokens_map);
  }
  const file = join(folder, 'file');
  writeFileSync(file, '');
  for (const target of [file, '', 7]) {
    const error = await refusal(() => own.save_pretrained(target as never));
    assert.instance(error, InputError, String(target));
    assert.is(error.where, 'save_pretrained');
  }
});

test.run();
