/** The embeddings read, set and resized, beside the reference's. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type ResizeOptions,
  SmolVLMForConditionalGeneration,
  SmolVLMVisionTransformer,
} from '../../src/modeling.js';
import { RESIZED_NOISE } from '../tolerance.js';
import { divergence, GOLDENS, openSurface, readCalls, readInput, readOutputs } from './golden.js';
import { tiny } from './tiny-weights.js';

const RESIZES: Record<string, [number | undefined, ResizeOptions]> = {
  'embeddings.grown': [137, {}],
  'embeddings.grown-to-multiple': [undefined, { pad_to_multiple_of: 16 }],
  'embeddings.shrunk': [130, {}],
};

const file = await openSurface();
const embeddingCalls = readCalls().filter(({ name }) => name.startsWith('embeddings.'));

for (const call of embeddingCalls) {
  test(`surface golden ${call.name}: the weights that it leaves, and the logits`, async () => {
    const model = await SmolVLMForConditionalGeneration.from_pretrained(`${GOLDENS}/${call.checkpoint}`);
    const golden = await readOutputs(file, call.name);
    const before = (await model.get_input_embeddings()).num_embeddings;
    const [rows, width] = golden.get('embed_tokens')!.dims;
    const resize = RESIZES[call.name];
    if (resize) {
      const embedding = await model.resize_token_embeddings(...resize);
      assert.is(embedding.num_embeddings, rows);
    } else {
      const data = Float32Array.from({ length: rows * width }, (_, i) => (i % 97) / 64 - 0.75);
      await model.set_input_embeddings({ weight: { dims: [rows, width], data } });
    }
    assert.is(model.config.text_config.vocab_size, rows);
    const ours = {
      embed_tokens: (await model.get_input_embeddings()).weight,
      lm_head: (await model.get_output_embeddings()).weight,
    };
    const old = Math.min(before, rows) * width;
    for (const name of ['embed_tokens', 'lm_head'] as const) {
      const { dims, float32 } = golden.get(name)!;
      assert.equal(ours[name].dims, dims);
      assert.equal(ours[name].data.subarray(0, old), float32.subarray(0, old), `${name}: the old rows' bits`);
      const added = ours[name].data.subarray(old);
      for (const [i, value] of added.entries()) {
        const error = Math.abs(value - float32[old + i]);
        assert.ok(
          error < RESIZED_NOISE,
          `${name}: row ${before + Math.floor(i / width)}, ${value} for ${float32[old + i]}`,
        );
      }
    }
    const input_ids = await readInput(file, call, 'input_ids');
    const attention_mask = await readInput(file, call, 'attention_mask');
    const { logits } = await model.forward({ input_ids, attention_mask });
    const vocabulary = Math.min(before, rows);
    const wrong = divergence('logits', logits, golden.get('logits')!, (index) => index % rows < vocabulary);
    assert.equal(wrong, []);
    model.dispose();
  });
}

test('resizing: new rows are the mean, or normal; tied heads follow; what is saved has the new size', async () => {
  const config = tiny();
  config.text_config.tie_word_embeddings = true;
  const model = await SmolVLMForConditionalGeneration.from_config(config);
  const { weight: old } = await model.get_input_embeddings();
  const mean = Float32Array.from({ length: 48 }, (_, k) => {
    let sum = 0;
    for (let row = 0; row < 64; row++) sum += old.data[row * 48 + k];
    return sum / 64;
  });
  const { weight } = await model.resize_token_embeddings(66);
  assert.equal(weight.data.subarray(64 * 48, 65 * 48), mean);
  assert.equal((await model.get_output_embeddings()).weight, weight);
  const { weight: drawn } = await model.resize_token_embeddings(80, { mean_resizing: false, seed: 9 });
  const fresh = drawn.data.subarray(66 * 48);
  const deviation = Math.sqrt(fresh.reduce((sum, value) => sum + value * value, 0) / fresh.length);
  assert.ok(Math.abs(deviation - 0.3) < 0.05, `deviation ${deviation}`);
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  await model.save_pretrained(files);
  const again = await SmolVLMForConditionalGeneration.from_pretrained(files);
  assert.is(again.config.text_config.vocab_size, 80);
  const input_ids = { dims: [1, 2], data: Int32Array.of(79, 3) };
  assert.equal(
    (await again.forward({ input_ids, use_cache: false })).logits,
    (await model.forward({ input_ids, use_cache: false })).logits,
  );
  const same = await model.resize_token_embeddings();
  assert.is(same.num_embeddings, 80);
  for (const each of [model, again]) each.dispose();
});

test('the vision embeddings can be read and set', async () => {
  const model = new SmolVLMVisionTransformer(tiny().vision_config);
  const { patch_embedding, position_embedding } = await model.get_input_embeddings();
  assert.equal(patch_embedding.weight.dims, [64, 3, 8, 8]);
  assert.equal(patch_embedding.bias.dims, [64]);
  assert.equal(position_embedding.weight.dims, [16, 64]);
  const pixel_values = { dims: [1, 3, 32, 32], data: new Float32Array(3072) };
  const position = { dims: [16, 64], data: Float32Array.from({ length: 1024 }, (_, i) => i % 5) };
  const bias = { dims: [64], data: new Float32Array(64).fill(0.5) };
  await model.set_input_embeddings({
    patch_embedding: { weight: patch_embedding.weight, bias },
    position_embedding: { weight: position },
  });
  const { hidden_states } = await model.forward({ pixel_values, output_hidden_states: true });
  const [first] = hidden_states!;
  const ids = [0, 0, 1, 2].flatMap((row) => [0, 0, 1, 2].map((column) => row * 4 + column));
  assert.equal(first.data.length, 1024);
  const rows = new Set(
    Array.from({ length: 16 }, (_, i) => String(first.data.subarray(i * 64, i * 64 + 64))),
  );
  const expected = ids.map((id) =>
    String(position.data.subarray(id * 64, id * 64 + 64).map((value) => value + 0.5)),
  );
  assert.ok(
    [...rows].every((row) => expected.includes(row)),
    'bias and positions alone remain of a black picture',
  );
  model.dispose();
});

test.after(() => file.close());

test.run();
