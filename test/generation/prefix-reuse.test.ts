/** Prompts that begin like earlier ones go on from their keys and values: less work, the same bits. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  AutoProcessor,
  type GenerateArguments,
  InputError,
  MemoryError,
  SmolVLMForConditionalGeneration,
} from '../../src/index.js';
import { root, shapes } from '../support/paths.js';

const processor = await AutoProcessor.from_pretrained(shapes);
const load = (options = {}) => SmolVLMForConditionalGeneration.from_pretrained(shapes, options);
/** Keeps nothing between calls: what it computes is fresh. */
const fresh = await load({ prefix_cache_bytes: 0, image_cache_bytes: 0 });
const [blue, checks, stripes] = ['shapes-on-blue.png', 'shapes-on-checks.jpg', 'shapes-on-stripes.jpg'].map(
  (name) => ({
    type: 'image' as const,
    image: new Uint8Array(readFileSync(join(root, 'examples/pictures', name))),
  }),
);

type Part = typeof blue | string;
interface Turn {
  role: string;
  content: object[];
}
type Conversation = Turn[];

const turn = (role: string, ...parts: Part[]): Turn => ({
  role,
  content: parts.map((part) => (typeof part === 'string' ? { type: 'text', text: part } : part)),
});
const ask = (...parts: Part[]): Conversation => [turn('user', ...parts)];
const LONG = 'Which shapes are there, and where is the red star relative to the yellow circle? '.repeat(12);
/** `<image>` tokens of a picture. */
const STATES = 16;

const NEW = 8;
const OPTIONS = {
  max_new_tokens: NEW,
  // No end: every run makes every token.
  eos_token_id: [] as number[],
  return_dict_in_generate: true,
  output_logits: true,
} as const;

async function inputsOf(conversations: Conversation[], padding_side: 'left' | 'right' = 'left') {
  const options = { add_generation_prompt: true, tokenize: true, padding_side } as const;
  return processor.apply_chat_template(conversations as never, options);
}

type Inputs = Awaited<ReturnType<typeof inputsOf>>;

/** The bits of all scores, and the sequences. */
async function run(model: SmolVLMForConditionalGeneration, inputs: Inputs, more: GenerateArguments = {}) {
  const out = await model.generate({ ...inputs, ...OPTIONS, ...more, return_dict_in_generate: true });
  return {
    sequences: Array.from(out.sequences.data),
    logits: out.logits!.map(({ data }) => new Uint32Array(data.slice().buffer)),
  };
}

/** Runs on a model that may reuse and on one that keeps nothing, whose bits it must have; returns what was spared. */
async function compare(
  model: SmolVLMForConditionalGeneration,
  inputs: Inputs,
  more: GenerateArguments = {},
  reference = fresh,
): Promise<{ tokens: number; encoded: number; sequences: number[] }> {
  const { prefix_cache, image_cache } = model;
  const [reused, misses] = [prefix_cache.tokens_reused, image_cache.misses];
  const got = await run(model, inputs, more);
  const want = await run(reference, inputs, more);
  assert.equal(got.sequences, want.sequences);
  assert.equal(got.logits, want.logits);
  const tokens = prefix_cache.tokens_reused - reused;
  return { tokens, encoded: image_cache.misses - misses, sequences: got.sequences };
}

const length = (inputs: Inputs) => Array.from(inputs.attention_mask.data, Number).filter((x) => x).length;

/** How many tokens two prompts without pads have in common. */
function common(a: Inputs, b: Inputs): number {
  const [x, y] = [a, b].map(({ input_ids }) => Array.from(input_ids.data, Number));
  const at = x.findIndex((id, i) => id !== y[i]);
  return at < 0 ? x.length : at;
}

async function withModel(use: (model: SmolVLMForConditionalGeneration) => Promise<void>, options = {}) {
  const model = await load(options);
  try {
    await use(model);
  } finally {
    model.dispose();
  }
}

test('another question about the same picture starts behind the picture, with the bits of a fresh run', () =>
  withModel(async (model) => {
    const first = await inputsOf([ask(blue, 'Describe this image.')]);
    const second = await inputsOf([ask(blue, 'How many circles?')]);
    assert.ok((await compare(model, first)).encoded > 0);
    const { tokens, encoded } = await compare(model, second);
    assert.is(tokens, common(first, second));
    assert.ok(tokens > STATES);
    assert.is(encoded, 0);
  }));

test('the same prompt again computes its last token alone', () =>
  withModel(async (model) => {
    for (const text of ['How many?', LONG]) {
      const inputs = await inputsOf([ask(blue, text)]);
      await compare(model, inputs);
      assert.equal((await compare(model, inputs)).tokens, length(inputs) - 1);
    }
  }));

test('the same words about another picture are not taken for the same', () =>
  withModel(async (model) => {
    await compare(model, await inputsOf([ask(blue, 'Describe this image.')]));
    const before = await inputsOf([ask(blue, 'Describe this image.')]);
    const { tokens, encoded } = await compare(model, await inputsOf([ask(checks, 'Describe this image.')]));
    const image = Number(model.config.image_token_id);
    assert.is(tokens, Array.from(before.input_ids.data, Number).indexOf(image));
    assert.ok(encoded > 0);
  }));

test('of several pictures those that come first again are spared', () =>
  withModel(async (model) => {
    const first = await inputsOf([ask(blue, checks, stripes, 'Which are there?')]);
    await compare(model, first);
    const { tokens, encoded } = await compare(
      model,
      await inputsOf([ask(blue, checks, 'and', blue, 'Count.')]),
    );
    assert.ok(tokens > 2 * STATES, `${tokens} tokens`);
    assert.is(encoded, 0);
    // In another order their states are there still, though no key is.
    const turned = await compare(model, await inputsOf([ask(stripes, blue, 'Which are there?')]));
    assert.ok(turned.tokens < STATES);
    assert.is(turned.encoded, 0);
  }));

test('a second and a third turn start behind all that was said, across pages of keys', () =>
  withModel(async (model) => {
    const conversation = ask(blue, LONG);
    for (let i = 0; i < 3; i++) {
      const inputs = await inputsOf([conversation]);
      const { tokens, sequences } = await compare(model, inputs);
      const asked = length(inputs);
      if (i > 0) assert.ok(asked - tokens < 40, `${asked - tokens} of ${asked} tokens computed`);
      // An answer that the tokenizer gives the same ids again.
      const answer = processor.batch_decode([sequences.slice(asked)], { skip_special_tokens: true })[0];
      conversation.push(turn('assistant', answer), turn('user', `And number ${i}?`));
    }
    assert.ok(length(await inputsOf([conversation])) > 2 * 128);
  }));

for (const stored of [
  { dtype: 'bfloat16' },
  { dtype: 'int8' },
  { dtype: 'int4' },
  { kv_cache_dtype: 'bfloat16' },
  { kv_cache_dtype: 'int8' },
] as const) {
  test(`${JSON.stringify(stored)}: a second turn, and a batch of it with other questions, have the bits of fresh runs`, () =>
    withModel(async (model) => {
      const reference = await load({ ...stored, prefix_cache_bytes: 0, image_cache_bytes: 0 });
      const first = ask(blue, LONG);
      const second = [...first, turn('assistant', 'A star.'), turn('user', 'And?')];
      await compare(model, await inputsOf([first]), {}, reference);
      const { tokens, encoded } = await compare(model, await inputsOf([second]), {}, reference);
      assert.ok(tokens > 128, `${tokens} tokens`);
      assert.is(encoded, 0);
      const batch = [second, ask(checks, 'How many?'), ask(checks, LONG), ask(checks, LONG, 'Or?')];
      assert.ok((await compare(model, await inputsOf(batch), {}, reference)).tokens > 256);
      reference.dispose();
    }, stored));
}

test('an earlier turn that was edited is computed from the edit on', () =>
  withModel(async (model) => {
    const said = (word: string) => [
      ...ask(blue, LONG),
      turn('assistant', `There is a ${word}.`),
      turn('user', 'Where is it?'),
    ];
    const first = await inputsOf([said('star')]);
    const second = await inputsOf([said('circle')]);
    await compare(model, first);
    const { tokens } = await compare(model, second);
    assert.is(tokens, common(first, second));
    assert.ok(tokens > 128 && tokens < length(second) - 8);
    // Both are there now.
    assert.is((await compare(model, first)).tokens, length(first) - 1);
    assert.is((await compare(model, second)).tokens, length(second) - 1);
  }));

for (const side of ['left', 'right'] as const) {
  test(`a ${side}-padded batch of different prompts starts each row behind what is known of it`, () =>
    withModel(async (model) => {
      const known = [ask(blue, LONG), ask(checks, 'How many?')];
      for (const conversation of known) await compare(model, await inputsOf([conversation], side));
      const rows = [...known, ask(stripes, 'What is this?'), ask('No picture at all.')];
      const alone = await Promise.all(known.map(async (row) => length(await inputsOf([row])) - 1));
      const batch = await inputsOf(rows, side);
      const { tokens, encoded } = await compare(model, batch);
      assert.ok(tokens >= alone[0]! + alone[1]!, `${tokens} tokens`);
      assert.ok(encoded > 0);
      const again = await compare(model, batch);
      assert.is(again.tokens, length(batch) - rows.length);
      assert.is(again.encoded, 0);
    }));
}

test('rows of one batch that begin alike are computed behind one of them, in whole pages', () =>
  withModel(async (model) => {
    const questions = ['How many?', 'Where?', 'Which of them is the largest of all?'];
    for (const side of ['left', 'right'] as const) {
      model.prefix_cache.clear();
      const rows = questions.map((text) => ask(blue, LONG, text));
      const { tokens, encoded } = await compare(model, await inputsOf([ask(checks, 'And?'), ...rows], side));
      // A page each for the second and third question, and the few tokens that all prompts begin with for none.
      assert.is(tokens, 2 * 128);
      assert.is(encoded, side === 'left' ? 2 : 0);
    }
    // What is known already needs no second pass.
    const inputs = await inputsOf(questions.map((text) => ask(blue, LONG, text)));
    assert.is((await compare(model, inputs)).tokens, length(inputs) - questions.length);
  }));

test('sampling, several sequences a row and beams have the bits of fresh runs', () =>
  withModel(async (model) => {
    const inputs = await inputsOf([ask(blue, LONG), ask(blue, 'How many?')]);
    for (const more of [
      { do_sample: true, num_return_sequences: 3, seed: 5 },
      { num_beams: 3 },
      { num_beams: 3, do_sample: true, seed: 7, num_return_sequences: 2 },
      { do_sample: true, seed: 9 },
    ]) {
      await compare(model, inputs, more);
    }
    assert.is(model.prefix_cache.tokens_reused, 3 * (length(inputs) - 2));
  }));

test('concurrent calls reuse each other’s prompts as soon as those are computed', () =>
  withModel(async (model) => {
    const first = await inputsOf([ask(blue, LONG)]);
    const second = await inputsOf([ask(blue, `${LONG} Or not?`)]);
    const [a, b] = await Promise.all([run(model, first), run(model, second)]);
    assert.equal(a, await run(fresh, first));
    assert.equal(b, await run(fresh, second));
    // The full page of the first prompt, while the first call was going on.
    assert.is(model.prefix_cache.tokens_reused, 128);
  }));

test('an aborted run leaves what it computed for the next one, and nothing else', () =>
  withModel(async (model) => {
    const inputs = await inputsOf([ask(blue, LONG)]);
    for (const at of [1, 5]) {
      const abort = new AbortController();
      let steps = 0;
      const stopping_criteria = [
        () => {
          if (++steps === at) abort.abort();
          return false;
        },
      ];
      const error = await run(model, inputs, { stopping_criteria, signal: abort.signal }).catch((e) => e);
      assert.is(error.name, 'AbortError');
    }
    assert.is(model.prefix_cache.size, 1);
    assert.is((await compare(model, inputs)).tokens, length(inputs) - 1);
  }));

test('with two threads, a run broken off at any time leaves nothing behind that was not computed', () =>
  withModel(
    async (model) => {
      const inputs = await Promise.all([blue, checks].map((picture) => inputsOf([ask(picture!, LONG)])));
      for (const after of [0, 2, 8, 16, 24, 40]) {
        const abort = new AbortController();
        setTimeout(() => abort.abort(), after);
        const broken = inputs.map((each) => run(model, each, { max_new_tokens: 200, signal: abort.signal }));
        for (const result of await Promise.allSettled(broken)) {
          // A machine may be quick enough to end before the later moments.
          if (result.status === 'rejected') assert.is(result.reason.name, 'AbortError');
          else assert.ok(after > 2, `whole after ${after} ms`);
        }
        for (const each of inputs) await compare(model, each);
        if (after % 16 === 0) model.prefix_cache.clear();
        if (after % 3 === 0) model.image_cache.clear();
      }
    },
    { threads: 2 },
  ));

test('the limit in bytes holds: what was not used for longest goes, and 0 keeps nothing', () =>
  withModel(async (model) => {
    const prompts = await Promise.all(['One?', 'Two?', 'Three?'].map((text) => inputsOf([ask(text)])));
    await compare(model, prompts[0]!);
    const { prefix_cache } = model;
    const slab = prefix_cache.bytes;
    prefix_cache.limit = 2 * slab;
    for (const inputs of prompts) await compare(model, inputs);
    assert.is(prefix_cache.bytes, 2 * slab);
    assert.is(prefix_cache.size, 2);
    // The first one's beginning served the others, so it is the second one that went.
    const all = length(prompts[0]!) - 1;
    assert.is((await compare(model, prompts[2]!)).tokens, all);
    assert.is((await compare(model, prompts[0]!)).tokens, all);
    assert.ok((await compare(model, prompts[1]!)).tokens < all);
    // A row too long for the limit is kept as far as it goes.
    prefix_cache.limit = slab;
    const long = await inputsOf([ask(LONG)]);
    assert.ok(length(long) > 128);
    await compare(model, long);
    assert.is(prefix_cache.bytes, slab);
    assert.is((await compare(model, long)).tokens, Math.min(128, length(long) - 1));
    prefix_cache.limit = 0;
    prefix_cache.clear();
    await compare(model, long);
    assert.is(prefix_cache.bytes, 0);
    assert.is((await compare(model, long)).tokens, 0);
  }));

test('reuse_prefix: false neither uses nor keeps anything; another value is an InputError', () =>
  withModel(async (model) => {
    const inputs = await inputsOf([ask(blue, 'How many?')]);
    await compare(model, inputs, { reuse_prefix: false });
    assert.is(model.prefix_cache.size, 0);
    await compare(model, inputs);
    const { lookups } = model.prefix_cache;
    assert.is((await compare(model, inputs, { reuse_prefix: false })).tokens, 0);
    assert.is(model.prefix_cache.lookups, lookups);
    const error = await run(model, inputs, { reuse_prefix: 1 } as never).catch((e) => e);
    assert.instance(error, InputError);
    assert.equal([error.where, error.expected, error.got], ['reuse_prefix', 'true or false', '1']);
  }));

test('image states that are given are told apart by their values', () =>
  withModel(async (model) => {
    const { pixel_values, pixel_attention_mask, ...text } = await inputsOf([ask(blue, 'How many?')]);
    const image_hidden_states = await model.get_image_features(pixel_values!, pixel_attention_mask);
    const inputs = { ...text, image_hidden_states } as never as Inputs;
    await compare(model, inputs);
    assert.is((await compare(model, inputs)).tokens, length(inputs) - 1);
    const data = image_hidden_states.data.slice();
    data[data.length - 1]! += 1;
    const other = { ...text, image_hidden_states: { ...image_hidden_states, data } } as never as Inputs;
    const { tokens } = await compare(model, other);
    const image = Number(model.config.image_token_id);
    assert.ok(tokens < Array.from(text.input_ids.data, Number).lastIndexOf(image));
  }));

test('another dtype of the position ids is another picture', () =>
  withModel(async (model) => {
    const inputs = await inputsOf([ask(blue, 'How many?')]);
    await compare(model, inputs, { position_dtype: 'float32' });
    const { encoded } = await compare(model, inputs, { position_dtype: 'bfloat16' });
    assert.ok(encoded > 0);
    assert.is((await compare(model, inputs, { position_dtype: 'float32' })).encoded, 0);
  }));

test('a change of the weights makes what was computed before useless: nothing of it is used', () =>
  withModel(async (model) => {
    const inputs = await inputsOf([ask(blue, 'How many?')]);
    await compare(model, inputs);
    const { weight } = await model.get_input_embeddings();
    weight.data.fill(0.25, 0, weight.dims[1]! * 900);
    await model.set_input_embeddings(weight);
    assert.is(model.prefix_cache.size, 0);
    const got = await run(model, inputs);
    const other = await load();
    await other.set_input_embeddings(weight);
    assert.equal(got, await run(other, inputs));
    const limit = 1 << 20;
    other.prefix_cache.limit = limit;
    other.to('bfloat16');
    const rounded = await run(other, inputs);
    assert.is.not(String(rounded.logits[0]), String(got.logits[0]));
    assert.is(other.prefix_cache.limit, limit);
    assert.equal([other.prefix_cache.hits, other.image_cache.hits], [0, 0]);
    other.dispose();
  }));

test('a cache is no reason for a MemoryError: it gives way to what a run needs', async () => {
  // As little memory as the longest of these prompts needs.
  const prompts = await Promise.all(
    Array.from({ length: 6 }, (_, i) => inputsOf([ask(`Number ${i}: ${LONG}`)])),
  );
  const most = await load({ prefix_cache_bytes: 0, image_cache_bytes: 0 });
  for (const inputs of prompts) await run(most, inputs);
  let maximumBytes = most.memory;
  most.dispose();
  const fits = async (bytes: number) => {
    const ended = load({ maximumBytes: bytes, prefix_cache_bytes: 0, image_cache_bytes: 0 }).then(
      async (model) => {
        await run(model, prompts[0]!).finally(() => model.dispose());
      },
    );
    const error = await ended.catch((caught) => caught);
    return !(error instanceof MemoryError);
  };
  while (await fits(maximumBytes - 65536)) maximumBytes -= 65536;
  await withModel(
    async (model) => {
      for (const inputs of [...prompts, ...prompts]) await compare(model, inputs);
      assert.is(model.prefix_cache.lookups, 2 * prompts.length);
      assert.ok(model.prefix_cache.size < prompts.length, `${model.prefix_cache.size} rows are there`);
    },
    { maximumBytes, prefix_cache_bytes: 1 << 30 },
  );
});

test('clear() gives all memory back, and after dispose() nothing is held', () =>
  withModel(async (model) => {
    const inputs = await inputsOf([ask(blue, LONG)]);
    await run(model, inputs);
    const { prefix_cache, image_cache } = model;
    const { memory } = model;
    for (let i = 0; i < 3; i++) {
      assert.ok(prefix_cache.bytes > 0 && image_cache.bytes > 0);
      prefix_cache.clear();
      image_cache.clear();
      assert.equal(
        [prefix_cache.bytes, prefix_cache.size, image_cache.bytes, image_cache.size],
        [0, 0, 0, 0],
      );
      await compare(model, inputs);
    }
    assert.is(model.memory, memory);
    const going = run(model, inputs).catch((error) => error);
    model.dispose();
    assert.is((await going).name, 'DisposedError');
    prefix_cache.clear();
    image_cache.clear();
    assert.equal([prefix_cache.bytes, image_cache.bytes], [0, 0]);
  }));

test.after(() => fresh.dispose());
test.run();
