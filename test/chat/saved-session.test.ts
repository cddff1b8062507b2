import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import { writeSafetensors } from '../../src/checkpoint/safetensors-writer.js';
import { bytesSource } from '../../src/checkpoint/source.js';
import { CheckpointError, InputError } from '../../src/index.js';
import { bytesOf, load, PICTURE, rejection } from './support.js';

const vlm = await load();

test('a restored session goes on as the saved one does: messages, options, pictures', async () => {
  const chat = vlm.chat({ system: 'You are brief.', max_new_tokens: 5 });
  await chat.send('How many shapes are there?', { images: PICTURE });
  const bytes = await chat.save();
  const other = await load();
  const restored = await other.restore(bytes);
  assert.equal(restored.messages, chat.messages);
  assert.equal(restored.options, chat.options);
  const question = 'What is the colour of the star?';
  assert.equal((await restored.send(question)).ids, (await chat.send(question)).ids);
  other.dispose();
});

test('pixels, arrays, Blobs and URLs come back as what they were or hold; one picture is saved once', async () => {
  const image = bytesOf(PICTURE);
  const pixels = { data: new Uint8ClampedArray(12).fill(200), width: 2, height: 2, channels: 3 };
  const array = { data: new Float32Array(12).fill(0.5), dims: [3, 2, 2] };
  const chat = vlm.chat({
    messages: [
      {
        role: 'user',
        content: [
          { type: 'image', image },
          { type: 'image', image },
          { type: 'image', image: new Blob([image as Uint8Array<ArrayBuffer>]) },
          { type: 'image', image: pixels },
          { type: 'image', image: array },
          { type: 'text', text: 'What?' },
        ],
      },
    ],
  });
  const bytes = await chat.save();
  const file = await openSafetensors(bytesSource(bytes));
  assert.is(file.tensors.size, 4);
  const content = (await vlm.restore(bytes)).messages[0].content as { image?: unknown }[];
  assert.equal(content[0].image, image);
  assert.is(content[1].image, content[0].image);
  assert.equal(content[2].image, image);
  assert.equal((content[3].image as typeof pixels).width, 2);
  assert.equal(Array.from((content[3].image as typeof pixels).data), Array.from(pixels.data));
  assert.equal((content[4].image as typeof array).data, array.data);
});

test('saved with its cache, a session goes on in another engine where it stopped, with the bits of a fresh run', async () => {
  const chat = vlm.chat();
  const first = await chat.send('How many shapes are there?', { images: PICTURE });
  const bytes = await chat.save({ cache: true });
  for (const threads of [1, 2]) {
    const other = await load({ threads });
    const restored = await other.restore(bytes);
    // The prompt and the answer but for its last token, which no pass has seen.
    assert.is(restored.restored_tokens, first.usage.total_tokens - 1);
    assert.equal(restored.messages, chat.messages);
    const scores: Float32Array[][] = [[], []];
    const record = (list: Float32Array[]) => ({
      logits_processor: [(_: unknown, values: Float32Array) => void list.push(values.slice())] as never,
    });
    const question = 'What is the colour of the star?';
    const warm = await restored.send(question, record(scores[0]));
    assert.is(warm.usage.cached_tokens, restored.restored_tokens);
    assert.is(warm.usage.tiles_encoded, 0);
    other.model.prefix_cache.clear();
    other.model.image_cache.clear();
    const messages = restored.messages.slice(0, -1);
    const cold = await other.chat({ messages }).answer(record(scores[1]));
    assert.is(cold.usage.cached_tokens, 0);
    assert.ok(scores[0].length > 1);
    assert.equal(scores[0], scores[1]);
    other.dispose();
  }
});

test('the cache of other weights, of another dtype, or of another kind of KV cache is left alone', async () => {
  const chat = vlm.chat();
  const { text } = await chat.send('How many shapes are there?', { images: PICTURE });
  const bytes = await chat.save({ cache: true });
  const others = [
    await load({ dtype: 'int8' }),
    await load({ dtype: 'bfloat16' }),
    await load({ kv_cache_dtype: 'bfloat16' }),
  ];
  const changed = await load();
  const { weight } = await changed.model.get_input_embeddings();
  (weight.data as Float32Array)[5] += 1;
  await changed.model.set_input_embeddings(weight);
  for (const other of [...others, changed]) {
    const restored = await other.restore(bytes);
    assert.is(restored.restored_tokens, 0);
    assert.is((restored.messages[1].content[0] as { text: string }).text, text);
    const { usage } = await restored.send('Is there a star?');
    assert.is(usage.cached_tokens, 0);
    other.dispose();
  }
});

test('a saved cache that does not fit its tokens: an error with both sizes; nothing is kept, no memory is lost', async () => {
  const chat = vlm.chat();
  await chat.send('How many shapes are there?', { images: PICTURE });
  const inputs = await vlm.processor.apply_chat_template(chat.messages, { tokenize: true });
  const { input_ids, attention_mask, pixel_values, pixel_attention_mask } = inputs;
  const prompt = { input_ids, attention_mask, pixel_values, pixel_attention_mask };
  const saved = await vlm.model.save_prefix(prompt);
  assert.ok(saved);
  const other = await load();
  const before = await other.model.restore_prefix(prompt, { ...saved, fingerprint: '' });
  assert.is(before, 0);
  const short = { ...saved, slabs: saved.slabs.slice(1) };
  const error = await rejection(other.model.restore_prefix(prompt, short));
  assert.instance(error, InputError);
  assert.is(error.where, 'slabs');
  assert.match(String(error.expected), /^1 slabs of \d+ bytes for \d+ tokens$/);
  assert.is(error.got, `${saved.slabs.length - 1} bytes`);
  assert.equal([other.model.prefix_cache.size, other.model.prefix_cache.bytes], [0, 0]);
  assert.is(await other.model.restore_prefix(prompt, saved), saved.ids.length);
  assert.is(other.model.prefix_cache.bytes, saved.slabs.length);
  const batch = { ...prompt, input_ids: { data: new Int32Array(4), dims: [2, 2] } };
  assert.is((await rejection(other.model.save_prefix(batch))).got, '[2,2]');
  other.dispose();
});

test('what no file can hold: InputError naming the place', async () => {
  const load_image = async () => bytesOf(PICTURE);
  const error = await rejection(vlm.chat({ processor_options: { load_image } }).save());
  assert.instance(error, InputError);
  assert.is(error.where, 'options.processor_options.load_image');
  assert.is(error.got, 'a function');
});

test('bytes that are no saved session: CheckpointError with where, expected and got', async () => {
  const session = (text: string, format = 'smolvlm-session/1') =>
    writeSafetensors({}, { format, session: text });
  const cases: [Uint8Array, RegExp, string, string][] = [
    [writeSafetensors({}, {}), /format/, 'smolvlm-session/1', 'none'],
    [session('{}', 'smolvlm-session/2'), /format/, 'smolvlm-session/1', 'smolvlm-session/2'],
    [session('{"messages":3,"options":{}}'), /messages/, 'a list', 'number'],
    [session('{"messages":[],"options":3}'), /options/, 'an object', 'number'],
    [
      session('{"messages":[{"role":"user"}],"options":{}}'),
      /conversation\[0\]/,
      'a string or a list',
      'undefined',
    ],
    [session('{"messages":[{"$tensor":"x"}],"options":{}}'), /array x/, 'a tensor of this name', 'none'],
  ];
  for (const [bytes, where, expected, got] of cases) {
    const error = await rejection(vlm.restore(bytes));
    assert.instance(error, CheckpointError);
    assert.match(String(error.where), where);
    assert.is(error.expected, expected);
    assert.is(error.got, got);
  }
  const good = await vlm.chat({ messages: [{ role: 'user', content: 'Hello.' }] }).save();
  for (let length = 0; length < good.length; length += 7) {
    assert.instance(await rejection(vlm.restore(good.slice(0, length))), CheckpointError);
  }
});

test.after(() => vlm.dispose());
test.run();
