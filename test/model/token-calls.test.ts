/** A token alone repeats the kernel calls of the one before: the same bits, and calls made anew where they would not fit. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { textIds } from '../../bench/inputs.js';
import type { KVCache } from '../../src/model/cache.js';
import type { PretrainedOptions } from '../../src/modeling.js';
import { type CutModel, cutModel } from '../support/cut-model.js';

const MODELS: readonly PretrainedOptions[] = [
  { threads: 1 },
  { threads: 2 },
  { threads: 1, dtype: 'int8', kv_cache_dtype: 'bfloat16' },
  { threads: 2, dtype: 'int4', kv_cache_dtype: 'int8' },
];

/** Counts the tokens whose calls were repeated, and those whose calls were made anew for it. */
function counted({ inner: { ops } }: CutModel) {
  const { engine } = ops;
  const count = { repeated: 0, recorded: 0 };
  const { repeat, record } = engine;
  engine.repeat = (calls) => {
    count.repeated++;
    return repeat.call(engine, calls);
  };
  engine.record = (compute) => {
    count.recorded++;
    return record.call(engine, compute);
  };
  return count;
}

for (const options of MODELS) {
  test(`${JSON.stringify(options)}: 340 tokens over three pages have the bits of calls made anew, whatever comes between them`, async () => {
    const cut = await cutModel(options);
    const { model, inner, config } = cut;
    const count = counted(cut);
    const { data: ids } = textIds(config, 200);
    /** Whoever listens to hidden states has all calls made anew. */
    const forward = (
      past_key_values: KVCache,
      input_ids: ArrayLike<number>,
      output_hidden_states = false,
    ) => {
      const dims = [1, input_ids.length];
      const tokens = { dims, data: Int32Array.from(input_ids) };
      return model.forward({ input_ids: tokens, past_key_values, output_hidden_states, logits_to_keep: 1 });
    };
    const made = async (prompt: number) => {
      const past_key_values = (await model.forward({ input_ids: textIds(config, prompt), use_cache: true }))
        .past_key_values!;
      return past_key_values;
    };
    const [own, other] = [await made(20), await made(20)];
    const third = await made(50);
    let tokens = 0;
    const compare = async (howMany: number) => {
      for (let i = 0; i < howMany; i++, tokens++) {
        const id = ids[tokens % ids.length];
        const { logits } = await forward(own, [id]);
        const anew = await forward(other, [id], true);
        assert.equal(logits.data, anew.logits.data, `token ${tokens}`);
      }
    };
    await compare(140);
    // Twice: the first token alone, and the first of the second page.
    assert.equal(count, { recorded: 2, repeated: 138 });

    for (const cache of [own, other]) cache.crop(100);
    await compare(40);
    // The crop gave a page back, which was taken again later: two more, and none beside.
    assert.equal(count, { recorded: 4, repeated: 176 });

    // Tokens of another prompt in turn, and one of many tokens, which takes more memory than before.
    for (let i = 0; i < 20; i++) {
      await forward(third, [ids[i]]);
      await compare(1);
    }
    await forward(third, Array.from(ids));
    await compare(20);
    inner.ops.engine.activations.trim();
    await compare(60);

    // Broken off between its calls: the cache is as it was.
    const controller = new AbortController();
    const { engine } = inner.ops;
    const { repeat } = engine;
    engine.repeat = function* (calls) {
      yield* repeat.call(engine, calls.slice(0, calls.length / 2));
      controller.abort(new Error('enough'));
      yield Promise.resolve();
    };
    const input_ids = { dims: [1, 1], data: Int32Array.of(7) };
    const broken = model.forward({ input_ids, past_key_values: own, signal: controller.signal });
    assert.is(await broken.catch((error: unknown) => error), controller.signal.reason);
    engine.repeat = repeat;
    await compare(60);

    assert.is(tokens, 340);
    assert.ok(count.recorded <= 12, `${count.recorded} recorded`);
    assert.is(count.repeated + count.recorded, tokens + 20 + 1);
    model.dispose();
  });
}

test('calls are made anew for two rows and for two tokens at once', async () => {
  const cut = await cutModel();
  const count = counted(cut);
  const pass = async (rows: number, columns: number) => {
    const input_ids = { dims: [rows, columns], data: new Int32Array(rows * columns).fill(7) };
    const { past_key_values } = await cut.model.forward({ input_ids, use_cache: true });
    await cut.model.forward({ input_ids, past_key_values });
  };
  await pass(2, 1);
  await pass(1, 2);
  assert.equal(count, { recorded: 0, repeated: 0 });
  await pass(1, 1);
  assert.equal(count, { recorded: 1, repeated: 1 });
  cut.model.dispose();
});

test.run();
