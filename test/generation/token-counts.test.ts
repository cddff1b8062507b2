/** What a token costs beside the arithmetic: the same at every length, but for a page of keys now and then. */
import '../support/kernel-calls.js';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { generate } from '../../src/generation/generate.js';
import { pageBytes } from '../../src/runtime/pages.js';
import { watchKernels } from '../support/kernel-calls.js';
import { defaultsOf, tiny } from './support.js';

const CHECKPOINT = 'text-only-tied-bf16';
const TOKENS = 300;

interface Step {
  kernels: number;
  allocations: number;
  uploads: number;
  used: number;
}

/** Counts what happens between one new token and the next. */
async function stepsOf(args: object): Promise<{ steps: Step[]; slab: number; prompt: number }> {
  const { model, inputs } = await tiny(CHECKPOINT);
  const { engine } = model.ops;
  const { heap, activations } = engine;
  const count = { kernels: 0, allocations: 0, uploads: 0 };
  const { allocate } = activations;
  activations.allocate = (bytes) => {
    count.allocations++;
    return allocate.call(activations, bytes);
  };
  const { upload, uploadInt32 } = engine;
  engine.upload = (data, shape) => {
    count.uploads++;
    return upload.call(engine, data, shape);
  };
  engine.uploadInt32 = (data) => {
    count.uploads++;
    return uploadInt32.call(engine, data);
  };
  const steps: Step[] = [];
  const last = { ...count };
  const streamer = {
    put() {
      steps.push({
        kernels: count.kernels - last.kernels,
        allocations: count.allocations - last.allocations,
        uploads: count.uploads - last.uploads,
        used: heap.used - activations.bytes,
      });
      Object.assign(last, count);
    },
    end() {},
  };
  const row = Array.from(inputs.input_ids!.data, Number).slice(0, 3);
  const input_ids = { dims: [1, row.length], data: Int32Array.from(row) };
  const generating = () =>
    generate(model, defaultsOf(model), {
      input_ids,
      attention_mask: { dims: [1, row.length], data: new Uint8Array(row.length).fill(1) },
      max_new_tokens: TOKENS,
      streamer,
      ...args,
    });
  await watchKernels(() => count.kernels++, generating);
  Object.assign(activations, { allocate });
  Object.assign(engine, { upload, uploadInt32 });
  const { num_hidden_layers, num_key_value_heads, head_dim } = model.config.text_config;
  const slab = num_hidden_layers * num_key_value_heads * pageBytes(head_dim);
  // The first put is the prompt, the second the token that its pass gave.
  return { steps: steps.slice(2), slab, prompt: row.length };
}

for (const [name, args] of [
  ['greedy', {}],
  ['sampling', { do_sample: true, seed: 3 }],
  ['a repetition penalty', { repetition_penalty: 1.2 }],
] as const) {
  test(`${name}: from the second token to the ${TOKENS}th the same kernel calls and uploads, from the third the same scratch, but for more where a page of keys begins`, async () => {
    const { steps, prompt } = await stepsOf(args);
    assert.is(steps.length, TOKENS - 1);
    const { kernels, uploads, allocations } = steps[1]!;
    assert.ok(kernels > 10 && uploads > 0 && allocations > uploads, JSON.stringify(steps[1]));
    for (const [i, step] of steps.entries()) {
      assert.equal([step.kernels, step.uploads], [kernels, uploads], `token ${i + 2}`);
      // There the calls of the layers are made anew, and for the first token that comes alone; elsewhere they are the last one's.
      if (i === 0) continue;
      if ((prompt + i) % 128 === 0) assert.ok(step.allocations > allocations, `token ${i + 2}`);
      else assert.is(step.allocations, allocations, `token ${i + 2}`);
    }
  });
}

test('memory grows by one slab for 128 tokens and by nothing else', async () => {
  const { steps, slab, prompt } = await stepsOf({ reuse_prefix: false });
  for (const [i, { used }] of steps.entries()) {
    const slabs = (keys: number) => Math.ceil(keys / 128);
    const grown = slabs(prompt + i + 1) - slabs(prompt + 1);
    assert.is(used - steps[0]!.used, grown * slab, `token ${i + 2}`);
  }
  assert.is(steps.at(-1)!.used - steps[0]!.used, 2 * slab);
});

test.run();
