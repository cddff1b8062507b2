/**
 * What a token, a prompt and a picture cost, counted: the kernels' arguments give the products' multiply-adds and the bytes of
 * weights, and the config says what these must be. An extra pass over a weight, or the head where nobody asked, fails here on
 * any machine, however busy.
 */
import '../support/kernel-calls.js';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { textIds, tile } from '../../bench/inputs.js';
import { textLayerWeights, tokenWeights } from '../../bench/sizes.js';
import { type Weight, weightBytes } from '../../src/runtime/weight.js';
import { cutModel } from '../support/cut-model.js';
import { countWork, productsOf, sum, type Work } from '../support/work.js';
import { CAUSAL_STRIP_SHARE } from '../tolerance.js';

const { model, inner, config } = await cutModel();
const { text_config: text, vision_config: vision } = config;
const { lm_head } = inner.weights;
const head = lm_head.N * lm_head.K;
const bytesOf = ({ layout, dtype, N, K }: Weight) => weightBytes(layout, dtype, N, K);
const headMacs = (work: Work) => sum(productsOf(work, lm_head, bytesOf(lm_head))).macs;

/** A token after `context` others. */
async function decode(context: number, by = model): Promise<Work> {
  const first = await by.forward({
    input_ids: textIds(config, context),
    use_cache: true,
    logits_to_keep: 1,
  });
  const past_key_values = first.past_key_values!;
  const work = await countWork(() =>
    by.forward({ input_ids: textIds(config, 1), past_key_values, logits_to_keep: 1 }),
  );
  past_key_values.dispose();
  return work;
}

const prompt = (count: number, logits_to_keep: number) =>
  countWork(() => model.forward({ input_ids: textIds(config, count), use_cache: false, logits_to_keep }));

for (const dtype of ['bfloat16', 'int8', 'int4'] as const) {
  test(`${dtype}: a decoded token reads each matrix of the decoder and the head exactly once, and no other weight`, async () => {
    const cut = await cutModel({ dtype });
    const work = await decode(20, cut.model);
    const read: Record<string, number> = {};
    const expected: Record<string, number> = {};
    for (const [name, weight] of cut.inner.named) {
      if (weight.layout !== 'panel') continue;
      const isRead = /^model\.text_model\.layers\.|^lm_head\./.test(name);
      const bytes = bytesOf(weight);
      read[name] = sum(productsOf(work, weight, bytes)).bytes / bytes;
      expected[name] = isRead ? 1 : 0;
    }
    cut.model.dispose();
    assert.is(Object.values(expected).filter(Boolean).length, 7 * text.num_hidden_layers + 1);
    assert.equal(read, expected);
    assert.is(sum(work.products).macs, tokenWeights(config), 'multiply-adds');
  });
}

test('a decoded token’s attention is heads · (context + 1) · head_dim · 2 multiply-adds a layer, at 20 and 200', async () => {
  for (const context of [20, 200]) {
    const { attentionMacs } = await decode(context);
    const { num_hidden_layers, num_attention_heads, head_dim } = text;
    assert.is(attentionMacs, num_hidden_layers * num_attention_heads * (context + 1) * head_dim * 2);
  }
});

test('a decoded token makes as many kernel calls at context 200 as at 20: at most 10 a layer and 6 beside them', async () => {
  const total = ({ calls }: Work) => [...calls.values()].reduce((all, count) => all + count, 0);
  const [short, long] = [total(await decode(20)), total(await decode(200))];
  assert.is(long, short);
  // Of a layer: 4 products (q, k, v and gate, up in one go), attention of all heads, the keys, 2 norms with the sums before
  // them, a rotation, the gate. Beside: the embedding, 2 tables, the last norm, the head, and one to spare.
  const layer = 4 + 1 + 1 + 2 + 1 + 1;
  assert.is(layer, 10);
  assert.ok(short <= text.num_hidden_layers * layer + 6, `${short} calls`);
});

test('a prompt multiplies tokens · weights of the decoder, and the head for the columns asked for alone: 1, 3, all', async () => {
  const count = 40;
  const layers = text.num_hidden_layers * textLayerWeights(text);
  for (const keep of [1, 3, 0]) {
    const work = await prompt(count, keep);
    assert.is(headMacs(work), (keep === 0 ? count : keep) * head);
    assert.is(sum(work.products).macs - headMacs(work), count * layers);
  }
});

test('generate computes the head for the prompt’s last token and each further one but the last: n tokens, n rows', async () => {
  const work = await countWork(() =>
    model.generate({ input_ids: textIds(config, 30), max_new_tokens: 5, min_new_tokens: 5 }),
  );
  assert.is(headMacs(work), 5 * head);
  const layers = text.num_hidden_layers * textLayerWeights(text);
  assert.is(sum(work.products).macs - headMacs(work), (30 + 4) * layers);
});

test('a prompt’s attention is the causal triangle: at most a tenth over it at 640 tokens, where the square is twice', async () => {
  const count = 640;
  const { attentionMacs } = await prompt(count, 1);
  const triangle = text.num_hidden_layers * text.num_attention_heads * text.head_dim * count * (count + 1);
  assert.ok(attentionMacs >= triangle, `${attentionMacs} of ${triangle}`);
  assert.ok(attentionMacs <= (1 + CAUSAL_STRIP_SHARE) * triangle, `${attentionMacs / triangle}`);
});

test('a tile multiplies patches · weights of the vision tower, and its states by the projection; the text model rests', async () => {
  const work = await countWork(() => model.get_image_features(tile(config)));
  const { num_patches, hidden_size, intermediate_size, num_hidden_layers, patch_size, num_channels } = vision;
  const layer = 4 * hidden_size ** 2 + 2 * hidden_size * intermediate_size;
  const patches = num_channels * patch_size ** 2 * hidden_size;
  const projection = hidden_size * text.hidden_size;
  assert.is(sum(work.products).macs, num_patches * (num_hidden_layers * layer + patches + projection));
  assert.is(work.attentionMacs, num_hidden_layers * 2 * num_patches ** 2 * hidden_size);
});

test.after(() => model.dispose());
test.run();
