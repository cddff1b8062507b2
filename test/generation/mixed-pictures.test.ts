import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AutoProcessor, SmolVLMForConditionalGeneration } from '../../src/index.js';
import { root, shapes } from '../support/paths.js';

const processor = await AutoProcessor.from_pretrained(shapes);
const model = await SmolVLMForConditionalGeneration.from_pretrained(shapes);
const folder = join(root, 'examples/pictures');
const pictures = readdirSync(folder)
  .sort()
  .map((name) => ({ type: 'image' as const, image: new Uint8Array(readFileSync(join(folder, name))) }));

/** Prompts with 0, 1, 2 and 3 pictures. */
const conversations = [0, 1, 2, 3].map((count) => [
  {
    role: 'user',
    content: [...pictures.slice(0, count), { type: 'text' as const, text: 'Which shapes are there?' }],
  },
]);

async function generate(batch: typeof conversations) {
  const inputs = await processor.apply_chat_template(batch, { add_generation_prompt: true, tokenize: true });
  const out = await model.generate({
    ...inputs,
    max_new_tokens: 20,
    // No end: every row makes every token, alone and together.
    eos_token_id: [],
    return_dict_in_generate: true,
    output_logits: true,
  });
  const prompt = inputs.input_ids.dims[1];
  const [rows, columns] = out.sequences.dims;
  return Array.from({ length: rows }, (_, row) => ({
    ids: Array.from(out.sequences.data.slice(row * columns + prompt, (row + 1) * columns)),
    logits: out.logits!.map(
      ({ data, dims }) => new Uint32Array(data.slice(row * dims[1], (row + 1) * dims[1]).buffer),
    ),
  }));
}

test('a batch of prompts with 0, 1, 2 and 3 pictures generates for each row what it generates alone, logits to the last bit', async () => {
  const together = await generate(conversations);
  for (const [row, conversation] of conversations.entries()) {
    const [alone] = await generate([conversation]);
    assert.is(alone.ids.length, 20);
    assert.equal(together[row].ids, alone.ids, `row ${row}: ids`);
    for (const [step, logits] of alone.logits.entries()) {
      assert.equal(together[row].logits[step], logits, `row ${row}, step ${step}`);
    }
  }
});

test.after(() => model.dispose());
test.run();
