/** Where the model page and transformers 4.56.2 part, or this library and 4.56.2: what each does, side by side. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { InputError, type SmolVLMError } from '../../src/errors.js';
import type { ProcessedInputs } from '../../src/processing/index.js';
import { CHECKPOINTS, callInputs, chatInputs, DISAGREEMENTS, described } from './processor-cases.js';

/** The embedded checkpoint is always there; the real files run the same cases where they are. */
for (const { name, folder, present, golden, processor } of CHECKPOINTS) {
  const run = present ? test : test.skip;
  if (!present) console.log(`SKIP ${name} (no ${folder})`);
  const seen = new Set<string>();

  const call = (title: string) => {
    seen.add(title);
    const item = golden.calls.find((candidate) => candidate.name === title)!;
    return { ...item, ours: () => processor().process(callInputs(item)) as Promise<ProcessedInputs> };
  };
  const chat = (title: string) => {
    seen.add(title);
    const item = golden.chats.find((candidate) => candidate.name === title)!;
    return {
      ...item,
      ours: () => processor().apply_chat_template(...chatInputs(item)) as unknown as Promise<ProcessedInputs>,
    };
  };
  const refusal = async (action: () => unknown): Promise<SmolVLMError> => {
    try {
      await action();
    } catch (error) {
      assert.instance(error, InputError, String(error));
      return error as SmolVLMError;
    }
    throw new Error('nothing was thrown');
  };
  /** The ids of one row, padding left out. */
  const row = ({ input_ids, attention_mask }: ProcessedInputs, index: number) => {
    const length = input_ids.dims[1];
    const at = (i: number) => index * length + i;
    return Array.from({ length }, (_, i) => i)
      .filter((i) => attention_mask.data[at(i)] === 1n)
      .map((i) => Number(input_ids.data[at(i)]));
  };
  const ids = async (text: string) => row(await processor().process({ text }), 0);

  run(`${name}: an unknown option is ignored by 4.56.2 and refused by name here`, async () => {
    const item = call('unknown option');
    assert.is(item.error, undefined);
    const error = await refusal(item.ours);
    assert.is(error.where, 'shimmer');
    assert.match(error.what, 'unsupported option shimmer');
    assert.is(error.got, '3');
  });

  run(`${name}: audio is dropped by 4.56.2 and refused by name here`, async () => {
    const item = call('audio');
    assert.is(item.error, undefined);
    const error = await refusal(item.ours);
    assert.is(error.where, 'audio');
    assert.match(error.what, 'audio is not supported');
    assert.is(
      (await refusal(() => processor().process({ text: 'a', sampling_rate: 1 } as never))).where,
      'sampling_rate',
    );
  });

  run(
    `${name}: do_image_splitting of a call is ignored by 4.56.2 and heeded here, as images_kwargs is there`,
    async () => {
      for (const [flat, nested] of [
        ['splitting per call', 'images_kwargs split the picture'],
        ['not splitting per call', 'images_kwargs do not split the picture'],
      ]) {
        const item = call(flat);
        const wanted = golden.calls.find((candidate) => candidate.name === nested)!;
        assert.equal(described(await item.ours()), wanted.result);
      }
      const [split, whole] = ['splitting per call', 'not splitting per call'].map(
        (title) => call(title).result,
      );
      assert.equal(split, whole, '4.56.2 makes no difference');
    },
  );

  run(
    `${name}: max_image_size as a number raises in 4.56.2 and is the tile's edge here, as the page has it`,
    async () => {
      const item = call('max_image_size as a number');
      assert.is(item.error, 'TypeError');
      const { pixel_values } = await item.ours();
      const options = { size: { longest_edge: 256 }, max_image_size: { longest_edge: 64 } };
      const { images } = callInputs(item) as { images: never };
      const dict = await processor().process({ images, ...options });
      assert.equal(pixel_values, dict.pixel_values);
      assert.equal(pixel_values!.dims.slice(2), [3, 64, 64]);
    },
  );

  run(
    `${name}: a row of text alone beside one with a picture raises in 4.56.2 and is as it is alone here`,
    async () => {
      const item = call('a row of text alone');
      assert.is(item.error, 'ValueError');
      const out = await item.ours();
      assert.is(out.pixel_values!.dims[0], 2);
      assert.equal(row(out, 1), await ids('b'));
      const half = out.pixel_values!.data.length / 2;
      assert.ok(out.pixel_values!.data.subarray(half).every((value) => value === 0));
      assert.ok(out.pixel_attention_mask!.data.subarray(half / 3).every((value) => value === 0));
      const chatted = chat('a conversation of text alone in a batch');
      assert.is(chatted.error, 'ValueError');
      const both = await chatted.ours();
      assert.ok(row(both, 0).includes(processor().image_token_id));
      assert.not.ok(row(both, 1).includes(processor().image_token_id));
    },
  );

  run(
    `${name}: of pictures and videos together 4.56.2 drops the videos; here both are in the order of the text`,
    async () => {
      const item = call('pictures and videos');
      assert.is(item.error, undefined);
      const inputs = callInputs(item) as { images: never; videos: never };
      const { videos: _, ...without } = inputs;
      assert.equal(described(await processor().process(without)), item.result, 'the video is a word there');
      const tile = processor().video_processor.max_image_size.longest_edge;
      const options = {
        ...inputs,
        max_image_size: tile,
        size: { longest_edge: 2 * tile },
        do_image_splitting: false,
      };
      const out = (await processor().process({ ...options, text: '<image><video>' })) as ProcessedInputs;
      assert.equal(out.pixel_values!.dims, [1, 5, 3, tile, tile]);
      const count = row(out, 0).filter((id) => id === processor().image_token_id).length;
      assert.is(count, 5 * processor().image_seq_len);
      const swapped = (await processor().process({ ...options, text: '<video><image>' })) as ProcessedInputs;
      const size = 3 * tile * tile;
      const first = out.pixel_values!.data.subarray(0, size);
      assert.equal(swapped.pixel_values!.data.subarray(4 * size), first);
      assert.equal(swapped.pixel_values!.data.subarray(0, 4 * size), out.pixel_values!.data.subarray(size));
      // Rows of one kind each, as the page's batch of mixed media has them.
      const rows = (await processor().process({
        ...options,
        text: ['a <image>', 'b <video>', 'c'],
        images: [(inputs.images as never[][])[0], [], []] as never,
        videos: [[], (inputs.videos as never[][])[0], []] as never,
      })) as ProcessedInputs;
      assert.equal(rows.pixel_values!.dims.slice(0, 2), [3, 4]);
      assert.equal(rows.pixel_values!.data.subarray(0, size), first);
      assert.equal(
        rows.pixel_values!.data.subarray(4 * size, 8 * size),
        out.pixel_values!.data.subarray(size),
      );
      assert.equal(row(rows, 2), await ids('c'));
      // Tiles and frames of different sizes cannot be one tensor.
      const error = await refusal(() =>
        processor().process({
          ...options,
          max_image_size: tile / 2,
          videos_kwargs: { max_image_size: tile },
          text: '<image><video>',
        } as never),
      );
      assert.is(error.where, 'max_image_size');
    },
  );

  run(
    `${name}: a list of one video raises in 4.56.2 and is one text's here, as the page has it`,
    async () => {
      const item = call('a list of one video');
      assert.is(item.error, 'ValueError');
      const nested = golden.calls.find((candidate) => candidate.name === 'a video without metadata')!;
      assert.equal(described(await item.ours()), nested.result);
    },
  );

  run(`${name}: a row without a video beside one with raises in 4.56.2 and works here`, async () => {
    const item = call('a row without a video');
    assert.is(item.error, 'AttributeError');
    const out = await item.ours();
    assert.is(out.pixel_values!.dims[0], 1);
    assert.is(out.input_ids.dims[0], 2);
    assert.equal(row(out, 1), await ids('b'));
  });

  run(
    `${name}: content as a string loses its text in 4.56.2 and raises when tokenized; here it is a piece of text`,
    async () => {
      const item = chat('content as a string');
      assert.is(item.result, '<|im_start|>User: <end_of_utterance>\nAssistant:');
      assert.is(
        await (item.ours() as unknown as string),
        '<|im_start|>User: who are you?<end_of_utterance>\nAssistant:',
      );
      const tokenized = chat('content as a string, tokenized');
      assert.is(tokenized.error, 'TypeError');
      const text = '<|im_start|>User: who are you?<end_of_utterance>\n';
      assert.equal(row(await tokenized.ours(), 0), await ids(text));
    },
  );

  run(`${name}: pictures in two turns raise in 4.56.2 and are one conversation's here`, async () => {
    const item = chat('pictures in two turns');
    assert.is(item.error, 'ValueError');
    const out = await item.ours();
    assert.is(out.rows![0].length, 2);
    assert.is(out.pixel_values!.dims[0], 1);
  });

  run(`${name}: content of an unknown kind is dropped by 4.56.2 and refused by its place here`, async () => {
    const item = chat('unknown content');
    assert.is(item.error, undefined);
    const error = await refusal(item.ours);
    assert.is(error.where, 'conversation[0].content[0]');
    assert.is(error.got, 'smell');
  });

  run(
    `${name}: a video whose number of frames nobody says raises in 4.56.2 and is taken whole here`,
    async () => {
      const item = chat('a video, no number of frames anywhere');
      assert.is(item.error, 'TypeError');
      const whole = golden.chats.find((candidate) => candidate.name === 'a video')!;
      assert.equal(described(await item.ours()), whole.result);
    },
  );

  run(
    `${name}: words raise in 4.56.2 without add_prefix_space; here pictures among them are expanded too`,
    async () => {
      const item = golden.words.find(({ words }) => words.includes('<image>'))!;
      assert.is(golden.words[0].reference.error, 'AssertionError');
      assert.is(item.reference.error, 'ValueError');
      const images = callInputs(golden.calls.find((c) => c.name === 'a picture for a text')!) as {
        images: never;
      };
      const out = (await processor().process({
        ...images,
        text: item.words,
        is_split_into_words: true,
      })) as ProcessedInputs;
      const expanded = (await processor().process({ ...images, text: '<image>' })) as ProcessedInputs;
      assert.equal(row(out, 0), [...row(expanded, 0), ...(await ids('x'))]);
    },
  );

  run(
    `${name}: without padding a batch is no tensor in 4.56.2; left out, it is padded on the left here`,
    async () => {
      const item = golden.calls.find((candidate) => candidate.name === 'padding false of different lengths')!;
      assert.is(item.error, 'ValueError');
      const { text } = item.inputs as { text: string[] };
      const left = golden.calls.find((candidate) => candidate.name === 'padding longest on the left')!;
      assert.equal(described(await processor().process({ text })), left.result);
      assert.is((await refusal(() => processor().process({ text, padding: false }))).where, 'padding');
    },
  );

  run(`${name}: an empty text has no ids in 4.56.2 and is refused by its place here`, async () => {
    const item = call('an empty text');
    assert.equal((item.result as { input_ids: { dims: number[] } }).input_ids.dims, [1, 0]);
    const error = await refusal(item.ours);
    assert.is(error.where, 'text');
    assert.is(error.got, 'an empty string');
    const batch = call('an empty text in a batch');
    assert.is(batch.error, undefined);
    assert.is((await refusal(batch.ours)).where, 'text[0]');
  });

  run(
    `${name}: without return_row_col_info 4.56.2 forgets the tiles in the prompt, which has them all here`,
    async () => {
      const item = call('no rows and columns');
      const reference = item.result as { input_ids: { dims: number[] }; pixel_values: { dims: number[] } };
      const out = await item.ours();
      const split = golden.calls.find((candidate) => candidate.name === 'images_kwargs split the picture')!;
      assert.equal(described(out), split.result);
      assert.is(out.rows, undefined);
      assert.equal(out.pixel_values!.dims as number[], reference.pixel_values.dims);
      assert.ok(reference.input_ids.dims[1] < out.input_ids.dims[1]);
    },
  );

  run(
    `${name}: an option beside images_kwargs is ignored for pictures by 4.56.2 and heeded here`,
    async () => {
      const item = call('flat beside images_kwargs');
      const tile = processor().image_processor.max_image_size.longest_edge;
      const reference = item.result as { pixel_values: { dims: number[] } };
      assert.equal(reference.pixel_values.dims, [1, 1, 3, tile, tile]);
      assert.equal((await item.ours()).pixel_values!.dims, [1, 1, 3, 32, 32]);
    },
  );

  run(`${name}: every disagreement among the recorded cases is shown from both sides`, () => {
    assert.equal([...seen].sort(), [...DISAGREEMENTS].sort());
  });
}

test.run();
