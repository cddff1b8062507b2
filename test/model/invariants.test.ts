import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/folder.js';
import { AutoProcessor, InputError, SmolVLMForConditionalGeneration } from '../../src/index.js';
import { forward } from '../../src/model/forward.js';
import { logits } from '../../src/model/head.js';
import { loadModel } from '../../src/model/load.js';
import type { HostTensor } from '../../src/runtime/tensor.js';
import { root, shapes } from '../support/paths.js';

const pictures = join(root, 'examples/pictures');
const processor = await AutoProcessor.from_pretrained(shapes);
const model = await SmolVLMForConditionalGeneration.from_pretrained(shapes);
const image = new Uint8Array(readFileSync(join(pictures, 'shapes-on-blue.png')));

function conversation(question: string) {
  const content = [
    { type: 'image' as const, image },
    { type: 'text' as const, text: question },
  ];
  return [{ role: 'user', content }];
}

const options = { add_generation_prompt: true, tokenize: true } as const;
const QUESTIONS = [
  'Describe this image.',
  'How many?',
  'Where is the red star relative to the yellow circle?',
];

const bits = (data: Float32Array) => new Uint32Array(data.buffer, data.byteOffset, data.length);

function row(tensor: HostTensor<Float32Array>, index: number, column: number): Float32Array {
  const [, columns, width] = tensor.dims;
  const start = (index * columns + column) * width;
  return tensor.data.slice(start, start + width);
}

test('a batch, left-padded or right-padded, gives each row the logits it gives alone, bit for bit', async () => {
  const alone: Float32Array[] = [];
  for (const question of QUESTIONS) {
    const inputs = await processor.apply_chat_template(conversation(question), options);
    const out = await model.forward({ ...inputs, position_ids: undefined, use_cache: false });
    alone.push(row(out.logits, 0, out.logits.dims[1] - 1));
  }
  for (const padding_side of ['left', 'right'] as const) {
    const batch = await processor.apply_chat_template(QUESTIONS.map(conversation), {
      ...options,
      padding_side,
    });
    const [rows, columns] = batch.input_ids.dims;
    const mask = Array.from(batch.attention_mask.data, Number);
    const position_ids = { dims: [rows, columns], data: new Int32Array(rows * columns) };
    for (let r = 0; r < rows; r++) {
      let count = 0;
      for (let c = 0; c < columns; c++)
        if (mask[r * columns + c]) position_ids.data[r * columns + c] = count++;
    }
    const out = await model.forward({ ...batch, position_ids, use_cache: false });
    for (const [r, expected] of alone.entries()) {
      const last = mask.slice(r * columns, (r + 1) * columns).lastIndexOf(1);
      assert.equal(bits(row(out.logits, r, last)), bits(expected), `${padding_side}, row ${r}`);
    }
  }
});

test('a batch generates for each row what it generates alone', async () => {
  const batch = await processor.apply_chat_template(QUESTIONS.map(conversation), options);
  const together = await model.generate({ ...batch, max_new_tokens: 24 });
  const texts = processor.batch_decode(together, { skip_special_tokens: true });
  for (const [r, question] of QUESTIONS.entries()) {
    const inputs = await processor.apply_chat_template(conversation(question), options);
    const single = await model.generate({ ...inputs, max_new_tokens: 24 });
    assert.is(texts[r], processor.batch_decode(single, { skip_special_tokens: true })[0]);
  }
});

test('cached = uncached: logits of a token behind a cache have the bits of one whole pass', async () => {
  const loaded = await loadModel(await openCheckpoint(shapes));
  const { engine } = loaded.ops;
  const inputs = await processor.apply_chat_template(conversation(QUESTIONS[2]), options);
  const ids = Int32Array.from(inputs.input_ids.data, Number);
  const { pixel_values, pixel_attention_mask } = inputs;
  const part = (start: number, end: number) => ({ dims: [1, end - start], data: ids.slice(start, end) });
  const whole = await engine.run(function* () {
    const { hidden, tokens, past_key_values } = yield* forward(loaded, { ...inputs });
    past_key_values.dispose();
    return yield* logits(loaded, hidden, tokens);
  });
  for (const cut of [ids.length - 1, ids.length - 5]) {
    const rest = await engine.run(function* () {
      const images = { pixel_values, pixel_attention_mask };
      const first = yield* forward(loaded, { input_ids: part(0, cut), ...images });
      const { past_key_values } = first;
      const input_ids = part(cut, ids.length);
      const { hidden, tokens } = yield* forward(loaded, { input_ids, past_key_values });
      past_key_values.dispose();
      return yield* logits(loaded, hidden, tokens);
    });
    for (let c = cut; c < ids.length; c++) {
      assert.equal(bits(row(rest, 0, c - cut)), bits(row(whole, 0, c)), `cut ${cut}, column ${c}`);
    }
  }
  engine.dispose();
});

test('wrong inputs are typed errors, memory stays where it was, and the next good request is served', async () => {
  const inputs = await processor.apply_chat_template(conversation(QUESTIONS[0]), options);
  const good = await model.generate({ ...inputs, max_new_tokens: 8 });
  const memory = model.memory;
  const length = inputs.input_ids.dims[1];
  const context = model.config.text_config.max_position_embeddings;
  const vocabulary = model.config.text_config.vocab_size;
  const ids = (n: number, id = 5) => ({ dims: [1, n], data: new Int32Array(n).fill(id) });
  const image_token = model.config.image_token_id;
  const cases: [string, object, RegExp][] = [
    ['no tokens', {}, /no tokens given .*expected one of the two, got neither/],
    ['empty prompt', { input_ids: ids(0) }, /empty prompt .*expected at least one token, got 0/],
    [
      'over-long prompt',
      { input_ids: ids(context) },
      new RegExp(`longer than the context .*fewer than ${context} .*got ${context} tokens`),
    ],
    [
      'an id outside',
      { input_ids: ids(3, vocabulary) },
      new RegExp(`outside the vocabulary .*0 … ${vocabulary - 1}, got ${vocabulary}`),
    ],
    ['images too few', { ...inputs, input_ids: ids(length, image_token) }, /<image> tokens/],
    [
      '<image> without end',
      { ...inputs, input_ids: ids(3, image_token), attention_mask: undefined },
      /do not divide into images .*got 3/,
    ],
    [
      'pixels of another shape',
      { ...inputs, pixel_values: { dims: [1, 1, 2, 4, 4], data: new Float32Array(32) } },
      /wrong shape \(pixel_values\)/,
    ],
    [
      'a mask that does not fit',
      { ...inputs, attention_mask: ids(length + 3, 1) },
      /does not fit the tokens \(attention_mask\)/,
    ],
    [
      'values and shape apart',
      { input_ids: { dims: [1, 9], data: new Int32Array(3) } },
      /9 values for \[1,9\], got 3/,
    ],
    ['no tokens to make', { ...inputs, max_new_tokens: 0 }, /max_new_tokens.*got 0/],
  ];
  for (const [name, args, message] of cases) {
    const error = await model.generate(args as never).then(
      () => undefined,
      (caught: unknown) => caught,
    );
    assert.instance(error, InputError, `${name}: ${error}`);
    assert.match((error as Error).message, message, name);
  }
  assert.is(model.memory, memory, 'no memory was taken');
  assert.equal(await model.generate({ ...inputs, max_new_tokens: 8 }), good);
});

test('an aborted generation rejects with AbortError and leaves the cache free', async () => {
  const inputs = await processor.apply_chat_template(conversation(QUESTIONS[0]), options);
  const memory = model.memory;
  for (const after of [0, 1, 3, 10]) {
    const abort = new AbortController();
    setTimeout(() => abort.abort(), after);
    const eos_token_id: number[] = [];
    const error = await model
      .generate({ ...inputs, max_new_tokens: 200, eos_token_id, signal: abort.signal })
      .catch((caught: Error) => caught);
    assert.is((error as Error).name, 'AbortError');
  }
  assert.is(model.memory, memory);
});

test.after(() => model.dispose());
test.run();
