/** Options of calls and of chats. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CheckpointError, InputError, MemoryError, type SmolVLMError } from '../../src/errors.js';
import { SmolVLMProcessor } from '../../src/processing/index.js';
import { fixtureBytes } from './pictures.js';
import { loadProcessor, OWN, readFiles } from './text-fixtures.js';

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

test('options without meaning: InputError naming the option, what is expected and what was given', async () => {
  const cases: [object, string, string][] = [
    [{ padding: 'wide' }, 'padding', 'wide'],
    [{ padding_side: 'top' }, 'padding_side', 'top'],
    [{ truncation: 'half' }, 'truncation', 'half'],
    [{ truncation: 'only_second', max_length: 3 }, 'truncation', 'only_second, and no pairs'],
    [{ max_length: 0 }, 'max_length', '0'],
    [{ max_length: 2.5 }, 'max_length', '2.5'],
    [{ pad_to_multiple_of: -1 }, 'pad_to_multiple_of', '-1'],
    [{ stride: -1 }, 'stride', '-1'],
    [{ add_special_tokens: 1 }, 'add_special_tokens', '1'],
    [{ return_tensors: 'torch' }, 'return_tensors', 'torch'],
    [{ return_offsets_mapping: true }, 'return_offsets_mapping', 'true'],
    [{ return_overflowing_tokens: true }, 'return_overflowing_tokens', 'true'],
    [{ text_pair: 'x' }, 'text_pair', 'x'],
    [{ text_kwargs: { shimmer: 1 } }, 'text_kwargs.shimmer', '1'],
    [{ images_kwargs: { padding: true } }, 'images_kwargs.padding', 'true'],
    [{ padding: true, text_kwargs: { padding: true } }, 'padding', 'both'],
    [{ audio_kwargs: {} }, 'audio_kwargs', 'Object'],
  ];
  for (const [options, where, got] of cases) {
    const error = await refusal(() => processor.process({ text: 'red', ...options } as never));
    assert.instance(error, InputError, `${where}: ${error}`);
    assert.is(error.where, where);
    assert.is(error.got, got);
    assert.ok(error.expected);
  }
  const crop = await refusal(() => processor.process({ images: picture, do_center_crop: true }));
  assert.instance(crop, InputError);
  assert.is(crop.where, 'do_center_crop');
});

test('padding without bounds is a MemoryError with the numbers before any memory is taken', async () => {
  for (const options of [
    { padding: 'max_length', max_length: 1e12 },
    { padding: true, pad_to_multiple_of: 1e12 },
  ] as const) {
    const error = await refusal(() => processor.process({ text: ['red', 'red'], ...options }));
    assert.instance(error, MemoryError);
    assert.is(error.got, '2 rows of 1000000000000');
  }
});

test('texts, words and media without meaning: InputError with their place', async () => {
  const cases: [object, string, string][] = [
    [{}, 'text, images, videos', 'none'],
    [{ text: null }, 'text, images, videos', 'none'],
    [{ images: picture, videos: [[[picture]]] }, 'images, videos', 'both'],
    [{ text: [['a', 'b']] }, 'text[0]', 'a list of words'],
    [{ text: ['a'], is_split_into_words: true, images: [] }, 'images', 'an empty list'],
    [{ text: 'a', is_split_into_words: true }, 'text', 'string'],
    [{ text: [[]], is_split_into_words: true }, 'text[0]', 'no words'],
    [{ text: '<video>', videos: [] }, 'videos', 'a list of 0'],
    [{ text: '<video>', videos: 7 }, 'videos', 'number'],
    [{ text: '<image>' }, 'text, images', '1'],
    [{ text: '<video><video>', videos: [[picture, picture]] }, 'text, videos', '2'],
  ];
  for (const [inputs, where, got] of cases) {
    const error = await refusal(() => processor.process(inputs as never));
    assert.instance(error, InputError, `${where}: ${error}`);
    assert.is(error.where, where);
    assert.is(error.got, got);
  }
});

test('return_tensors takes the names of frameworks, and the result is { data, dims } with every one', async () => {
  const want = await processor.process({ text: 'red' });
  for (const return_tensors of ['pt', 'np', 'tf', 'jax', 'mlx', null] as const) {
    assert.equal(await processor.process({ text: 'red', return_tensors }), want);
    assert.equal(await processor.process({ text: 'red', common_kwargs: { return_tensors } }), want);
  }
  assert.instance(want.input_ids.data, BigInt64Array);
});

test('padding_side: the call before the tokenizer before the reference default right, left where padding is left out', async () => {
  const own = SmolVLMProcessor.from_files(readFiles(OWN));
  const text = ['red', 'red and blue'];
  const first = async (options: object) => (await own.process({ text, ...options })).attention_mask.data[0];
  assert.is(await first({}), 0n);
  assert.is(await first({ padding: true }), 1n);
  assert.is(await first({ padding: true, padding_side: 'left' }), 0n);
  own.tokenizer.padding_side = 'left';
  assert.is(await first({ padding: true }), 0n);
  assert.is(await first({ padding: true, padding_side: 'right' }), 1n);
  own.tokenizer.padding_side = 'right';
  assert.is(await first({}), 1n);
});

test('a tokenizer without a pad token takes texts of equal length, and is an InputError where padding is asked for or needed', async () => {
  const files = readFiles(OWN);
  const { pad_token: _, ...config } = JSON.parse(files['tokenizer_config.json']!);
  const bare = SmolVLMProcessor.from_files({ ...files, 'tokenizer_config.json': JSON.stringify(config) });
  assert.is((await bare.process({ text: ['red', 'red'] })).input_ids.dims[0], 2);
  for (const inputs of [{ text: ['red', 'red red'] }, { text: 'red', padding: true }]) {
    const error = await refusal(() => bare.process(inputs));
    assert.instance(error, InputError);
    assert.match(error.where, 'pad_token');
  }
});

test('a post-processor adds its tokens around texts and words, outside what truncation cuts', async () => {
  const files = readFiles(OWN);
  const json = JSON.parse(files['tokenizer.json']);
  const token = (content: string) => ({ SpecialToken: { id: content, type_id: 0 } });
  const template = [token('<|im_start|>'), { Sequence: { id: 'A', type_id: 0 } }, token('<|im_end|>')];
  const id = (content: string) =>
    json.added_tokens.find((t: { content: string }) => t.content === content).id;
  const special = (content: string) => ({ id: content, ids: [id(content)], tokens: [content] });
  json.post_processor = {
    type: 'TemplateProcessing',
    single: template,
    pair: template,
    special_tokens: {
      '<|im_start|>': special('<|im_start|>'),
      '<|im_end|>': special('<|im_end|>'),
    },
  };
  const own = SmolVLMProcessor.from_files({ ...files, 'tokenizer.json': JSON.stringify(json) });
  const options = { return_special_tokens_mask: true } as const;
  const plain = Array.from(
    (await own.process({ text: 'red and blue', add_special_tokens: false })).input_ids.data,
  );
  const [start, end] = [BigInt(id('<|im_start|>')), BigInt(id('<|im_end|>'))];
  const whole = await own.process({ text: 'red and blue', ...options });
  assert.equal(Array.from(whole.input_ids.data), [start, ...plain, end]);
  assert.equal(Array.from(whole.special_tokens_mask!.data), [1n, ...plain.map(() => 0n), 1n]);
  const cut = await own.process({ text: 'red and blue', truncation: true, max_length: 4, ...options });
  assert.equal(Array.from(cut.input_ids.data), [start, plain[0], plain[1], end]);
  const words = await own.process({ text: ['red', ' and', ' blue'], is_split_into_words: true });
  assert.equal(Array.from(words.input_ids.data), [start, ...plain, end]);
  own.tokenizer.truncation_side = 'left';
  const left = await own.process({ text: 'red and blue', truncation: true, max_length: 4 });
  assert.equal(Array.from(left.input_ids.data), [start, ...plain.slice(-2), end]);
});

test('arrays with dims are pictures, of four dims several, and data_format orders the result', async () => {
  const array = (...dims: number[]) => {
    const data = Uint8Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => i * 7);
    return { data, dims };
  };
  const pixels = { data: array(8, 6, 3).data, height: 8, width: 6, channels: 3 };
  const want = await processor.process({ images: pixels });
  assert.equal((await processor.process({ images: array(8, 6, 3) })).pixel_values, want.pixel_values);
  const two = await processor.process({ images: array(2, 8, 6, 3), do_image_splitting: false });
  const { data } = array(2, 8, 6, 3);
  const each = [data.slice(0, 144), data.slice(144)].map((part) => ({ data: part, dims: [8, 6, 3] }));
  const listed = await processor.process({ images: each, do_image_splitting: false });
  assert.equal(two.pixel_values, listed.pixel_values);
  assert.equal(two.pixel_values!.dims.slice(0, 2), [1, 2]);
  const batch = await processor.process({
    images: [array(2, 8, 6, 3), array(1, 8, 6, 3)],
    do_image_splitting: false,
  });
  assert.equal(batch.rows, [[0, 0], [0]]);
  const last = await processor.process({ images: pixels, data_format: 'channels_last' });
  const [, n, c, h, w] = want.pixel_values!.dims;
  assert.equal(last.pixel_values!.dims as number[], [1, n, h, w, c]);
});

test('rows and cols follow return_row_col_info, prompts do not', async () => {
  const inputs = { text: '<image>', images: picture, do_image_splitting: true };
  const want = await processor.process(inputs);
  const got = await processor.process({ ...inputs, return_row_col_info: false });
  assert.ok(want.rows && want.cols);
  assert.is(got.rows, undefined);
  assert.is(got.cols, undefined);
  assert.equal(got.input_ids, want.input_ids);
});

test('several chat templates: default, by name, and an error that lists them', async () => {
  const files = readFiles(OWN);
  const list = [
    { name: 'default', template: 'D' },
    { name: 'terse', template: 'T' },
  ];
  const hello = [{ role: 'user', content: 'x' }];
  const from = (chat_template: unknown) =>
    SmolVLMProcessor.from_files({ ...files, 'chat_template.json': JSON.stringify({ chat_template }) });
  for (const templates of [list, { default: 'D', terse: 'T' }]) {
    const own = from(templates);
    assert.is(own.apply_chat_template(hello), 'D');
    assert.is(own.apply_chat_template(hello, { chat_template: 'terse' }), 'T');
    assert.is(own.apply_chat_template(hello, { chat_template: 'other' }), 'other');
  }
  const error = await refusal(() => from({ terse: 'T', long: 'L' }).apply_chat_template(hello));
  assert.instance(error, CheckpointError);
  assert.is(error.got, 'terse, long');
});

test('a template with {% generation %} gives no assistant masks: InputError', async () => {
  const chat_template = '{% generation %}{{ messages[0].content[0].text }}{% endgeneration %}';
  const options = { tokenize: true, chat_template, return_assistant_tokens_mask: true } as const;
  const hello = [{ role: 'user', content: [{ type: 'text', text: 'x' }] }];
  const error = await refusal(() => processor.apply_chat_template(hello, options));
  assert.instance(error, InputError);
  assert.is(error.where, 'return_assistant_tokens_mask');
});

test('the processor of the page example: splitting switched off on the image processor', async () => {
  const own = SmolVLMProcessor.from_files(readFiles(OWN));
  own.image_processor.do_image_splitting = false;
  const text = ['<image>In this image, we see', 'bla bla bla<image>'];
  const out = await own([[picture], [picture]], text, null, null, { padding: true, return_tensors: 'pt' });
  const tokens = own.tokenizer.batch_decode(out.input_ids);
  const image = `<fake_token_around_image><global-img>${'<image>'.repeat(16)}<fake_token_around_image>`;
  assert.match(tokens[0], `${image}In this image, we see`);
  assert.match(tokens[1], `bla bla bla${image}`);
});

test.run();
