/** Text as it is made, with the embedded checkpoint. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AutoProcessor, InputError, SmolVLMForConditionalGeneration, TextStreamer } from '../../src/index.js';
import { root, shapes } from '../support/paths.js';

const processor = await AutoProcessor.from_pretrained(shapes);
const model = await SmolVLMForConditionalGeneration.from_pretrained(shapes);
const image = new Uint8Array(readFileSync(join(root, 'examples/pictures/shapes-on-blue.png')));
const content = [
  { type: 'image' as const, image },
  { type: 'text' as const, text: 'Describe this image.' },
];
const inputs = await processor.apply_chat_template([{ role: 'user', content }], {
  add_generation_prompt: true,
  tokenize: true,
});
const columns = inputs.input_ids.dims[1];

for (const skip_special_tokens of [true, false]) {
  for (const skip_prompt of [true, false]) {
    test(`pieces join to what decode gives (skip_prompt ${skip_prompt}, skip_special_tokens ${skip_special_tokens})`, async () => {
      const pieces: string[] = [];
      let ends = 0;
      const streamer = new TextStreamer(processor.tokenizer, {
        skip_prompt,
        skip_special_tokens,
        on_finalized_text: (text, isEnd) => {
          pieces.push(text);
          if (isEnd) ends++;
        },
      });
      // Twice: a streamer can be used again.
      for (const round of [1, 2]) {
        pieces.length = 0;
        const { data } = await model.generate({ ...inputs, max_new_tokens: 24, streamer });
        const ids = Array.from(data).slice(skip_prompt ? columns : 0);
        const options = { skip_special_tokens, clean_up_tokenization_spaces: false };
        assert.is(pieces.join(''), processor.tokenizer.decode(ids, options));
        assert.is(ends, round);
        assert.ok(pieces.length > 3);
      }
    });
  }
}

test('a TextStreamer of several rows is an InputError', async () => {
  const streamer = new TextStreamer(processor.tokenizer, { skip_prompt: true, on_finalized_text: () => {} });
  await model
    .generate({ ...inputs, do_sample: true, num_return_sequences: 2, max_new_tokens: 2, streamer })
    .then(
      () => assert.unreachable(),
      (error) => {
        assert.instance(error, InputError);
        assert.match(error.message, /streamer.*expected 1 row, got 2 rows/);
      },
    );
});

test('stop strings with the checkpoint’s own tokenizer end the text where they say', async () => {
  const whole = await model.generate({ ...inputs, max_new_tokens: 24 });
  const text = processor.tokenizer.decode(Array.from(whole.data).slice(columns));
  const stop = text.slice(6, 9);
  const stopped = await model.generate({
    ...inputs,
    max_new_tokens: 24,
    stop_strings: [stop],
    tokenizer: processor.tokenizer,
  });
  const short = processor.tokenizer.decode(Array.from(stopped.data).slice(columns));
  assert.ok(short.includes(stop) && short.length < text.length, `${short} of ${text}, stopped by ${stop}`);
  assert.ok(text.startsWith(short));
});

test.after(() => model.dispose());
test.run();
