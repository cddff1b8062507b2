/** Adapters that cannot be merged: each error names the field or the tensor, with expected and got. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { adapterChanges, openAdapter } from '../../src/checkpoint/adapter.js';
import { openCheckpoint } from '../../src/checkpoint/folder.js';
import { expectedTensors } from '../../src/checkpoint/manifest.js';
import { CheckpointError, ConfigError } from '../../src/errors.js';
import { parseConfig } from '../../src/model/config.js';
import { loadModel } from '../../src/model/load.js';
import { AutoModelForImageTextToText } from '../../src/modeling/auto-model.js';
import { SmolVLMForConditionalGeneration } from '../../src/modeling.js';
import { type ErrorParts, headerOf, rawSafetensors, rejects } from './helpers.js';

type Json = Record<string, unknown>;
type Header = Record<string, [string, number[], number, number]>;

const GOLDENS = 'test/goldens';
const LAYERS = `${GOLDENS}/adapters/layers`;
const read = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as Json;
const CONFIG = read(`${LAYERS}/adapter_config.json`);
const BYTES = readFileSync(`${LAYERS}/adapter_model.safetensors`);
const O_PROJ = 'base_model.model.model.text_model.layers.1.self_attn.o_proj';

/** The header of the adapter of test/goldens/adapters/layers, as a map that a test may change. */
function header(): Header {
  const length = Number(BYTES.readBigUInt64LE(0));
  const parsed = JSON.parse(BYTES.subarray(8, 8 + length).toString()) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const entries = Object.entries(parsed).filter(([name]) => name !== '__metadata__');
  return Object.fromEntries(
    entries.map(([name, { dtype, shape, data_offsets }]) => [name, [dtype, shape, ...data_offsets]]),
  ) as Header;
}

/** What the adapter with changed config and tensors does to the tiny model (or another config's). */
async function changes(
  config: Json = {},
  edit: (tensors: Header) => Header = (tensors) => tensors,
  model: Json = {},
) {
  const edited = edit(header());
  const size = Object.values(edited).reduce((max, [, , , end]) => Math.max(max, end), 0);
  const files = {
    'adapter_config.json': JSON.stringify({ ...CONFIG, ...config }),
    'adapter_model.safetensors': rawSafetensors(headerOf(edited), size),
  };
  const base = read(`${GOLDENS}/one-image/config.json`);
  const adapter = await openAdapter(await openCheckpoint(files));
  return adapterChanges(adapter, expectedTensors(parseConfig({ ...base, ...model })));
}

/** The tensors laid out one after the other again, with what `edit` makes of each; null leaves it out. */
function relaid(
  tensors: Header,
  edit: (name: string, shape: number[]) => [string, string, number[]] | null,
): Header {
  const out: Header = {};
  let at = 0;
  for (const [name, [, shape]] of Object.entries(tensors)) {
    const made = edit(name, shape);
    if (!made) continue;
    const [newName, dtype, newShape] = made;
    const bytes = newShape.reduce((product, n) => product * n, dtype === 'I64' ? 8 : 4);
    out[newName] = [dtype, newShape, at, at + bytes];
    at += bytes;
  }
  return out;
}

const CONFIGS: [string, Json, ErrorParts][] = [
  ['another peft type', { peft_type: 'LOHA' }, { where: 'peft_type', expected: 'LORA', got: '"LOHA"' }],
  ['DoRA', { use_dora: true }, { where: 'use_dora', expected: 'false', got: 'true' }],
  ['QALoRA', { use_qalora: true }, { where: 'use_qalora', expected: 'false', got: 'true' }],
  ['a bias of the product', { lora_bias: true }, { where: 'lora_bias', expected: 'false', got: 'true' }],
  [
    'repeated layers',
    { layer_replication: [[0, 1]] },
    { where: 'layer_replication', expected: 'absent', got: '[[0,1]]' },
  ],
  [
    'trained tokens',
    { trainable_token_indices: [5] },
    { where: 'trainable_token_indices', expected: 'absent', got: '[5]' },
  ],
  [
    'parameters as targets',
    { target_parameters: ['w'] },
    { where: 'target_parameters', expected: 'absent', got: '["w"]' },
  ],
  [
    'a start that changes the base',
    { init_lora_weights: 'pissa' },
    { where: 'init_lora_weights', expected: 'gaussian', got: '"pissa"' },
  ],
  ['a rank of 0', { r: 0 }, { where: ': r', expected: 'an integer of at least 1', got: '0' }],
  [
    'an alpha that is a string',
    { lora_alpha: '8' },
    { where: 'lora_alpha', expected: 'a number', got: '"8"' },
  ],
  [
    'a rank pattern of fractions',
    { rank_pattern: { o_proj: 1.5 } },
    { where: 'rank_pattern', expected: 'ranks', got: '{"o_proj":1.5}' },
  ],
  ['an unknown bias', { bias: 'some' }, { where: 'bias', expected: 'none, all or lora_only', got: '"some"' }],
  ['no targets', { target_modules: null }, { where: 'target_modules', expected: 'names', got: 'null' }],
  [
    'targets that are numbers',
    { target_modules: [1] },
    { where: 'target_modules', expected: 'array of strings', got: '[1]' },
  ],
  [
    'layers that are names',
    { layers_to_transform: ['one'] },
    { where: 'layers_to_transform', expected: 'integer', got: '["one"]' },
  ],
  [
    'an expression that cannot be read',
    { target_modules: '(?i:fc1' },
    { where: 'target_modules', expected: 'a regular expression', got: '(?i:fc1' },
  ],
];

for (const [name, config, parts] of CONFIGS) {
  test(`adapter_config.json with ${name} is a ConfigError`, () =>
    rejects(() => changes(config), ConfigError, parts));
}

test('a target that no module has is a ConfigError', async () => {
  const parts = { where: 'target_modules', expected: 'modules of the model', got: '["c_attn"]' };
  await rejects(() => changes({ target_modules: ['c_attn'] }, () => ({})), ConfigError, parts);
});

test('a missing tensor is named with its shape', async () => {
  const missing = `${O_PROJ}.lora_B.weight`;
  const without = (tensors: Header) =>
    relaid(tensors, (name, shape) => (name === missing ? null : [name, 'F32', shape]));
  await rejects(() => changes({}, without), CheckpointError, {
    what: 'missing',
    where: missing,
    expected: '[36, 2]',
    got: 'no such tensor',
  });
});

test('a tensor of a module that the config leaves out is named', async () => {
  await rejects(() => changes({ exclude_modules: ['o_proj'] }), CheckpointError, {
    what: 'do not ask for',
    where: `${O_PROJ}.lora_A.weight`,
    expected: 'only tensors of the modules',
    got: 'F32 [2, 36]; 1 more',
  });
});

test('a tensor of another rank than the config says is named', async () => {
  const parts = { what: 'shape', where: 'lora_A.weight', expected: '[3, ', got: '[2, ' };
  await rejects(() => changes({ r: 3 }), CheckpointError, parts);
});

test('a tensor of another dtype is named', async () => {
  const integers = (tensors: Header) => relaid(tensors, (name, shape) => [name, 'I64', shape]);
  const parts = { what: 'dtype', where: 'lora_A.weight', expected: 'F32, F16, BF16', got: 'I64' };
  await rejects(() => changes({}, integers), CheckpointError, parts);
});

test('modules_to_save without their tensors, and a tied embedding among them, are errors', async () => {
  await rejects(() => changes({ modules_to_save: ['lm_head'] }), CheckpointError, {
    what: 'missing',
    where: 'base_model.model.lm_head.weight',
    expected: '[131, 36]',
    got: 'no such tensor',
  });
  const text = {
    ...(read(`${GOLDENS}/one-image/config.json`).text_config as Json),
    tie_word_embeddings: true,
  };
  await rejects(
    () => changes({ modules_to_save: ['embed_tokens'] }, undefined, { text_config: text }),
    ConfigError,
    {
      where: 'modules_to_save',
      expected: 'other than a tied embedding',
      got: 'model.text_model.embed_tokens',
    },
  );
});

test('names with the adapter in them and those of SmolVLMModel are the same adapter', async () => {
  const plain = await changes();
  const renamed = (rename: (name: string) => string) =>
    changes({}, (tensors) => relaid(tensors, (name, shape) => [rename(name), 'F32', shape]));
  const named = await renamed((name) => name.replace('.weight', '.default.weight'));
  assert.equal([...named.keys()], [...plain.keys()]);
  const inner = await renamed((name) => name.replace('base_model.model.model.', 'base_model.model.'));
  assert.equal([...inner.keys()], [...plain.keys()]);
  assert.is(plain.size, 3);
});

test('a folder that is an adapter is refused with the name of its base', async () => {
  const parts = {
    what: 'an adapter without its base',
    where: LAYERS,
    expected: '"../../one-image"',
    got: 'no config.json',
  };
  await rejects(() => SmolVLMForConditionalGeneration.from_pretrained(LAYERS), CheckpointError, parts);
  await rejects(() => AutoModelForImageTextToText.from_pretrained(LAYERS), CheckpointError, parts);
});

test('a folder without an adapter is an error that names the file', async () => {
  const folder = await openCheckpoint(`${GOLDENS}/one-image`);
  const parts = { where: 'adapter_config.json', expected: 'file', got: '' };
  await rejects(() => loadModel(folder, { adapter: folder }), CheckpointError, parts);
  await folder.close();
});

test('from_pretrained with an adapter changes what the model says', async () => {
  const base = `${GOLDENS}/one-image`;
  const options = { adapter: `${GOLDENS}/adapters/all-linear` };
  const plain = await SmolVLMForConditionalGeneration.from_pretrained(base);
  const model = await SmolVLMForConditionalGeneration.from_pretrained(base, options);
  const input_ids = { dims: [1, 4], data: BigInt64Array.of(5n, 6n, 7n, 8n) };
  const before = (await plain.forward({ input_ids })).logits.data;
  const after = (await model.forward({ input_ids })).logits.data;
  assert.is(before.length, after.length);
  assert.ok(before.some((value: number, i: number) => Math.abs(value - after[i]) > 1e-3));
  plain.dispose();
  model.dispose();
});

test.run();
