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
