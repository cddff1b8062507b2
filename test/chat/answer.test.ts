import { getEventListeners } from 'node:events';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Answer, type AnswerResult } from '../../src/chat/answer.js';
import { InputError } from '../../src/errors.js';

const RESULT: AnswerResult = {
  text: 'one two three',
  ids: [1, 2, 3],
  finish_reason: 'stop',
  usage: {
    prompt_tokens: 1,
    cached_tokens: 0,
    completion_tokens: 3,
    total_tokens: 4,
    tiles: 0,
    tiles_encoded: 0,
  },
  timings: { processing_ms: 0, first_token_ms: 1, total_ms: 3, tokens_per_second: 1000 },
};
const PIECES = ['one', ' two', ' three'];
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Three pieces, each after a turn of the event loop. */
async function pieces(emit: (piece: string) => void, signal: AbortSignal): Promise<AnswerResult> {
  for (const piece of PIECES) {
    await turn();
    signal.throwIfAborted();
    emit(piece);
  }
  return RESULT;
}

async function collect(answer: Answer): Promise<string[]> {
  const list: string[] = [];
  for await (const piece of answer) list.push(piece);
  return list;
}

async function rejection(promise: PromiseLike<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

test('an answer may be iterated and awaited, several times, before and after it is whole', async () => {
  const answer = new Answer(pieces);
  assert.is(answer.text, '');
  const lists = await Promise.all([collect(answer), collect(answer)]);
  assert.equal(lists, [PIECES, PIECES]);
  assert.is(await answer, RESULT);
  assert.is(await answer, RESULT);
  assert.equal(await collect(answer), PIECES);
  assert.is(answer.text, RESULT.text);
});

test('leaving a loop early cancels the answer; one that is whole stays so', async () => {
  const answer = new Answer(pieces);
  for await (const piece of answer) {
    assert.is(piece, 'one');
    break;
  }
  const error = (await rejection(answer)) as Error;
  assert.is(error.name, 'AbortError');
  assert.is(answer.text, 'one');
  const whole = new Answer(pieces);
  await whole;
  for await (const _ of whole) break;
  assert.is(await whole, RESULT);
});

test('a signal cancels with its own reason, in the loop and at the await, and keeps no listener', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const done = new Answer(pieces, controller.signal);
  await done;
  assert.is(getEventListeners(controller.signal, 'abort').length, 0);
  const answer = new Answer(pieces, controller.signal);
  assert.is(getEventListeners(controller.signal, 'abort').length, 1);
  controller.abort(reason);
  assert.is(await rejection(collect(answer)), reason);
  assert.is(await rejection(answer), reason);
  assert.is(getEventListeners(controller.signal, 'abort').length, 0);
  const late = new Answer(pieces, controller.signal);
  assert.is(await rejection(late), reason);
  assert.is(getEventListeners(controller.signal, 'abort').length, 0);
});

test('a failure reaches the loop, after the pieces before it, and the await; nobody looking is no unhandled rejection', async () => {
  const failure = new InputError({ what: 'it failed', where: 'here', expected: 'this', got: 'that' });
  const answer = new Answer(async (emit) => {
    emit('one');
    await turn();
    throw failure;
  });
  const seen: string[] = [];
  const loop = (async () => {
    for await (const piece of answer) seen.push(piece);
  })();
  assert.is(await rejection(loop), failure);
  assert.equal(seen, ['one']);
  assert.is(await rejection(answer), failure);
  let unhandled = 0;
  const count = () => unhandled++;
  process.on('unhandledRejection', count);
  new Answer(async () => {
    throw failure;
  });
  await turn();
  await turn();
  process.off('unhandledRejection', count);
  assert.is(unhandled, 0);
});

test.run();
