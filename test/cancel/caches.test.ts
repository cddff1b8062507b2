/** A call that its own callback aborts: what was passed over is in no cache, and the same prompt has its answer afterwards. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AutoProcessor, SmolVLMForConditionalGeneration } from '../../src/index.js';
import type { Model } from '../../src/model/model.js';
import { root, shapes } from '../support/paths.js';

interface Sample {
  file: string;
  question: string;
  prompt_ids: number[];
  ids: number[];
}

const folder = join(root, 'test/fixtures/demo');
const { max_new_tokens, samples } = JSON.parse(readFileSync(join(folder, 'answers.json'), 'utf8')) as {
  max_new_tokens: number;
  samples: Sample[];
};
const processor = await AutoProcessor.from_pretrained(shapes);

/** The sample with the most tokens to answer, so that decoding too has its events. */
const [sample] = [...samples].sort((a, b) => b.ids.length - a.ids.length);
const image = new Uint8Array(readFileSync(join(folder, sample.file)));
const content = [
  { type: 'image' as const, image },
  { type: 'text' as const, text: sample.question },
];
const inputs = await processor.apply_chat_template([{ role: 'user', content }], {
  add_generation_prompt: true,
  tokenize: true,
});

for (const threads of [1, 2, 3]) {
  test(`threads ${threads}: aborted within each of its progress events, an answer leaves nothing wrong in the caches`, async () => {
    const model = await SmolVLMForConditionalGeneration.from_pretrained(shapes, { threads });
    const { model: inner } = model as unknown as { model: Model };
    /** What was answered, or the reason of the abort within the event of that number; and how many events there were. */
    const answer = async (at = 0) => {
      const controller = new AbortController();
      const reason = new Error(`event ${at}`);
      const events: string[] = [];
      const progress_callback = ({ status }: { status: string }) => {
        if (events.push(status) === at) controller.abort(reason);
      };
      const { signal } = controller;
      const options = { ...inputs, max_new_tokens, progress_callback, signal };
      const ended = await model.generate(options).then(
        ({ data }) => Array.from(data, Number).slice(sample.prompt_ids.length),
        (error: unknown) => error,
      );
      return { ended, reason, events };
    };
    const { ended, events } = await answer();
    assert.equal(ended, sample.ids);
    for (const status of ['encoding', 'prefill', 'decoding']) assert.ok(events.includes(status), status);
    for (let at = 1; at <= events.length; at++) {
      const where = `event ${at} of ${events.length}, ${events[at - 1]}`;
      inner.prefixes.clear();
      inner.tiles.clear();
      const broken = await answer(at);
      // At the last event everything was computed: the answer may come or not.
      if (at < events.length || !Array.isArray(broken.ended)) assert.is(broken.ended, broken.reason, where);
      assert.equal((await answer()).ended, sample.ids, where);
    }
    model.dispose();
  });
}

test.run();
