import { createHash } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TextStream } from '../../src/processing/index.js';
import { formula, sha256 } from './pictures.js';
import { FIXTURE_SETS, idsFor, loadProcessor } from './text-fixtures.js';

const hash = (value: string) => createHash('sha256').update(value, 'utf8').digest('hex');
const joined = (ids: ArrayLike<number | bigint>) => hash(Array.from(ids, String).join(','));

for (const { name, folder, present, expected } of FIXTURE_SETS) {
  const run = present ? test : test.skip;
  if (!present) console.log(`SKIP ${name} (no ${folder})`);
  const { tokenizer: tokens, processor: whole } = expected;
  let cached: ReturnType<typeof loadProcessor> | undefined;
  const processor = () => (cached ??= loadProcessor(folder));

  run(`${name}: ${tokens.texts.length} chosen texts have the ids of Python's tokenizers`, () => {
    for (const { text, ids } of tokens.texts)
      assert.equal(processor().tokenizer.encode(text), ids, JSON.stringify(text));
  });

  run(`${name}: ${tokens.random.length} random Unicode texts have the ids of Python's tokenizers`, () => {
    for (const { text, sha256: ids } of tokens.random) {
      assert.is(joined(processor().tokenizer.encode(text)), ids, JSON.stringify(text));
    }
  });

  run(
    `${name}: ${tokens.decoded.length} random id sequences decode to Python's text, special tokens kept and skipped`,
    () => {
      for (const { seed, vocabulary, text, skipped } of tokens.decoded) {
        const ids = idsFor(seed, 30, vocabulary);
        assert.is(hash(processor().decode(ids)), text, `seed ${seed}`);
        assert.is(
          hash(processor().decode(ids, { skip_special_tokens: true })),
          skipped,
          `seed ${seed}, skipped`,
        );
      }
    },
  );

  run(
    `${name}: streamed deltas of ${tokens.decoded.length} sequences and texts join to decode of all, none with half a character`,
    () => {
      const { tokenizer } = processor();
      const texts = [...tokens.texts, ...tokens.random].map(({ text }) => tokenizer.encode(text));
      const sequences = [
        ...tokens.decoded.map(({ seed, vocabulary }) => idsFor(seed, 60, vocabulary)),
        ...texts,
      ];
      let held = 0;
      for (const ids of sequences) {
        for (const skip_special_tokens of [false, true]) {
          const stream = new TextStream(tokenizer, { skip_special_tokens });
          const deltas = ids.map((id) => stream.push(id));
          held += deltas.filter((delta) => delta === '').length;
          deltas.push(stream.end());
          assert.is(deltas.join(''), tokenizer.decode(ids, { skip_special_tokens }));
        }
      }
      assert.ok(held > 100, `only ${held} pushes held text back: the test is too easy`);
      const emoji = tokenizer.encode('🙂 café 你');
      const stream = new TextStream(tokenizer);
      for (const id of emoji) assert.not.match(stream.push(id), /\ufffd/);
    },
  );

  run(`${name}: ${whole.prompts.length} conversations give the reference's prompts`, () => {
    for (const { conversation, add_generation_prompt, prompt } of whole.prompts) {
      assert.is(processor().apply_chat_template(conversation, { add_generation_prompt }), prompt);
    }
  });

  run(
    `${name}: ${whole.calls.length} calls give the reference's ids, masks and pixels, padded left and right`,
    async () => {
      for (const { text, images, options, ...want } of whole.calls) {
        const pictures = images.map((sample) => sample.map(formula));
        const got = await processor().process({ text, images: pictures, ...options });
        assert.equal(got.input_ids.dims, want.dims, text.join());
        assert.is(joined(got.input_ids.data), want.input_ids, text.join());
        assert.is(joined(got.attention_mask.data), want.attention_mask, text.join());
        assert.equal(got.pixel_values!.dims, want.pixel_dims);
        assert.is(sha256(got.pixel_values!.data), want.pixel_values);
      }
    },
  );
}

test.run();
