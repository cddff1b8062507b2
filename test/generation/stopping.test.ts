/** What ends a row, and what keeps it from ending. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { InputError } from '../../src/errors.js';
import { type GenerateArguments, generate } from '../../src/generation/generate.js';
import { resolveOptions } from '../../src/generation/options.js';
import { stoppingCriteria } from '../../src/generation/stopping.js';
import type { HostTensor } from '../../src/runtime/tensor.js';
import { defaultsOf, rowsOf, tiny } from './support.js';

/** A tokenizer whose token is a piece of text: by default the letter of its id. */
function tokenizer(pieces: Record<number, string> = {}) {
  const decoder = new TextDecoder();
  const bytes = (id: number) =>
    (pieces[id] ?? String.fromCharCode(97 + (id % 26))).split('').map((c) => c.charCodeAt(0));
  return { decode: (ids: number[]) => decoder.decode(Uint8Array.from(ids.flatMap(bytes))) };
}

function stops(stop_strings: string | string[], pieces: Record<number, string>, ids: number[]): boolean {
  const settings = resolveOptions({ stop_strings });
  const context = { promptColumns: 0, maxColumns: 1000, tokenizer: tokenizer(pieces) };
  return stoppingCriteria(settings, context)(ids, 0);
}

test('stop strings: the reference’s own examples, with overhangs on either end', () => {
  const pieces = {
    1: 'st',
    2: 'op',
    3: 'stop',
    4: 'opera',
    5: 'sto',
    6: 'pper',
    7: 'las',
    8: 'topper',
    9: 's',
    10: 'to',
    11: 'pped',
    12: 'at',
    13: 'tion',
  };
  for (const ids of [[1, 2], [3], [1, 4], [5, 6], [7, 8], [9, 10, 11]]) {
    assert.ok(stops('stop', pieces, ids), `${ids}`);
    assert.ok(stops(['nothing', 'stop'], pieces, [12, 12, ...ids]), `${ids} after others`);
  }
  // The last token must complete it.
  for (const ids of [[3, 12], [1, 2, 12], [1, 4, 13], [2, 1], [12]])
    assert.not(stops('stop', pieces, ids), `${ids}`);
});

test('stop strings: twice in a row, longer than the text, spread over the bytes of a character', () => {
  const pieces = { 1: 'aa', 2: 'a', 3: '\u00c3', 4: '\u00a9' };
  assert.ok(stops('aaa', pieces, [1, 1]));
  assert.not(stops('aaaaa', pieces, [1, 1]));
  assert.ok(stops('a', pieces, [1, 1, 2]));
  assert.ok(stops('aé', pieces, [2, 3, 4]), 'two bytes that make one é');
  assert.not(stops('aé', pieces, [2, 3]));
  assert.not(stops('é', pieces, [3, 4, 2]));
});

test('stop strings need a tokenizer: InputError that names it', () => {
  assert.throws(
    () => stoppingCriteria(resolveOptions({ stop_strings: 'x' }), { promptColumns: 0, maxColumns: 9 }),
    (error: Error) =>
      error instanceof InputError && /stop_strings need a tokenizer \(tokenizer\)/.test(error.message),
  );
});

async function newIds(args: GenerateArguments): Promise<number[]> {
  const { model, inputs } = await tiny('one-image');
  const output = await generate(model, defaultsOf(model), { ...inputs, ...args });
  return rowsOf(output as HostTensor<Int32Array>)[0].slice(inputs.input_ids!.dims[1]);
}

const free = await newIds({ max_new_tokens: 12 });

test('a run ends with the token that completes a stop string, a stop sequence, or satisfies a criterion', async () => {
  const letters = tokenizer();
  const end = free.findIndex((id, i) => i >= 3 && !free.slice(0, i).includes(id)) + 1;
  assert.ok(end >= 4);
  const text = letters.decode(free.slice(end - 2, end));
  const first = letters.decode(free).indexOf(text) + 2;
  assert.equal(
    await newIds({ max_new_tokens: 12, stop_strings: text, tokenizer: letters }),
    free.slice(0, first),
  );
  const sequence = free.slice(end - 2, end);
  assert.equal(
    await newIds({ max_new_tokens: 12, stop_token_sequences: [[9999], sequence] }),
    free.slice(0, end),
  );
  const lengths: number[] = [];
  const stopping_criteria = [
    (ids: readonly number[]) => lengths.push(ids.length) === 5,
    { stop: (ids: readonly number[]) => ids[ids.length - 1] === free[6] },
  ];
  const ended = await newIds({ max_new_tokens: 12, stopping_criteria });
  assert.equal(ended, free.slice(0, Math.min(5, free.indexOf(free[6]) + 1)));
});

test('a stop sequence that the prompt ends in counts only new ids', async () => {
  const { inputs } = await tiny('one-image');
  const last = Number(inputs.input_ids!.data[inputs.input_ids!.data.length - 1]);
  assert.equal(
    await newIds({ max_new_tokens: 3, stop_token_sequences: [[last, free[0]]] }),
    free.slice(0, 3),
  );
});

test('eos: a number, a list, none, and negative ones that nothing has', async () => {
  const at = free.indexOf(free[4]) + 1;
  assert.equal(await newIds({ max_new_tokens: 8, eos_token_id: free[4] }), free.slice(0, at));
  assert.equal(await newIds({ max_new_tokens: 8, eos_token_id: [9999, free[4]] }), free.slice(0, at));
  for (const eos_token_id of [[], null, -1]) {
    assert.equal(await newIds({ max_new_tokens: 8, eos_token_id }), free.slice(0, 8));
  }
});

test('min_new_tokens and min_length keep the eos away, max_new_tokens goes before max_length, 20 is the default', async () => {
  const { inputs } = await tiny('one-image');
  const columns = inputs.input_ids!.dims[1];
  const eos_token_id = free[0];
  assert.equal(await newIds({ eos_token_id }), [free[0]]);
  for (const bound of [{ min_new_tokens: 4 }, { min_length: columns + 4 }]) {
    const ids = await newIds({ eos_token_id, ...bound });
    assert.ok(ids.length >= 5 && !ids.slice(0, 4).includes(eos_token_id), `${ids}`);
  }
  assert.is((await newIds({})).length, 20);
  assert.is((await newIds({ max_length: columns + 2 })).length, 2);
  assert.is((await newIds({ max_length: columns + 2, max_new_tokens: 5 })).length, 5);
});

test('max_time ends a run after the token in hand', async () => {
  const { model } = await tiny('one-image');
  const room = model.config.text_config.max_position_embeddings;
  assert.ok((await newIds({ max_new_tokens: room, max_time: 0.001 })).length < room);
});

test.run();
