import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type AnswerProgress, DisposedError, InputError } from '../../src/index.js';
import { root } from '../support/paths.js';
import { ANSWER, bytesOf, load, OTHER_PICTURE, PICTURE, rejection } from './support.js';

const vlm = await load();

test('describe gives the ids and the text of apply_chat_template, generate and decode', async () => {
  const content = [
    { type: 'image' as const, path: PICTURE },
    { type: 'text' as const, text: 'What is the colour of the star?' },
  ];
  const inputs = await vlm.processor.apply_chat_template([{ role: 'user', content }], {
    add_generation_prompt: true,
    tokenize: true,
  });
  const sequences = await vlm.model.generate({ ...inputs, max_new_tokens: 64 });
  const ids = Array.from(sequences.data).slice(inputs.input_ids.dims[1]);
  const answer = await vlm.describe(PICTURE, 'What is the colour of the star?');
  assert.equal(answer.ids, ids);
  assert.is(answer.text, vlm.processor.decode(ids, { skip_special_tokens: true }).trimStart());
  assert.is(answer.usage.prompt_tokens, inputs.input_ids.dims[1]);
  assert.is(answer.usage.completion_tokens, ids.length);
});

test('the pieces, joined, are the text; usage, timings and finish_reason are there', async () => {
  vlm.model.prefix_cache.clear();
  vlm.model.image_cache.clear();
  let text = '';
  let count = 0;
  const answer = vlm.describe(PICTURE);
  for await (const piece of answer) {
    text += piece;
    count++;
  }
  assert.is(text, ANSWER);
  assert.ok(count > 5, `${count} pieces`);
  const { usage, timings, finish_reason, ids } = await answer;
  assert.is(finish_reason, 'stop');
  assert.equal(usage, {
    prompt_tokens: 30,
    cached_tokens: 0,
    completion_tokens: ids.length,
    total_tokens: 30 + ids.length,
    tiles: 1,
    tiles_encoded: 1,
  });
  assert.ok(timings.processing_ms > 0 && timings.processing_ms < timings.first_token_ms);
  assert.ok(timings.first_token_ms < timings.total_ms && timings.tokens_per_second > 0);
  const again = await vlm.describe(PICTURE);
  assert.is(again.text, ANSWER);
  assert.is(again.usage.tiles, 1);
  assert.is(again.usage.tiles_encoded, 0);
  assert.is(again.usage.cached_tokens, 29);
});

test('a picture by path, file URL, bytes, Blob, data URL, pixels, array or piece gives the same answer', async () => {
  const bytes = bytesOf(PICTURE);
  const url = pathToFileURL(PICTURE);
  const base64 = Buffer.from(bytes).toString('base64');
  const { decodeImage } = await import('../../src/index.js');
  const { data, width, height, channels } = await decodeImage(bytes);
  const sources = [
    PICTURE,
    url,
    url.href,
    bytes,
    bytes.buffer as ArrayBuffer,
    new Blob([bytes as Uint8Array<ArrayBuffer>]),
    `data:image/png;base64,${base64}`,
    { data, width, height, channels },
    { type: 'image' as const, path: PICTURE },
    { type: 'image' as const, url },
    { type: 'image' as const, base64 },
    { type: 'image' as const, image: bytes },
  ];
  for (const [i, source] of sources.entries()) {
    assert.is((await vlm.describe(source as never)).text, ANSWER, `source ${i}`);
  }
});

test('several pictures, and videos told by name, bytes or shape', async () => {
  const both = await vlm.describe([PICTURE, OTHER_PICTURE], 'What is there?');
  assert.is(both.usage.tiles, 2);
  const gif = join(root, 'test/fixtures/video/plain.gif');
  const video = { type: 'video' as const, path: gif };
  const { usage } = await vlm.describe(video, 'What happens?', { max_new_tokens: 2 });
  assert.ok(usage.tiles > 1, `${usage.tiles} frames`);
  for (const source of [gif, pathToFileURL(gif), bytesOf(gif), new Blob([bytesOf(gif) as never])]) {
    const answer = await vlm.describe(source, 'What happens?', { max_new_tokens: 2 });
    assert.is(answer.usage.prompt_tokens, usage.prompt_tokens);
    assert.is(answer.usage.tiles, usage.tiles);
  }
});

test('progress: processing, tiles by layers, the prompt by layers, then a token at a time', async () => {
  vlm.model.prefix_cache.clear();
  vlm.model.image_cache.clear();
  const events: AnswerProgress[] = [];
  const { usage } = await vlm.describe(PICTURE, 'How many shapes are there?', {
    progress_callback: (event) => events.push(event),
  });
  const order = events.map(({ status }) => status).filter((status, i, all) => status !== all[i - 1]);
  assert.equal(order, ['processing', 'encoding', 'prefill', 'decoding']);
  const of = (status: string) => events.filter((event) => event.status === status) as never[];
  const numbers = (status: string) => of(status).map(({ done }: { done: number }) => done);
  for (const status of ['encoding', 'prefill', 'decoding']) {
    const list = numbers(status);
    assert.equal(
      list,
      [...list].sort((a, b) => a - b),
      status,
    );
    assert.ok(list.length > 2, `${status}: ${list}`);
  }
  assert.equal(numbers('encoding').at(-1), 1);
  assert.equal(numbers('prefill').at(-1), usage.prompt_tokens);
  assert.equal(
    numbers('decoding'),
    Array.from({ length: usage.completion_tokens }, (_, i) => i + 1),
  );
  const threw = new Error('no more');
  const failed = vlm.describe(PICTURE, undefined, {
    progress_callback: ({ status }) => {
      if (status === 'decoding') throw threw;
    },
  });
  assert.is(await rejection(failed), threw as never);
});

test('max_new_tokens and stop strings: finish_reason says which it was', async () => {
  const cut = await vlm.describe(PICTURE, undefined, { max_new_tokens: 3 });
  assert.is(cut.finish_reason, 'length');
  assert.is(cut.ids.length, 3);
  const stopped = await vlm.describe(PICTURE, undefined, { stop_strings: ['star'] });
  assert.is(stopped.text, 'A red star');
  assert.is(stopped.finish_reason, 'stop');
  const { max_position_embeddings: context } = vlm.model.config.text_config;
  const most = await vlm.describe(PICTURE, undefined, { max_new_tokens: 4000, eos_token_id: [] });
  assert.is(most.usage.total_tokens, context);
  assert.is(most.finish_reason, 'length');
  const short = await vlm.describe(PICTURE, undefined, { max_length: 34 });
  assert.is(short.usage.total_tokens, 34);
  assert.is(short.finish_reason, 'length');
  const whole = await vlm.describe(PICTURE);
  const exact = await vlm.describe(PICTURE, undefined, { max_new_tokens: whole.ids.length });
  assert.is(exact.finish_reason, 'stop');
});

test('beam search and sampling: the text comes too, and a seed repeats it', async () => {
  const beams = await vlm.describe(PICTURE, undefined, { num_beams: 3 });
  assert.is(beams.text, ANSWER);
  const options = { do_sample: true, temperature: 2, seed: 5, max_new_tokens: 12 };
  const [a, b] = [
    await vlm.describe(PICTURE, undefined, options),
    await vlm.describe(PICTURE, undefined, options),
  ];
  assert.equal(a.ids, b.ids);
  assert.not.equal(a.ids, (await vlm.describe(PICTURE, undefined, { ...options, seed: 6 })).ids);
});

test('answers asked for at once are those asked for one by one', async () => {
  const questions = ['How many shapes are there?', 'Is there a star?', 'Describe this image.'];
  const alone: string[] = [];
  for (const question of questions) alone.push((await vlm.describe(OTHER_PICTURE, question)).text);
  vlm.model.prefix_cache.clear();
  const together = await Promise.all(questions.map((question) => vlm.describe(OTHER_PICTURE, question)));
  assert.equal(
    together.map(({ text }) => text),
    alone,
  );
});

test('wrong inputs: InputError with where, expected and got', async () => {
  const cases: [PromiseLike<unknown>, RegExp, string, string][] = [
    [vlm.describe([]), /^media$/, 'at least one picture or video', 'an empty list'],
    [vlm.describe(7 as never), /^media\[0\]$/, 'a path, URL, bytes, Blob, pixels or a piece', 'number'],
    [
      vlm.describe('no-such.png'),
      /content\[0\]/,
      'a URL with http:// or https://, the path of a file, a data URL or base64',
      'no file',
    ],
    [
      vlm.describe(PICTURE, 'x', { num_return_sequences: 2 } as never),
      /^num_return_sequences$/,
      'no such option (model.generate has it)',
      '2',
    ],
    [
      vlm.describe(PICTURE, 'x', { streamer: {} } as never),
      /^streamer$/,
      'no such option (model.generate has it)',
      'an object',
    ],
    [
      vlm.describe(PICTURE, 'x', { max_tokens: 2 } as never),
      /max_tokens/,
      'an input of the model, an option of generation, or a hook',
      'max_tokens',
    ],
  ];
  for (const [promise, where, expected, got] of cases) {
    const error = await rejection(promise);
    assert.instance(error, InputError);
    assert.match(String(error.where), where);
    assert.is(error.expected, expected);
    assert.is(error.got, got);
  }
});

test('after dispose() answers under way and new ones reject with DisposedError', async () => {
  const other = await load();
  const running = other.describe(PICTURE);
  const loop = (async () => {
    for await (const _ of running) other.dispose();
  })();
  assert.instance(await rejection(loop), DisposedError);
  assert.instance(await rejection(running), DisposedError);
  assert.instance(await rejection(other.describe(PICTURE)), DisposedError);
});

test.after(() => vlm.dispose());
test.run();
