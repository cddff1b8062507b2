/** From messages to answers: what the processor makes of a mixed batch, the model takes. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AutoProcessor, SmolVLMForConditionalGeneration } from '../../src/index.js';
import { ROOT } from './pictures.js';

const EMBEDDED = join(ROOT, 'checkpoints', 'smolvlm-shapes');
const levels = (length: number, step: number) => Uint8Array.from({ length }, (_, i) => (i * step) & 255);
const picture = (step: number) => ({ data: levels(64 * 64 * 3, step), width: 64, height: 64 });
const film = (frames: number, step: number) => ({
  data: levels(frames * 64 * 64 * 3, step),
  dims: [frames, 64, 64, 3],
});
const user = (...content: { type: string; [key: string]: unknown }[]) => [{ role: 'user', content }];
const text = (value: string) => ({ type: 'text', text: value });

test('a batch of a picture, two pictures, a video, text alone, and a video with a picture answers each row as it does alone, bit for bit', async () => {
  const processor = await AutoProcessor.from_pretrained(EMBEDDED);
  const model = await SmolVLMForConditionalGeneration.from_pretrained(EMBEDDED);
  try {
    const conversations = [
      user({ type: 'image', image: picture(3) }, text('What is this?')),
      user({ type: 'image', image: picture(5) }, { type: 'image', image: picture(7) }, text('And these?')),
      user({ type: 'video', video: film(3, 9) }, text('What happens?')),
      [{ role: 'user', content: 'who are you?' }],
      user({ type: 'video', video: film(2, 11) }, { type: 'image', image: picture(13) }, text('Both?')),
    ];
    const options = { tokenize: true, return_dict: true, add_generation_prompt: true } as const;
    /** Per row, the ids of three steps and every score that they were chosen by. */
    const answer = async (inputs: Awaited<ReturnType<typeof processor.apply_chat_template>>) => {
      const asked = {
        max_new_tokens: 3,
        eos_token_id: [],
        output_logits: true,
        return_dict_in_generate: true,
      };
      const { sequences, logits } = await model.generate({ ...(inputs as object), ...asked } as never);
      const [batch, length] = sequences.dims;
      return Array.from({ length: batch }, (_, row) => ({
        ids: Array.from(sequences.data.slice((row + 1) * length - 3, (row + 1) * length)),
        scores: logits!.map(({ data, dims }) => Array.from(data.slice(row * dims[1], (row + 1) * dims[1]))),
      }));
    };
    const batch = await processor.apply_chat_template(conversations, options);
    assert.equal(batch.pixel_values!.dims, [5, 3, 3, 64, 64]);
    const together = await answer(batch);
    for (const [row, conversation] of conversations.entries()) {
      const [alone] = await answer(await processor.apply_chat_template(conversation, options));
      assert.is(alone.scores.length, 3);
      assert.ok(alone.scores.flat().every(Number.isFinite));
      assert.equal(together[row], alone, `row ${row}`);
    }
  } finally {
    await model.dispose();
  }
});

test.run();
