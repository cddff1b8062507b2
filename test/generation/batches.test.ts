/** A batch gives each row what it gives alone. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { generate } from '../../src/generation/generate.js';
import type { GenerateOutput } from '../../src/generation/output.js';
import { defaultsOf, rowAlone, rowsOf, tiny } from './support.js';

const CHECKPOINT = 'batch-0123-images';
const dict = { return_dict_in_generate: true, output_scores: true, output_logits: true } as const;

async function run(args: object, row?: number): Promise<GenerateOutput> {
  const { model, inputs } = await tiny(CHECKPOINT);
  const given = row === undefined ? inputs : rowAlone(inputs, row);
  return (await generate(model, defaultsOf(model), { ...given, ...args, ...dict })) as GenerateOutput;
}

/** The new ids of some rows of the output. */
async function made(output: GenerateOutput, promptColumns: number): Promise<number[][]> {
  return rowsOf(output.sequences).map((ids) => ids.slice(promptColumns));
}

/** Ids up to what rows are filled up with. */
function trimmed(ids: number[], fill: number): number[] {
  let end = ids.length;
  while (end > 0 && ids[end - 1] === fill) end--;
  return ids.slice(0, end);
}

for (const [name, args] of Object.entries({
  greedy: {},
  'greedy with an early eos': { eos_token_id: [4, 9, 17, 30, 44, 51, 60] },
  '3 beams': { num_beams: 3, num_return_sequences: 2 },
  '3 beams with an early eos': { num_beams: 3, num_return_sequences: 2, eos_token_id: [4, 9, 17, 30] },
  '3 beams that stop early': { num_beams: 3, eos_token_id: [4, 9, 17, 30], early_stopping: true },
})) {
  test(`${name}: rows with 0, 1, 2 and 3 pictures get the ids and the bits of the scores that they get alone`, async () => {
    const { model, inputs } = await tiny(CHECKPOINT);
    const pad = defaultsOf(model).pad_token_id;
    const columns = inputs.input_ids!.dims[1];
    const batch = await run({ ...args, max_new_tokens: 10 });
    const each = batch.sequences.dims[0] / 4;
    const wide = batch.scores![0].dims[0] / 4;
    const vocabulary = batch.scores![0].dims[1];
    for (let row = 0; row < 4; row++) {
      const alone = rowAlone(inputs, row);
      const output = await run({ ...args, max_new_tokens: 10 }, row);
      const single = await made(output, alone.input_ids!.dims[1]);
      const together = (await made(batch, columns)).slice(row * each, (row + 1) * each);
      assert.equal(
        together.map((ids) => trimmed(ids, pad)),
        single.map((ids) => trimmed(ids, pad)),
        `row ${row}`,
      );
      for (const [step, { data }] of output.scores!.entries()) {
        const size = wide * vocabulary;
        const part = (steps: typeof batch.scores) => steps![step].data.slice(row * size, (row + 1) * size);
        assert.equal(part(batch.scores), data, `row ${row}, scores of step ${step}`);
        assert.equal(part(batch.logits), output.logits![step].data, `row ${row}, logits of step ${step}`);
      }
      if (batch.sequences_scores) {
        const scores = batch.sequences_scores.data.slice(row * each, (row + 1) * each);
        assert.equal(scores, output.sequences_scores!.data, `row ${row}`);
      }
    }
  });
}

test.run();
