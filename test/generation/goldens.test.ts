/** `generate` beside PyTorch's, run by run. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { generate } from '../../src/generation/generate.js';
import type { GenerateOutput } from '../../src/generation/output.js';
import type { HostTensor } from '../../src/runtime/tensor.js';
import { GENERATION_SCORE_ERROR } from '../tolerance.js';
import { defaultsOf, readTensors, rowsOf, runs, tiny } from './support.js';

const { tensors } = await readTensors('scores.safetensors');
let compared = 0;

function close(got: ArrayLike<number>, want: ArrayLike<number>, where: string): void {
  assert.is(got.length, want.length, where);
  for (let i = 0; i < want.length; i++) {
    if (got[i] === want[i]) continue;
    const error = Math.abs(got[i] - want[i]) / Math.max(1, Math.abs(want[i]));
    if (!(error <= GENERATION_SCORE_ERROR)) {
      assert.unreachable(`${where}, index ${i}: expected ${want[i]}, got ${got[i]}`);
    }
  }
}

function closeSteps(got: readonly HostTensor<Float32Array>[], name: string): void {
  const want = tensors.get(name);
  if (!want) return;
  const [steps, rows, width] = want.dims;
  assert.equal(
    got.map(({ dims }) => dims),
    new Array(steps).fill([rows, width]),
    name,
  );
  for (const [step, { data }] of got.entries()) {
    const size = rows * width;
    close(data, want.data.slice(step * size, (step + 1) * size) as Float32Array, `${name}, step ${step}`);
  }
  compared++;
}

for (const run of runs) {
  test(`${run.name}: the ids of PyTorch's generate, for ${JSON.stringify(run.options)}`, async () => {
    const { model, inputs } = await tiny(run.checkpoint);
    const dict = { return_dict_in_generate: true, output_scores: true, output_logits: true };
    const args = { ...inputs, ...run.options, ...dict };
    const output = (await generate(model, defaultsOf(model), args)) as GenerateOutput;
    assert.equal(rowsOf(output.sequences), run.sequences);
    assert.is(output.beam_indices !== undefined, run.beam_indices !== undefined);
    if (run.beam_indices) {
      assert.equal(rowsOf(output.beam_indices!), run.beam_indices);
      close(output.sequences_scores!.data, run.sequences_scores!, `${run.name}, sequences_scores`);
    }
    closeSteps(output.scores!, `${run.name}.scores`);
    closeSteps(output.logits!, `${run.name}.logits`);

    // Rows that have ended are left out where nobody asks for their scores: nothing else may change.
    const short = await generate(model, defaultsOf(model), { ...inputs, ...run.options });
    assert.equal(rowsOf(short as HostTensor<Int32Array>), run.sequences);
  });
}

for (const checkpoint of ['selu-embeds-with-ids', 'silu-image-states', 'scale3-gelu_new-f16-shards']) {
  test(`${checkpoint}: greedy ids, for prompts of ids with embeddings, with image states, with float16 weights`, async () => {
    const { model, inputs, greedy } = await tiny(checkpoint);
    const max_length = greedy![0].length;
    const output = await generate(model, defaultsOf(model), { ...inputs, max_length });
    assert.equal(rowsOf(output as HostTensor<Int32Array>), greedy);
  });
}

test('every tensor of scores in the golden was compared', () => {
  assert.is(compared, tensors.size);
  assert.ok(compared >= 8);
});

test.run();
