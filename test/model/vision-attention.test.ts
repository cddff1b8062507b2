/** Attention of the vision transformer with int8 weights, in both builds: its taps, masks, threads, and how far it is from float32. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AutoProcessor, SmolVLMVisionTransformer } from '../../src/index.js';
import { hasRelaxedSimd } from '../../src/runtime/binaries.js';
import { nmse } from '../kernels/smooth-pages.js';
import { shapes } from '../support/paths.js';
import { INT8_STATES_NMSE, PROBABILITIES_SUM } from '../tolerance.js';

const PICTURES = ['shapes-on-checks.jpg', 'shapes-on-blue.png'].map((name) => `examples/pictures/${name}`);
const every = { output_attentions: true, output_hidden_states: true };

const processor = await AutoProcessor.from_pretrained(shapes);
const pictures = await Promise.all(
  PICTURES.map(async (path) => {
    const content = [{ type: 'image' as const, image: new Uint8Array(readFileSync(path)) }];
    const chat = [{ role: 'user' as const, content }];
    return (await processor.apply_chat_template(chat, { add_generation_prompt: true, tokenize: true }))
      .pixel_values!;
  }),
);
// The first tile of each.
const [, , channels, height, width] = pictures[0]!.dims;
const size = channels! * height! * width!;
const pixel_values = {
  dims: [PICTURES.length, channels!, height!, width!],
  data: Float32Array.from(pictures.flatMap(({ data }) => Array.from(data.subarray(0, size), Number))),
};

/** Of the first picture all patches count but the last columns, of the second none. */
const { patch_size } = (await tower('float32', false, 1)).config;
const side = width! / patch_size;
const hidden = (i: number) => i >= side ** 2 || i % side >= side - 2;
const patch_attention_mask = {
  dims: [2, side, side],
  data: Uint8Array.from({ length: 2 * side ** 2 }, (_, i) => (hidden(i) ? 0 : 1)),
};

function tower(dtype: 'float32' | 'int8', relaxed: boolean, threads: number) {
  return SmolVLMVisionTransformer.from_pretrained(shapes, { dtype, relaxed, threads });
}

const isRelaxedHere = hasRelaxedSimd();
if (!isRelaxedHere) console.log('SKIP the relaxed build: this engine takes no relaxed SIMD');

for (const relaxed of [false, true]) {
  const build = relaxed ? 'relaxed int8' : 'int8';
  const testHere = relaxed && !isRelaxedHere ? test.skip : test;

  testHere(
    `${build}: probabilities add up to 1, masked patches have 0, and looking at them changes no bit`,
    async () => {
      const model = await tower('int8', relaxed, 1);
      const plain = await model.forward({ pixel_values, patch_attention_mask });
      const seen = await model.forward({ pixel_values, patch_attention_mask, ...every });
      assert.equal(seen.last_hidden_state.data, plain.last_hidden_state.data);
      const patches = side ** 2;
      assert.is(seen.attentions!.length, model.config.num_hidden_layers);
      for (const { dims, data } of seen.attentions!) {
        assert.equal(dims, [2, model.config.num_attention_heads, patches, patches]);
        const rows = data.length / patches;
        for (let row = 0; row < rows; row++) {
          const strip = data.subarray(row * patches, (row + 1) * patches);
          const sum = strip.reduce((a, b) => a + b, 0);
          assert.ok(Math.abs(sum - 1) <= PROBABILITIES_SUM, `row ${row}: ${sum}`);
          // With no patch left all count alike.
          if (row < rows / 2)
            assert.ok(
              strip.every((p, i) => !hidden(i) || p === 0),
              `row ${row}`,
            );
          else
            assert.ok(
              strip.every((p) => Math.abs(p * patches - 1) <= PROBABILITIES_SUM),
              `row ${row}`,
            );
        }
      }
      model.dispose();
    },
  );

  testHere(`${build}: 1, 2 and 3 threads give the same bits`, async () => {
    const [one, ...more] = await Promise.all(
      [1, 2, 3].map(async (threads) => {
        const model = await tower('int8', relaxed, threads);
        const { last_hidden_state, attentions } = await model.forward({
          pixel_values,
          patch_attention_mask,
          ...every,
        });
        model.dispose();
        return [last_hidden_state.data, ...attentions!.map(({ data }) => data)];
      }),
    );
    for (const other of more) assert.equal(other, one);
  });

  const bound = INT8_STATES_NMSE[relaxed ? 'relaxed' : 'plain'];
  testHere(`${build}: the states' NMSE beside float32 is at most ${bound}`, async () => {
    const states = [];
    for (const dtype of ['float32', 'int8'] as const) {
      const model = await tower(dtype, dtype === 'int8' && relaxed, 1);
      states.push((await model.forward({ pixel_values })).last_hidden_state.data);
      model.dispose();
    }
    const error = nmse(states[1]!, states[0]!);
    assert.ok(error > 0 && error <= bound, String(error));
  });
}

test.run();
