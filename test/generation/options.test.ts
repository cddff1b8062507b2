/** Options: defaults, precedence, and every refusal. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/folder.js';
import { ConfigError, InputError } from '../../src/errors.js';
import { parseGenerationConfig, readGenerationConfig } from '../../src/generation/config.js';
import { generate } from '../../src/generation/generate.js';
import { resolveOptions } from '../../src/generation/options.js';
import type { HostTensor } from '../../src/runtime/tensor.js';
import { defaultsOf, held, rowsOf, tiny } from './support.js';

test('defaults are those of the reference’s GenerationConfig', () => {
  const settings = resolveOptions({});
  const { do_sample, temperature, top_k, top_p, min_p, typical_p, num_beams, early_stopping } = settings;
  assert.equal(
    { do_sample, temperature, top_k, top_p, min_p, typical_p, num_beams, early_stopping },
    {
      do_sample: false,
      temperature: 1,
      top_k: 50,
      top_p: 1,
      min_p: null,
      typical_p: 1,
      num_beams: 1,
      early_stopping: false,
    },
  );
  assert.equal([settings.max_new_tokens, settings.max_length, settings.min_length], [null, null, 0]);
  assert.equal(
    [settings.length_penalty, settings.repetition_penalty, settings.num_return_sequences],
    [1, 1, 1],
  );
  assert.equal([settings.eos_token_id, settings.stop_strings], [[], []]);
});

test('a call goes before its generation_config, that before the checkpoint’s; null switches off, undefined does not', () => {
  const layers = [
    { top_k: 3, top_p: null, min_p: undefined },
    { top_k: 4, top_p: 0.5, temperature: 2 },
    { top_k: 5, min_p: 0.1, temperature: 3, eos_token_id: 7 },
  ];
  const { top_k, top_p, min_p, temperature, eos_token_id } = resolveOptions(...layers);
  assert.equal([top_k, top_p, min_p, temperature, eos_token_id], [3, null, 0.1, 2, [7]]);
});

const WRONG: [object, string, string][] = [
  [{ do_sample: true, temperature: 0 }, 'temperature', 'above 0'],
  [{ do_sample: true, temperature: -1 }, 'temperature', 'above 0'],
  [{ temperature: 'hot' }, 'temperature', 'a number'],
  [{ top_p: 1.01 }, 'top_p', 'from 0 to 1'],
  [{ top_p: -0.1 }, 'top_p', 'from 0 to 1'],
  [{ top_k: -1 }, 'top_k', '0 or more'],
  [{ top_k: 1.5 }, 'top_k', '0 or more'],
  [{ min_p: 2 }, 'min_p', 'from 0 to 1'],
  [{ typical_p: 0 }, 'typical_p', 'above 0'],
  [{ epsilon_cutoff: 1 }, 'epsilon_cutoff', 'below 1'],
  [{ eta_cutoff: -0.1 }, 'eta_cutoff', 'from 0'],
  [{ repetition_penalty: 0 }, 'repetition_penalty', 'above 0'],
  [{ no_repeat_ngram_size: -2 }, 'no_repeat_ngram_size', '0 or more'],
  [{ num_beams: 0 }, 'num_beams', 'above 0'],
  [{ num_return_sequences: 2 }, 'num_return_sequences', 'greedy'],
  [{ num_beams: 2, num_return_sequences: 3 }, 'num_return_sequences', 'num_beams, 2'],
  [{ early_stopping: 'always' }, 'early_stopping', '"never"'],
  [{ length_penalty: Number.NaN }, 'length_penalty', 'a number'],
  [{ max_new_tokens: 0 }, 'max_new_tokens', 'above 0'],
  [{ max_length: -3 }, 'max_length', 'above 0'],
  [{ min_length: -1 }, 'min_length', '0 or more'],
  [{ max_time: 0 }, 'max_time', 'above 0'],
  [{ stop_strings: [''] }, 'stop_strings', 'a text'],
  [{ bad_words_ids: [] }, 'bad_words_ids', 'list of lists'],
  [{ bad_words_ids: [[]] }, 'bad_words_ids', 'list of lists'],
  [{ sequence_bias: [[[], 1]] }, 'sequence_bias', '[ids, number]'],
  [{ suppress_tokens: [-1] }, 'suppress_tokens', 'token ids'],
  [{ exponential_decay_length_penalty: [1] }, 'exponential_decay_length_penalty', '[start, factor]'],
  [{ eos_token_id: 1.5 }, 'eos_token_id', 'token id'],
  [{ do_sample: 1 }, 'do_sample', 'true or false'],
  [{ num_beam_groups: 2 }, 'num_beam_groups', 'absent or 1'],
  [{ guidance_scale: 1.5 }, 'guidance_scale', 'absent or 1'],
  [{ output_attentions: true }, 'output_attentions', 'absent or false'],
];

for (const [options, where, expected] of WRONG) {
  test(`${JSON.stringify(options)} is an InputError that names ${where} and what was expected`, () => {
    assert.throws(
      () => resolveOptions(options as Record<string, unknown>),
      (error: InputError) =>
        error instanceof InputError &&
        error.where === where &&
        error.expected!.includes(expected) &&
        error.got !== undefined,
    );
  });
}

test('what the reference also knows and asks for nothing is accepted', () => {
  const asked = {
    num_beam_groups: 1,
    diversity_penalty: 0,
    guidance_scale: null,
    cache_implementation: 'dynamic',
  };
  assert.not.throws(() => resolveOptions(asked));
});

async function refused(args: object): Promise<InputError> {
  const { model, inputs } = await tiny('one-image');
  const before = held(model);
  const error = await generate(model, defaultsOf(model), { ...inputs, max_new_tokens: 2, ...args }).then(
    () => undefined,
    (caught: unknown) => caught,
  );
  assert.instance(error, InputError, JSON.stringify(args));
  assert.is(held(model), before, 'nothing is held');
  return error as InputError;
}

const cases: [string, object, RegExp][] = [
  ['an unknown argument', { max_tokens: 5 }, /unknown argument \(generate: max_tokens\)/],
  ['an unknown option in generation_config', { generation_config: { topk: 5 } }, /generation_config: topk/],
  ['position_ids', { position_ids: { dims: [1, 1], data: [0] } }, /generate: position_ids/],
  ['a negative seed', { do_sample: true, seed: -1 }, /seed.*integer from 0 to 2\^53 - 1.*got -1/],
  [
    'a list of seeds of another length',
    { do_sample: true, seed: [1, 2] },
    /seed.*each of the 1 rows.*got \[1,2\]/,
  ],
  [
    'a streamer beside beams',
    { num_beams: 2, streamer: { put() {}, end() {} } },
    /streamer.*num_beams 1, got num_beams 2/,
  ],
  [
    'a processor that is none',
    { logits_processor: [{}] },
    /logits_processor\[0\].*the method process, got object/,
  ],
  [
    'a criterion that is none',
    { stopping_criteria: [null] },
    /stopping_criteria\[0\].*the method stop, got null/,
  ],
  [
    'scores of another length',
    { logits_processor: [() => new Float32Array(3)] },
    /logits_processor\[0\].*got 3 scores/,
  ],
  ['an id outside the vocabulary', { bad_words_ids: [[5, 131]] }, /bad_words_ids.*0 … 130, got 131/],
  ['a forced id outside the vocabulary', { forced_eos_token_id: 500 }, /forced_eos_token_id.*got 500/],
  ['a stop sequence that is none', { stop_token_sequences: [3] }, /stop_token_sequences.*got \[3\]/],
  [
    'max_length below the prompt',
    { max_new_tokens: null, max_length: 13 },
    /max_length.*prompt's 13 columns, got 13/,
  ],
  [
    'no id left to draw',
    { do_sample: true, prefix_allowed_tokens_fn: () => [] },
    /no token can be drawn \(row 0/,
  ],
  [
    'too few ids for beams',
    { do_sample: true, num_beams: 3, prefix_allowed_tokens_fn: () => [5] },
    /no token can be drawn/,
  ],
  [
    'NaN from a processor',
    { do_sample: true, logits_processor: [(_: unknown, s: Float32Array) => s.fill(Number.NaN)] },
    /no token can be drawn/,
  ],
  [
    'NaN from a processor, greedily',
    { logits_processor: [(_: unknown, s: Float32Array) => s.fill(Number.NaN)] },
    /scores hold NaN/,
  ],
];
for (const [name, args, message] of cases) {
  test(`${name}: InputError ${message}, and nothing is held`, async () => {
    assert.match((await refused(args)).message, message);
  });
}

const folder = (files: Record<string, string>) =>
  openCheckpoint(
    Object.fromEntries(Object.entries(files).map(([name, text]) => [name, new TextEncoder().encode(text)])),
  );

test('generation_config.json decides alone where it is there, the config’s ids where it is not', async () => {
  const { model } = await tiny('one-image');
  const { config } = model;
  const file = {
    eos_token_id: 5,
    temperature: 0.3,
    do_sample: true,
    transformers_version: '4.56.2',
    custom: 1,
  };
  const read = await readGenerationConfig(
    await folder({ 'generation_config.json': JSON.stringify(file) }),
    config,
  );
  assert.equal(read, {
    eos_token_id: [5],
    pad_token_id: undefined,
    bos_token_id: undefined,
    temperature: 0.3,
    do_sample: true,
  });
  const text_config = { ...config.text_config, eos_token_id: [8, 9], bos_token_id: 4 };
  const own = { ...config, eos_token_id: null, pad_token_id: 6, bos_token_id: 3, text_config };
  assert.equal(await readGenerationConfig(await folder({}), own), {
    eos_token_id: [8, 9],
    pad_token_id: 6,
    bos_token_id: 3,
  });
  assert.throws(
    () => parseGenerationConfig({ eos_token_id: 'x' }),
    (error: Error) =>
      error instanceof ConfigError && /generation_config.json: eos_token_id.*got "x"/.test(error.message),
  );
});

test('the checkpoint’s options are defaults of a call, and a wrong one is refused when it is used', async () => {
  const { model, inputs } = await tiny('one-image');
  const defaults = { ...defaultsOf(model), max_new_tokens: 3, suppress_tokens: [96] };
  const run = async (args: object) =>
    rowsOf((await generate(model, defaults, { ...inputs, ...args })) as HostTensor<Int32Array>)[0].slice(13);
  const ids = await run({});
  assert.is(ids.length, 3);
  assert.not(ids.includes(96));
  assert.is((await run({ max_new_tokens: 2 })).length, 2);
  const wrong = { ...defaultsOf(model), top_p: 7 };
  assert.is(
    ((await generate(model, wrong, { ...inputs, max_new_tokens: 1, top_p: 1 })) as HostTensor).dims[1],
    14,
  );
  await generate(model, wrong, { ...inputs, max_new_tokens: 1 }).then(
    () => assert.unreachable(),
    (error) => assert.match(error.message, /top_p.*got 7/),
  );
});

test.run();
