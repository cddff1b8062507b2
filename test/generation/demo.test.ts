import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AutoProcessor, SmolVLMForConditionalGeneration } from '../../src/index.js';
import { root, shapes } from '../support/paths.js';

interface Sample {
  file: string;
  kind: string;
  question: string;
  answer: string;
  ids: number[];
  prompt_ids: number[];
}

const folder = join(root, 'test/fixtures/demo');
const answers = JSON.parse(readFileSync(join(folder, 'answers.json'), 'utf8')) as {
  max_new_tokens: number;
  samples: Sample[];
};

const processor = await AutoProcessor.from_pretrained(shapes);
const model = await SmolVLMForConditionalGeneration.from_pretrained(shapes);

test('the embedded checkpoint gives the very answers that transformers gave, on all 200 held-out pictures', async () => {
  let compared = 0;
  for (const sample of answers.samples) {
    const image = new Uint8Array(readFileSync(join(folder, sample.file)));
    const content = [
      { type: 'image' as const, image },
      { type: 'text' as const, text: sample.question },
    ];
    const inputs = await processor.apply_chat_template([{ role: 'user', content }], {
      add_generation_prompt: true,
      tokenize: true,
    });
    const prompt = Array.from(inputs.input_ids.data, Number);
    assert.equal(prompt, sample.prompt_ids, `${sample.file}: prompt ids`);
    const { max_new_tokens } = answers;
    const { data } = await model.generate({ ...inputs, max_new_tokens });
    const made = Array.from(data).slice(prompt.length);
    assert.equal(made, sample.ids, `${sample.file}: ${sample.question}`);
    assert.is(processor.decode(made, { skip_special_tokens: true }), sample.answer);
    compared++;
  }
  assert.is(compared, 200);
});

test('the 200 questions are of at least four kinds, on PNG and JPEG', () => {
  const kinds = new Set(answers.samples.map(({ kind }) => kind));
  assert.ok(kinds.size >= 4, [...kinds].join());
  for (const extension of ['.png', '.jpg']) {
    const count = answers.samples.filter(({ file }) => file.endsWith(extension)).length;
    assert.ok(count >= 20, `${count} ${extension}`);
  }
});

test.after(() => model.dispose());
test.run();
