/** Hooks, streaming, cancelling, and the shapes of outputs. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { InputError } from '../../src/errors.js';
import { type GenerateArguments, generate } from '../../src/generation/generate.js';
import type { GenerateOutput } from '../../src/generation/output.js';
import type { HostTensor } from '../../src/runtime/tensor.js';
import { defaultsOf, held, rowsOf, tiny } from './support.js';

async function run(args: GenerateArguments, checkpoint = 'one-image'): Promise<number[][]> {
  const { model, inputs } = await tiny(checkpoint);
  const output = await generate(model, defaultsOf(model), { ...inputs, max_new_tokens: 6, ...args });
  return rowsOf(output as HostTensor<Int32Array>);
}

const free = await run({});

test('processors get each row’s ids and scores before the warpers, change them in place or return new ones', async () => {
  const seen: { length: number; scores: number }[] = [];
  const forced = await run({
    logits_processor: [
      (ids, scores) => {
        seen.push({ length: ids.length, scores: scores.length });
        scores[ids.length] += 1000;
        return undefined;
      },
      { process: (_, scores) => scores.map((score) => (score > 900 ? score - 2000 : score)) },
      (ids, scores) => {
        scores[ids.length + 1] = 5000;
        return undefined;
      },
    ],
  });
  assert.equal(
    seen,
    [13, 14, 15, 16, 17, 18].map((length) => ({ length, scores: 131 })),
  );
  assert.equal(forced[0].slice(13), [14, 15, 16, 17, 18, 19]);
  const before: boolean[] = [];
  const look = (_: readonly number[], scores: Float32Array) => {
    before.push(scores.every(Number.isFinite));
    return undefined;
  };
  await run({ do_sample: true, top_k: 3, seed: 1, logits_processor: [look] });
  assert.equal(before, [true, true, true, true, true, true]);
});

test('hooks are told the prompt’s row, in beams and returned sequences too', async () => {
  for (const args of [{ num_beams: 2 }, { do_sample: true, num_return_sequences: 2 }, {}]) {
    const rows: number[] = [];
    const ends = new Set<number>();
    await run(
      {
        ...args,
        max_new_tokens: 1,
        logits_processor: [
          (_, __, row) => {
            rows.push(row);
            return undefined;
          },
        ],
        stopping_criteria: [(_, row) => ends.add(row).size < 0],
      },
      'batch-0123-images',
    );
    const each = rows.length / 4;
    assert.equal(
      rows,
      [0, 1, 2, 3].flatMap((row) => new Array(each).fill(row)),
    );
    assert.equal([...ends], [0, 1, 2, 3]);
  }
});

test('prefix_allowed_tokens_fn bounds what may come, by row and ids so far', async () => {
  const allowed = (row: number, ids: readonly number[]) => [
    10 * (row + 1),
    10 * (row + 1) + (ids.length % 2),
  ];
  for (const args of [{}, { do_sample: true, seed: 4 }, { num_beams: 2 }]) {
    const rows = await run({ ...args, prefix_allowed_tokens_fn: allowed }, 'batch-0123-images');
    for (const [row, ids] of rows.entries()) {
      for (const id of ids.slice(-6))
        assert.ok([10 * (row + 1), 10 * (row + 1) + 1].includes(id), `${ids.slice(-6)}`);
    }
  }
});

test('a streamer gets the prompt, then a step’s ids for every row, then the end', async () => {
  const { inputs } = await tiny('batch-0123-images');
  const [batch, columns] = inputs.input_ids!.dims;
  const put: number[][] = [];
  let ends = 0;
  const streamer = { put: (ids: Int32Array) => put.push(Array.from(ids)), end: () => ends++ };
  const rows = await run({ streamer, eos_token_id: 4 }, 'batch-0123-images');
  assert.is(ends, 1);
  assert.is(put[0].length, batch * columns);
  assert.equal(
    rows.flatMap((ids) => ids.slice(0, columns)),
    put[0],
  );
  assert.equal(
    rows.map((ids) => ids.slice(columns)),
    rows.map((_, row) => put.slice(1).map((ids) => ids[row])),
  );
});

test('an error in a hook rejects the call and gives the cache back', async () => {
  const { model } = await tiny('one-image');
  const before = held(model);
  const failing = () => {
    throw new RangeError('mine');
  };
  for (const hook of [
    { logits_processor: [failing] },
    { stopping_criteria: [failing] },
    { num_beams: 2, stopping_criteria: [failing] },
    { streamer: { put: failing, end() {} } },
  ]) {
    await run(hook as GenerateArguments).then(
      () => assert.unreachable(),
      (error) => assert.is(error.message, 'mine'),
    );
    assert.is(held(model), before);
  }
  assert.equal(await run({}), free);
});

test('an abort ends greedy decoding, sampling and beam search with AbortError, and gives the cache back', async () => {
  const { model } = await tiny('one-image');
  const before = held(model);
  for (const args of [{}, { do_sample: true, num_return_sequences: 4 }, { num_beams: 3 }]) {
    for (const steps of [0, 1, 3]) {
      const abort = new AbortController();
      let calls = 0;
      const stopping_criteria = [
        () => {
          if (++calls >= steps) abort.abort();
          return false;
        },
      ];
      if (steps === 0) abort.abort();
      const error = await run({
        ...args,
        max_new_tokens: 100,
        stopping_criteria,
        signal: abort.signal,
      }).catch((e) => e);
      assert.is(error.name, 'AbortError');
      assert.is(held(model), before);
    }
  }
  assert.equal(await run({}), free);
});

test('the event loop gets its turns however short the steps are, and timers can abort', async () => {
  let turns = 0;
  let ended = false;
  const count = () => {
    turns++;
    if (!ended) setImmediate(count);
  };
  setImmediate(count);
  const started = performance.now();
  await run({ max_new_tokens: 240, do_sample: true, num_return_sequences: 4 });
  await run({ max_new_tokens: 240, num_beams: 3 });
  const took = performance.now() - started;
  ended = true;
  assert.ok(turns >= took / 40, `${turns} turns in ${took} ms`);
  const timed = new AbortController();
  setTimeout(() => timed.abort(), 1);
  const long = { max_new_tokens: 240, do_sample: true, num_return_sequences: 8 };
  const error = await run({ ...long, signal: timed.signal }).catch((e) => e);
  assert.is(error.name, 'AbortError');
});

test('outputs: only what is asked for, with the shapes of the reference', async () => {
  const { model, inputs } = await tiny('batch-0123-images');
  const [batch, columns] = inputs.input_ids!.dims;
  const vocabulary = model.config.text_config.vocab_size;
  const give = async (args: GenerateArguments) =>
    (await generate(model, defaultsOf(model), {
      ...inputs,
      max_new_tokens: 5,
      return_dict_in_generate: true,
      ...args,
    })) as GenerateOutput;
  assert.equal(Object.keys(await give({})), ['sequences']);
  const greedy = await give({ output_scores: true, output_logits: true, repetition_penalty: 1.5 });
  assert.equal(Object.keys(greedy).sort(), ['logits', 'scores', 'sequences']);
  assert.equal(
    greedy.scores!.map(({ dims }) => dims),
    new Array(5).fill([batch, vocabulary]),
  );
  assert.not.equal(greedy.scores![0].data, greedy.logits![0].data);
  const beams = await give({ output_scores: true, num_beams: 3, num_return_sequences: 2 });
  assert.equal(Object.keys(beams).sort(), ['beam_indices', 'scores', 'sequences', 'sequences_scores']);
  assert.equal(beams.scores![4].dims, [3 * batch, vocabulary]);
  assert.equal(beams.sequences.dims, [2 * batch, columns + 5]);
  assert.equal(beams.sequences_scores!.dims, [2 * batch]);
  assert.equal(beams.beam_indices!.dims, [2 * batch, 5]);
  // A sequence's score is the sum of its steps' scores over its length.
  for (const [row, ids] of rowsOf(beams.sequences).entries()) {
    const from = rowsOf(beams.beam_indices!)[row];
    const sum = from.reduce(
      (total, beam, i) => total + beams.scores![i].data[beam * vocabulary + ids[columns + i]],
      0,
    );
    assert.ok(Math.abs(sum / 5 - beams.sequences_scores!.data[row]) < 1e-6, `row ${row}`);
  }
});

test('embeddings alone: the output has the new ids only, those that the ids would give', async () => {
  const { model, inputs } = await tiny('embeds-alone');
  assert.is(inputs.input_ids, undefined);
  const rows = rowsOf(
    (await generate(model, defaultsOf(model), { ...inputs, max_new_tokens: 4 })) as HostTensor<Int32Array>,
  );
  assert.equal(
    rows.map((ids) => ids.length),
    rows.map(() => 4),
  );
  const beams = rowsOf(
    (await generate(model, defaultsOf(model), {
      ...inputs,
      max_new_tokens: 4,
      num_beams: 2,
    })) as HostTensor<Int32Array>,
  );
  assert.is(beams[0].length, 4);
});

test('without a mask every pad of the prompt is one, unless pad is an eos', async () => {
  const { model, inputs } = await tiny('text-only-tied-bf16');
  const { attention_mask, ...bare } = inputs;
  assert.ok(Array.from(attention_mask!.data as Int32Array, Number).includes(0), 'the golden has pads');
  const give = async (args: GenerateArguments) =>
    rowsOf(
      (await generate(model, defaultsOf(model), { max_new_tokens: 6, ...args })) as HostTensor<Int32Array>,
    );
  const masked = await give(inputs);
  assert.equal(await give(bare), masked);
  const pad = defaultsOf(model).pad_token_id;
  assert.not.equal(await give({ ...bare, eos_token_id: [pad, 9999] }), masked);
});

test('too long a prompt is an InputError with both lengths', async () => {
  const { model } = await tiny('text-only-tied-bf16');
  const room = model.config.text_config.max_position_embeddings;
  const input_ids = { dims: [1, room], data: new Int32Array(room).fill(9) };
  await generate(model, defaultsOf(model), { input_ids, max_new_tokens: 1 }).then(
    () => assert.unreachable(),
    (error) => {
      assert.instance(error, InputError);
      assert.match(error.message, new RegExp(`fewer than ${room} tokens.*got ${room} tokens`));
    },
  );
});

test.run();
