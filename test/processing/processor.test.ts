import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CheckpointError, ConfigError, InputError, type SmolVLMError } from '../../src/errors.js';
import {
  type ChatMessage,
  SmolVLMImageProcessor,
  SmolVLMProcessor,
  type SmolVLMTokenizer,
} from '../../src/processing/index.js';
import { fixtureBytes, sha256 } from './pictures.js';
import { loadProcessor, OWN, readFiles } from './text-fixtures.js';

const processor = loadProcessor(OWN);
const picture = fixtureBytes('rgb_8.png');

async function error(action: () => unknown): Promise<SmolVLMError> {
  try {
    await action();
  } catch (thrown) {
    return thrown as SmolVLMError;
  }
  throw new Error('nothing was thrown');
}

test('a string as content is one piece of text', () => {
  const text: ChatMessage[] = [{ role: 'user', content: 'who are you?' }];
  const piece: ChatMessage[] = [{ role: 'user', content: [{ type: 'text', text: 'who are you?' }] }];
  const prompt = processor.apply_chat_template(text, { add_generation_prompt: true });
  assert.is(prompt, '<|im_start|>User: who are you?<end_of_utterance>\nAssistant:');
  assert.is(prompt, processor.apply_chat_template(piece, { add_generation_prompt: true }));
  assert.equal(processor.apply_chat_template([text, piece]), [prompt.slice(0, -10), prompt.slice(0, -10)]);
});

test('pictures of messages arrive as bytes, pixels, base64, data URL, and by load_image, all the same', async () => {
  const base64 = Buffer.from(picture).toString('base64');
  const asked: unknown[] = [];
  const load_image = async (source: unknown) => {
    asked.push(source);
    return picture;
  };
  const sources = [
    { image: picture },
    { base64 },
    { url: `data:image/png;base64,${base64}` },
    { url: 'https://example.org/a.png' },
    { path: 'a.png' },
    { image: 'b.png' },
  ];
  const hashes = new Set<string>();
  for (const source of sources) {
    const content = [
      { type: 'image', ...source },
      { type: 'text', text: 'What?' },
    ];
    const out = await processor.apply_chat_template([{ role: 'user', content }], {
      tokenize: true,
      load_image,
    });
    hashes.add(`${sha256(out.pixel_values!.data)} ${out.input_ids.data.join()}`);
  }
  assert.is(hashes.size, 1);
  assert.equal(asked, [{ url: 'https://example.org/a.png' }, { path: 'a.png' }, { path: 'b.png' }]);
});

test('pictures in several messages of several conversations stay with their conversation', async () => {
  const image = { type: 'image', image: picture };
  const ask = { type: 'text', text: 'What?' };
  const two: ChatMessage[] = [
    { role: 'user', content: [image, ask] },
    { role: 'assistant', content: 'Noise.' },
    { role: 'user', content: [image, image, ask] },
  ];
  const none: ChatMessage[] = [{ role: 'user', content: 'who are you?' }];
  const out = await processor.apply_chat_template([two, none], { tokenize: true, do_image_splitting: false });
  assert.equal(out.pixel_values!.dims, [2, 3, 3, 64, 64]);
  assert.equal(out.rows, [[0, 0, 0], []]);
  const mask = out.pixel_attention_mask!;
  assert.equal(mask.dims, [2, 3, 64, 64]);
  const half = mask.data.length / 2;
  assert.ok(mask.data.subarray(0, half).every((value) => value === 1));
  assert.ok(mask.data.subarray(half).every((value) => value === 0));
  const [batch, length] = out.input_ids.dims;
  assert.is(batch, 2);
  const alone = await processor.apply_chat_template(none, { tokenize: true });
  const short = alone.input_ids.dims[1];
  assert.equal(out.input_ids.data.slice(2 * length - short), alone.input_ids.data, 'padded on the left');
  assert.is(out.attention_mask.data.slice(length).filter((value) => value === 1n).length, short);
  const images = Array.from(out.input_ids.data).filter(
    (id) => id === BigInt(processor.image_token_id),
  ).length;
  assert.is(images, 3 * processor.image_seq_len);
});

test('messages that cannot be rendered: InputError with their place', async () => {
  const cases: [unknown, string, string][] = [
    [[], 'conversation', 'an empty list'],
    [[{ content: 'x' }], 'conversation[0]', 'undefined'],
    [[{ role: 'user' }], 'conversation[0]', 'undefined'],
    [[{ role: 'user', content: [{ type: 'audio', path: 'a.wav' }] }], 'conversation[0].content[0]', 'audio'],
    [[{ role: 'user', content: [{ type: 'text' }] }], 'conversation[0].content[0]', 'undefined'],
  ];
  for (const [messages, where, got] of cases) {
    const thrown = await error(() => processor.apply_chat_template(messages as ChatMessage[]));
    assert.instance(thrown, InputError);
    assert.is(thrown.where, where);
    assert.is(thrown.got, got);
  }
  const message = { role: 'user', content: [{ type: 'image', path: 'a.png' }] };
  const thrown = await error(() => processor.apply_chat_template([message], { tokenize: true }));
  assert.instance(thrown, InputError);
  assert.is(thrown.where, 'conversation[0][0].content[0]: a.png');
  assert.is(thrown.got, 'no file');
});

test('chat_template.jinja goes before chat_template.json before tokenizer_config.json; without one it is an error', async () => {
  const files = readFiles(OWN);
  const hello: ChatMessage[] = [{ role: 'user', content: 'x' }];
  const config = JSON.parse(files['tokenizer_config.json']!);
  const withConfig = {
    ...files,
    'tokenizer_config.json': JSON.stringify({ ...config, chat_template: 'config' }),
  };
  assert.is(
    SmolVLMProcessor.from_files({ ...withConfig, 'chat_template.jinja': 'jinja' }).apply_chat_template(hello),
    'jinja',
  );
  assert.match(SmolVLMProcessor.from_files(withConfig).apply_chat_template(hello), 'User: x');
  const { 'chat_template.json': _, ...rest } = withConfig;
  assert.is(SmolVLMProcessor.from_files(rest).apply_chat_template(hello), 'config');
  const bare = SmolVLMProcessor.from_files({
    ...rest,
    'tokenizer_config.json': files['tokenizer_config.json'],
  });
  const thrown = await error(() => bare.apply_chat_template(hello));
  assert.instance(thrown, CheckpointError);
  assert.match(thrown.where, 'chat_template.jinja');
  assert.is(bare.apply_chat_template(hello, { chat_template: '{{ messages | length }}' }), '1');
  const broken = await error(() => bare.apply_chat_template(hello, { chat_template: '{% for %}' }));
  assert.instance(broken, CheckpointError);
  assert.is(broken.where, 'chat_template');
});

test('image_seq_len: the option before processor_config.json before the reference default 169', () => {
  const files = readFiles(OWN);
  assert.is(SmolVLMProcessor.from_files(files).image_seq_len, 16);
  assert.is(SmolVLMProcessor.from_files(files, { image_seq_len: 64 }).image_seq_len, 64);
  const { 'processor_config.json': _, ...rest } = files;
  assert.is(SmolVLMProcessor.from_files(rest).image_seq_len, 169);
  assert.throws(
    () => SmolVLMProcessor.from_files(files, { image_seq_len: 0 }),
    (e: unknown) => e instanceof ConfigError,
  );
});

test('missing or damaged files: CheckpointError naming the file', async () => {
  const files = readFiles(OWN);
  for (const name of [
    'tokenizer_config.json',
    'preprocessor_config.json',
    'processor_config.json',
    'chat_template.json',
  ]) {
    const thrown = await error(() => SmolVLMProcessor.from_files({ ...files, [name]: '{"x": ' }));
    assert.instance(thrown, CheckpointError);
    assert.is(thrown.where, name);
  }
  for (const text of [undefined, '7', '{}', '{"model": {"type": "Unheard"}}']) {
    const thrown = await error(() =>
      SmolVLMProcessor.from_files({ ...files, 'tokenizer.json': text as string }),
    );
    assert.instance(thrown, CheckpointError, `${text}: ${thrown}`);
    assert.is(thrown.where, 'tokenizer.json');
  }
});

test('options of the image processor are checked: ConfigError naming the field', async () => {
  const cases: [object, string][] = [
    [{ size: { shortest_edge: 5 } }, 'size'],
    [{ size: { longest_edge: 0 } }, 'size'],
    [{ max_image_size: { height: 5, width: 5 } }, 'max_image_size'],
    [{ max_image_size: -1 }, 'max_image_size'],
    [{ do_pad: 'yes' }, 'do_pad'],
    [{ rescale_factor: 'x' }, 'rescale_factor'],
    [{ image_mean: ['x'] }, 'image_mean'],
    [{ image_processor_type: 'SmolVLMImageProcessorFast' }, 'image_processor_type'],
    [{ resample: 9 }, 'resample'],
  ];
  for (const [config, field] of cases) {
    const thrown = await error(() => new SmolVLMImageProcessor(config));
    assert.instance(thrown, ConfigError, field);
    assert.match(thrown.where, field);
  }
  assert.equal(new SmolVLMImageProcessor({ max_image_size: 512 }).max_image_size, { longest_edge: 512 });
  assert.is(new SmolVLMImageProcessor({ image_processor_type: 'Idefics3ImageProcessor' }).resample, 1);
});

test('get_number_of_image_patches counts the tiles that preprocess makes', async () => {
  const options = { size: { longest_edge: 256 }, max_image_size: { longest_edge: 64 } };
  const images = new SmolVLMImageProcessor(options);
  for (const [height, width] of [
    [100, 80],
    [64, 64],
    [30, 900],
    [7, 300],
    [301, 299],
  ]) {
    const [count, rows, cols] = images.get_number_of_image_patches(height, width);
    const data = new Uint8Array(height * width * 3);
    const made = await images.preprocess({ data, width, height, channels: 3 });
    assert.equal(
      [made.pixel_values.dims[1], made.rows[0][0], made.cols[0][0]],
      [count, rows, cols],
      `${height}×${width}`,
    );
  }
  assert.equal(images.get_number_of_image_patches(100, 80, { do_image_splitting: false }), [1, 1, 1]);
});

test('batch_decode takes rows and tensors, leaves unknown ids out, and checks the shape', async () => {
  const tokenizer = processor.tokenizer as SmolVLMTokenizer;
  const a = tokenizer.encode('red square');
  const b = [...tokenizer.encode('blue'), 999999, ...tokenizer.encode('<end_of_utterance>')];
  assert.equal(processor.batch_decode([a, b]), ['red square', 'blue<end_of_utterance>']);
  assert.equal(processor.batch_decode([a, b], { skip_special_tokens: true }), ['red square', 'blue']);
  const data = BigInt64Array.from([...a, ...a].map(BigInt));
  assert.equal(processor.batch_decode({ data, dims: [2, a.length] }), ['red square', 'red square']);
  assert.is(processor.decode([]), '');
  const thrown = await error(() => processor.batch_decode({ data, dims: [3, a.length] }));
  assert.instance(thrown, InputError);
  assert.match(thrown.got!, `[3,${a.length}]`);
});

test('texts of different lengths without padding: InputError with the lengths', async () => {
  const thrown = await error(() => processor.process({ text: ['red', 'red red red'], padding: false }));
  assert.instance(thrown, InputError);
  assert.is(thrown.where, 'padding');
  assert.match(thrown.got!, /^\d+, \d+$/);
  const right = await processor.process({ text: ['red', 'red red red'], padding_side: 'right' });
  assert.is(right.attention_mask.data[0], 1n);
  assert.is(right.input_ids.data[right.input_ids.dims[1] - 1], BigInt(processor.tokenizer.pad_token_id!));
});

test.run();
