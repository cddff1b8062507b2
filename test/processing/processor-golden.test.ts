import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { InputError, SmolVLMError } from '../../src/errors.js';
import {
  type CallCase,
  CHECKPOINTS,
  callInputs,
  chatInputs,
  DISAGREEMENTS,
  described,
  type Reference,
} from './processor-cases.js';

async function holds(label: string, reference: Reference, action: () => unknown): Promise<void> {
  let result: unknown;
  try {
    result = described(await action());
  } catch (error) {
    assert.instance(error, SmolVLMError, `${label}: ${error}`);
    assert.ok(reference.error, `${label}: refused here, not in Python: ${error}`);
    const { what, where, expected, got } = error as SmolVLMError;
    assert.ok(what && where && expected && got !== undefined, `${label}: ${error}`);
    return;
  }
  assert.is(reference.error, undefined, `${label}: Python refused: ${reference.message}`);
  assert.equal(result, reference.result, label);
}

for (const { name, folder, present, golden, processor } of CHECKPOINTS) {
  const run = present ? test : test.skip;
  if (!present) console.log(`SKIP ${name} (no ${folder})`);

  const calls = golden.calls.filter((item) => !DISAGREEMENTS.has(item.name));
  const groups: [string, (item: CallCase) => boolean][] = [
    ['texts', ({ inputs }) => !('images' in inputs) && !('videos' in inputs)],
    ['pictures', ({ inputs }) => 'images' in inputs],
    ['videos', ({ inputs }) => 'videos' in inputs && !('images' in inputs)],
  ];
  for (const [kind, belongs] of groups) {
    const mine = calls.filter(belongs);
    run(
      `${name}: calls with ${kind} give the reference's tensors, and those that it refuses are refused`,
      async () => {
        assert.ok(mine.length > 5);
        for (const item of mine) await holds(item.name, item, () => processor().process(callInputs(item)));
      },
    );
  }

  const chats = golden.chats.filter((item) => !DISAGREEMENTS.has(item.name));
  run(
    `${name}: conversations give the reference's prompts and tensors, and those that it refuses are refused`,
    async () => {
      assert.ok(chats.length > 20);
      for (const item of chats) {
        await holds(item.name, item, () => processor().apply_chat_template(...chatInputs(item)));
      }
    },
  );

  if (name === 'SmolVLM-256M-Instruct') {
    run(
      `${name}: "Can you describe this image?" has 1141, 876, 877, 611 and 81 ids at 4×4, 3×4, 4×3, 2×4 and unsplit`,
      async () => {
        const described = golden.chats.filter(({ name: title }) => title.startsWith('describe '));
        const lengths: number[] = [];
        const grids: number[][] = [];
        for (const item of described) {
          const out = await processor().apply_chat_template(
            ...(chatInputs(item) as [never, { tokenize: true; return_dict: true }]),
          );
          lengths.push(out.input_ids.dims[1]);
          grids.push([out.rows![0][0], out.cols![0][0], out.pixel_values!.dims[1]]);
        }
        assert.equal(lengths, [1141, 876, 877, 611, 81]);
        assert.equal(grids, [
          [4, 4, 17],
          [3, 4, 13],
          [4, 3, 13],
          [2, 4, 9],
          [0, 0, 1],
        ]);
      },
    );
  }

  run(`${name}: a call of the processor itself, by position and by name, is process`, async () => {
    const item = golden.calls.find((c) => c.name === 'pictures for several texts')!;
    const inputs = callInputs(item) as { images: never; text: never };
    const { images, text, ...options } = inputs;
    const byPosition = await processor()(images, text, null, null, options);
    assert.equal(described(byPosition), item.result);
    assert.equal(described(await processor()(inputs)), item.result);
    const alone = golden.calls.find((c) => c.name === 'one picture without text')!;
    const { images: one, ...rest } = callInputs(alone) as { images: never };
    assert.equal(described(await processor()(one, null, null, null, rest)), alone.result);
    try {
      await processor()(null, 'red', [0.5] as never);
      assert.unreachable('audio was taken');
    } catch (error) {
      assert.instance(error, InputError);
      assert.is((error as InputError).where, 'audio');
    }
  });

  run(`${name}: words with is_split_into_words have the ids of the tokenizer underneath`, async () => {
    for (const { words, ids } of golden.words) {
      if (words.includes('<image>')) continue;
      const one = await processor().process({ text: words, is_split_into_words: true });
      assert.equal(Array.from(one.input_ids.data, Number), ids, words.join('|'));
      const two = await processor().process({ text: [words, words], is_split_into_words: true });
      assert.equal(Array.from(two.input_ids.data, Number), [...ids, ...ids]);
    }
  });

  run(`${name}: batch_decode and post_process_image_text_to_text of batches and of one sequence`, () => {
    for (const { ids, batch_decode, skipped, post_process, kept } of golden.decodes) {
      const flat = ids.flat() as number[];
      const dims = Array.isArray(ids[0]) ? [ids.length, flat.length / ids.length] : [ids.length];
      const data = BigInt64Array.from(flat.map(BigInt));
      for (const sequences of [ids as number[][], { data, dims }]) {
        assert.equal(processor().batch_decode(sequences), batch_decode);
        assert.equal(processor().batch_decode(sequences, { skip_special_tokens: true }), skipped);
        assert.equal(processor().post_process_image_text_to_text(sequences), post_process);
        const keep = { skip_special_tokens: false };
        assert.equal(processor().post_process_image_text_to_text(sequences, keep), kept);
      }
    }
  });

  run(`${name}: names, sides, tokens and lengths are the reference's`, () => {
    const { tokenizer, ...own } = processor();
    const { padding_side, image_processor, ...facts } = golden.facts;
    const got: Record<string, unknown> = {
      model_input_names: processor().model_input_names,
      eos_token: tokenizer.eos_token,
      pad_token: tokenizer.pad_token,
      truncation_side: tokenizer.truncation_side,
      model_max_length: tokenizer.model_max_length,
      image_token_id: own.image_token_id,
      image_seq_len: own.image_seq_len,
      video_token: own.video_token,
    };
    assert.equal(got, facts);
    assert.is(tokenizer.padding_side ?? 'right', padding_side);
    assert.is(processor().image_processor.constructor.name, image_processor);
  });

  run(`${name}: save_pretrained writes what the reference writes`, async () => {
    const files = new Map<string, Uint8Array<ArrayBuffer>>();
    await processor().save_pretrained(files);
    for (const [file, want] of Object.entries(golden.saved)) {
      const text = new TextDecoder().decode(files.get(file));
      if (!file.endsWith('.json')) {
        assert.is(text, want, file);
        continue;
      }
      const got = JSON.parse(text) as Record<string, unknown>;
      if (file !== 'video_preprocessor_config.json') {
        assert.equal(got, want, file);
        continue;
      }
      // The reference saves nulls, and what it read without knowing it; here are options that it does not have.
      const known = Object.entries(want as object).filter(([key, value]) => value !== null && key in got);
      assert.ok(known.length > 12);
      for (const [key, value] of known) assert.equal(got[key], value, `${file}: ${key}`);
    }
  });
}

test.run();
