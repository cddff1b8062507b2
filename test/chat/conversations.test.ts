import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../support/paths.js';
import { bytesOf, load } from './support.js';

interface Turn {
  question: string;
  answer: string;
  ids: number[];
  prompt_ids: number[];
}

const folder = join(root, 'test/fixtures/demo');
const { conversations, max_new_tokens } = JSON.parse(
  readFileSync(join(folder, 'conversations.json'), 'utf8'),
) as { max_new_tokens: number; conversations: { file: string; turns: Turn[] }[] };

for (const threads of [1, 2]) {
  test(`25 conversations of 4 turns give the very prompts and answers of transformers, ${threads} threads`, async () => {
    const vlm = await load({ threads });
    let compared = 0;
    for (const { file, turns } of conversations) {
      const chat = vlm.chat({ max_new_tokens });
      for (const [turn, { question, answer, ids, prompt_ids }] of turns.entries()) {
        const images = turn === 0 ? [bytesOf(join(folder, file))] : [];
        const said = await chat.send(question, { images });
        assert.equal(said.ids, ids, `${file}: ${question}`);
        assert.is(said.text, answer);
        assert.is(said.usage.prompt_tokens, prompt_ids.length);
        const { input_ids } = await vlm.processor.apply_chat_template(chat.messages.slice(0, -1), {
          add_generation_prompt: true,
          tokenize: true,
        });
        assert.equal(Array.from(input_ids.data, Number), prompt_ids);
        // Behind the first turn no tile is encoded, and of the prompt only what was said since.
        if (turn > 0) {
          const before = turns[turn - 1];
          assert.is(said.usage.tiles_encoded, 0);
          assert.is(said.usage.cached_tokens, before.prompt_ids.length + before.ids.length - 1);
        }
        compared++;
      }
    }
    assert.is(compared, 100);
    vlm.dispose();
  });
}

test.run();
