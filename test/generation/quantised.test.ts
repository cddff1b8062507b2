import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AutoProcessor, SmolVLMForConditionalGeneration } from '../../src/index.js';
import { root, shapes } from '../support/paths.js';
import { QUANTISED_EXACT_POINTS } from '../tolerance.js';

interface Sample {
  file: string;
  question: string;
  truth: string;
}

const folder = join(root, 'test/fixtures/demo');
const { samples, max_new_tokens, exact } = JSON.parse(readFileSync(join(folder, 'answers.json'), 'utf8')) as {
  max_new_tokens: number;
  samples: Sample[];
  /** Answers of the float32 weights that are the truth to the letter. */
  exact: number;
};

const processor = await AutoProcessor.from_pretrained(shapes);
const prompts = await Promise.all(
  samples.map(async ({ file, question }) => {
    const image = new Uint8Array(readFileSync(join(folder, file)));
    const content = [
      { type: 'image' as const, image },
      { type: 'text' as const, text: question },
    ];
    return processor.apply_chat_template([{ role: 'user', content }], {
      add_generation_prompt: true,
      tokenize: true,
    });
  }),
);

for (const dtype of ['int8', 'int4'] as const) {
  const points = QUANTISED_EXACT_POINTS[dtype];
  test(`${dtype}: exact answers on the 200 held-out pictures drop by at most ${points} points of 100`, async () => {
    const model = await SmolVLMForConditionalGeneration.from_pretrained(shapes, { dtype });
    try {
      let right = 0;
      for (const [i, inputs] of prompts.entries()) {
        const { data } = await model.generate({ ...inputs, max_new_tokens });
        const made = Array.from(data).slice(inputs.input_ids.data.length);
        if (processor.decode(made, { skip_special_tokens: true }).trim() === samples[i]!.truth) right++;
      }
      const least = exact - (points / 100) * samples.length;
      assert.ok(right >= least, `${right} of ${samples.length} are exact; float32: ${exact}`);
    } finally {
      model.dispose();
    }
  });
}

test.run();
