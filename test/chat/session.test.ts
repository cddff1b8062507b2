import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ChatSession, InputError, type SendOptions } from '../../src/index.js';
import { bytesOf, load, OTHER_PICTURE, PICTURE, rejection } from './support.js';

const vlm = await load();
const fresh = await load({ prefix_cache_bytes: 0, image_cache_bytes: 0 });

/** Scores of every step. */
function recorder(): { scores: Float32Array[]; options: SendOptions } {
  const scores: Float32Array[] = [];
  const logits_processor = [
    (_: unknown, values: Float32Array) => {
      scores.push(values.slice());
      return values;
    },
  ];
  return { scores, options: { logits_processor: logits_processor as never } };
}

test('a second turn computes its own tokens alone, and every score has the bits of a fresh run', async () => {
  const chat = vlm.chat();
  const first = await chat.send('How many shapes are there?', { images: PICTURE });
  assert.is(first.usage.tiles_encoded, 1);
  const cached = recorder();
  const second = await chat.send('What is the colour of the star?', cached.options);
  assert.is(second.usage.tiles_encoded, 0);
  // Known are the first turn's prompt and the answer's tokens but for the last, which no pass has seen.
  assert.is(second.usage.cached_tokens, first.usage.total_tokens - 1);
  const alone = recorder();
  const messages = chat.messages.slice(0, -1);
  const again = await fresh.chat({ messages }).answer(alone.options);
  assert.is(again.usage.cached_tokens, 0);
  assert.is(again.usage.tiles_encoded, 1);
  assert.is(again.text, second.text);
  assert.ok(cached.scores.length > 1);
  assert.equal(cached.scores, alone.scores);
});

test('turns are appended in order, as text, with the pictures that were there when they were said', async () => {
  const image = bytesOf(PICTURE);
  const chat = vlm.chat({ system: 'You are brief.' });
  const one = await chat.send([{ type: 'image', image }, 'Describe this image.']);
  const two = await chat.send('Is there a star?');
  assert.equal(chat.messages, [
    { role: 'system', content: [{ type: 'text', text: 'You are brief.' }] },
    {
      role: 'user',
      content: [
        { type: 'image', image },
        { type: 'text', text: 'Describe this image.' },
      ],
    },
    { role: 'assistant', content: [{ type: 'text', text: one.text }] },
    { role: 'user', content: [{ type: 'text', text: 'Is there a star?' }] },
    { role: 'assistant', content: [{ type: 'text', text: two.text }] },
  ]);
});

test('a call that fails or is cancelled leaves the conversation as it was, and the next one goes on', async () => {
  const chat = vlm.chat();
  await chat.send('Describe this image.', { images: PICTURE });
  const before = chat.messages;
  const broken = await rejection(chat.send('And this?', { images: 'no-such.png' }));
  assert.instance(broken, InputError);
  assert.match(String(broken.where), /content\[0\]/);
  for await (const _ of chat.send('Is there a star?')) break;
  const controller = new AbortController();
  const cancelled = chat.send('Is there a star?', { signal: controller.signal });
  controller.abort();
  assert.is((await rejection(cancelled)).name, 'AbortError');
  assert.equal(chat.messages, before);
  await chat.send('Is there a star?');
  assert.is(chat.messages.length, 4);
});

test('calls made at once are answered one after the other, each knowing the one before', async () => {
  const chat = vlm.chat();
  const answers = [
    chat.send('How many shapes are there?', { images: PICTURE }),
    chat.send('What is the colour of the star?'),
    chat.send('What is the colour of the circle?'),
  ];
  const texts = [];
  for (const answer of answers) texts.push((await answer).text);
  const slowly = fresh.chat();
  const expected = [
    (await slowly.send('How many shapes are there?', { images: PICTURE })).text,
    (await slowly.send('What is the colour of the star?')).text,
    (await slowly.send('What is the colour of the circle?')).text,
  ];
  assert.equal(texts, expected);
  assert.is(chat.messages.length, 6);
});

test('sessions side by side do not disturb each other', async () => {
  const talk = async (chat: ChatSession, images: string) => [
    (await chat.send('Describe this image.', { images })).text,
    (await chat.send('How many shapes are there?')).text,
  ];
  const alone = [await talk(fresh.chat(), PICTURE), await talk(fresh.chat(), OTHER_PICTURE)];
  const pairs = Array.from({ length: 3 }, () => [PICTURE, OTHER_PICTURE]).flat();
  const together = await Promise.all(pairs.map((picture) => talk(vlm.chat(), picture)));
  for (const [i, texts] of together.entries()) assert.equal(texts, alone[i % 2]);
});

test('turns may be edited and dropped: the next answer is the one to what is left', async () => {
  const chat = vlm.chat();
  await chat.send('How many shapes are there?', { images: PICTURE });
  await chat.send('What is the colour of the star?');
  const dropped = chat.drop(-2, 2);
  assert.equal(
    dropped.map(({ role }) => role),
    ['user', 'assistant'],
  );
  assert.is(chat.messages.length, 2);
  chat.edit(1, 'Four.');
  const { text } = await chat.send('What is the colour of the circle?');
  const messages = [
    chat.messages[0],
    { role: 'assistant', content: 'Four.' },
    { role: 'user', content: 'What is the colour of the circle?' },
  ];
  assert.is((await fresh.chat({ messages }).answer()).text, text);
  chat.drop(-1);
  chat.edit(-1, 'What is the colour of the star?');
  const again = await chat.answer();
  const expected = [...messages.slice(0, 2), { role: 'user', content: 'What is the colour of the star?' }];
  assert.is((await fresh.chat({ messages: expected }).answer()).text, again.text);
});

test('append adds what was said elsewhere; a fork goes its own way', async () => {
  const chat = vlm.chat({ messages: [{ role: 'user', content: 'Hello.' }] });
  chat.append({ role: 'assistant', content: 'Hello.' });
  const other = chat.fork();
  await other.send('Describe this image.', { images: PICTURE });
  assert.is(chat.messages.length, 2);
  assert.is(other.messages.length, 4);
});

test('options of a session hold for its answers, those of a call go before them', async () => {
  const chat = vlm.chat({ max_new_tokens: 2 });
  assert.is((await chat.send('Describe this image.', { images: PICTURE })).ids.length, 2);
  assert.is((await chat.send('Describe it.', { max_new_tokens: 3 })).ids.length, 3);
});

test('refused: changes while an answer is under way, messages that there are not, nothing to say or to answer', async () => {
  const chat = vlm.chat();
  const answer = chat.send('Describe this image.', { images: PICTURE });
  const changes = [
    () => chat.drop(0),
    () => chat.edit(0, 'x'),
    () => chat.append({ role: 'user', content: 'x' }),
  ];
  for (const change of changes) {
    assert.throws(change, (error: InputError) => {
      return (
        error.name === 'InputError' && error.expected === 'no answer under way (await or abort it first)'
      );
    });
  }
  await answer;
  for (const index of [2, -3, 0.5]) {
    assert.throws(
      () => chat.drop(index),
      (error: InputError) => {
        return error.expected === 'an index from -2 to 1' && error.got === String(index);
      },
    );
  }
  const nothing = await rejection(chat.send(''));
  assert.is(nothing.where, 'content');
  assert.is(nothing.got, 'nothing');
  const answered = await rejection(chat.answer());
  assert.is(answered.expected, 'a last message of the user');
  assert.is(answered.got, 'assistant');
  const audio = await rejection(chat.send([{ type: 'audio', path: 'a.wav' } as never]));
  assert.match(audio.message, /audio is not supported/);
});

test('a conversation longer than the context: InputError with both lengths, and the conversation stays', async () => {
  const chat = vlm.chat();
  const context = Number(vlm.model.config.text_config.max_position_embeddings);
  const error = await rejection(chat.send('star '.repeat(context)));
  assert.instance(error, InputError);
  assert.is(error.expected, `fewer than ${context} tokens (max_position_embeddings)`);
  assert.match(String(error.got), /^\d+ tokens$/);
  assert.equal(chat.messages, []);
});

test('what a picture became is kept for the next turn, within the limit', async () => {
  const other = await load();
  const chat = other.chat();
  await chat.send('Describe this image.', { images: PICTURE });
  const { bytes } = other.feature_cache;
  assert.ok(bytes > 0 && bytes < other.feature_cache.limit, `${bytes} bytes`);
  await chat.send('Is there a star?');
  assert.is(other.feature_cache.bytes, bytes);
  other.feature_cache.limit = 1;
  await chat.send('And this?', { images: OTHER_PICTURE });
  assert.ok(other.feature_cache.bytes <= bytes);
  other.dispose();
  assert.is(other.feature_cache.bytes, 0);
});

test.after(() => {
  vlm.dispose();
  fresh.dispose();
});
test.run();
