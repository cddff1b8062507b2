import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { evaluate, holds } from '../../src/checkpoint/expression.js';
import {
  type ActualTensor,
  checkTensors,
  expectedTensors,
  knownModels,
} from '../../src/checkpoint/manifest.js';
import { CheckpointError } from '../../src/errors.js';
import { parseConfig } from '../../src/model/config.js';
import { type ErrorParts, rejects } from './helpers.js';

interface Case {
  config: { model_type: string; text_config: Record<string, unknown> };
  tensors: Record<string, number[]>;
}
const { cases, transformers } = JSON.parse(readFileSync('test/checkpoint/state-dict.json', 'utf8')) as {
  cases: Case[];
  transformers: string;
};

for (const { config, tensors } of cases) {
  const { attention_bias, mlp_bias, tie_word_embeddings } = config.text_config;
  const options = JSON.stringify({ attention_bias, mlp_bias, tie_word_embeddings });
  test(`${config.model_type} ${options}: names, shapes and order are those of transformers ${transformers}`, () => {
    const expected = expectedTensors(parseConfig(config)).tensors;
    assert.equal(
      expected.map(({ name, shape }) => [name, shape]),
      Object.entries(tensors),
    );
    for (const { name, shape, layout, N, K } of expected) {
      assert.is(layout, shape.length === 1 ? 'vector' : 'panel', name);
      assert.equal([N, K], [shape[0], shape.slice(1).reduce((product, size) => product * size, 1)], name);
    }
  });
}

const untied = cases[0];
const tied = cases[1];
const FILE = { name: 'model.safetensors' };
const EMBED = 'model.text_model.embed_tokens.weight';
const NORM = 'model.text_model.norm.weight';

/** The case's tensors as a file holds them, with some changed (undefined: taken out). */
function actual({ tensors }: Case, changes: Record<string, Partial<ActualTensor> | undefined> = {}) {
  const all = new Map(
    Object.entries(tensors).map(([name, shape]): [string, ActualTensor] => [
      name,
      { dtype: 'BF16', shape, file: FILE },
    ]),
  );
  for (const [name, change] of Object.entries(changes)) {
    if (change === undefined) all.delete(name);
    else all.set(name, { dtype: 'BF16', shape: [1], file: FILE, ...all.get(name), ...change });
  }
  return all;
}
const check = (which: Case, changes: Record<string, Partial<ActualTensor> | undefined> = {}) =>
  checkTensors(expectedTensors(parseConfig(which.config)), actual(which, changes), 'folder');

test('complete checkpoints hold, in any of the three dtypes and in mixtures', () => {
  assert.not.throws(() => check(untied));
  assert.not.throws(() => check(tied));
  assert.not.throws(() => check(tied, { [EMBED]: { dtype: 'F32' }, [NORM]: { dtype: 'F16' } }));
});

test('what the reference drops may be there: a tied lm_head, buffers of older exports', () => {
  const dropped = {
    'lm_head.weight': { shape: [50, 12], dtype: 'F64' },
    'model.text_model.rotary_emb.inv_freq': { shape: [5], dtype: 'F32' },
    'model.text_model.layers.1.self_attn.rotary_emb.inv_freq': { shape: [5] },
    'model.vision_model.embeddings.position_ids': { shape: [1, 49], dtype: 'I64' },
  };
  assert.not.throws(() => check(tied, dropped));
});

const wrong: [string, () => void, ErrorParts][] = [
  [
    'a missing tensor',
    () => check(untied, { [NORM]: undefined }),
    {
      what: 'tensor missing',
      where: `folder, tensor ${NORM}`,
      expected: 'F32, F16, BF16 [12]',
      got: 'no such tensor',
    },
  ],
  [
    'a missing lm_head where it is not tied',
    () => check(untied, { 'lm_head.weight': undefined }),
    {
      what: 'tensor missing',
      where: 'folder, tensor lm_head.weight',
      expected: '[50, 12]',
      got: 'no such tensor',
    },
  ],
  [
    'a tied checkpoint with lm_head alone',
    () => check(tied, { [EMBED]: undefined, 'lm_head.weight': { shape: [50, 12] } }),
    { what: 'tensor missing', where: EMBED, expected: '[50, 12]', got: 'no such tensor' },
  ],
  [
    'a renamed tensor',
    () => check(untied, { [NORM]: undefined, 'text_model.norm.weight': { shape: [12] } }),
    {
      what: 'tensor missing',
      where: NORM,
      expected: '[12]',
      got: '1 more not in the config: text_model.norm.weight',
    },
  ],
  [
    'two missing tensors',
    () => check(untied, { [NORM]: undefined, 'lm_head.weight': undefined }),
    { what: 'tensor missing', where: NORM, expected: '[12]', got: '; 1 more missing' },
  ],
  [
    'a tensor of another shape',
    () => check(untied, { [EMBED]: { shape: [51, 12] } }),
    {
      what: 'another shape',
      where: `model.safetensors, tensor ${EMBED}`,
      expected: '[50, 12]',
      got: '[51, 12]',
    },
  ],
  [
    'a transposed tensor',
    () => check(untied, { [EMBED]: { shape: [12, 50] } }),
    { what: 'another shape', where: EMBED, expected: '[50, 12]', got: '[12, 50]' },
  ],
  [
    'a flattened tensor with the right number of values',
    () => check(untied, { [EMBED]: { shape: [600] } }),
    { what: 'another shape', where: EMBED, expected: '[50, 12]', got: '[600]' },
  ],
  [
    'a tied lm_head of another shape',
    () => check(tied, { 'lm_head.weight': { shape: [49, 12] } }),
    { what: 'another shape', where: 'lm_head.weight', expected: '[50, 12]', got: '[49, 12]' },
  ],
  [
    'a tensor of another dtype',
    () => check(untied, { [NORM]: { dtype: 'F8_E4M3' } }),
    {
      what: 'another dtype',
      where: `model.safetensors, tensor ${NORM}`,
      expected: 'F32, F16, BF16',
      got: 'F8_E4M3',
    },
  ],
  [
    'an extra tensor',
    () => check(untied, { 'model.lora.weight': { shape: [3, 4] } }),
    {
      what: 'does not ask for',
      where: 'model.safetensors, tensor model.lora.weight',
      expected: `only the ${Object.keys(untied.tensors).length} tensors`,
      got: 'BF16 [3, 4]',
    },
  ],
  [
    'a layer too many',
    () => check(untied, { 'model.text_model.layers.2.input_layernorm.weight': { shape: [12] } }),
    { what: 'does not ask for', where: 'layers.2.input_layernorm', expected: 'only', got: '[12]' },
  ],
  [
    'a bias where the config has none',
    () => check(tied, { 'model.text_model.layers.0.self_attn.q_proj.bias': { shape: [60] } }),
    { what: 'does not ask for', where: 'q_proj.bias', expected: 'only', got: '[60]' },
  ],
];
for (const [title, run, parts] of wrong) {
  test(`${title}: a CheckpointError that names it, expected and got`, () =>
    rejects(run, CheckpointError, parts));
}

test("expressions have Python's values", () => {
  const config = { a: 7, b: { c: 2, flag: true } };
  const pairs: [string, number][] = [
    ['a', 7],
    ['b.c * a', 14],
    ['a // b.c', 3],
    ['a // b.c * b.c', 6],
    ['2 * 3 ** 2', 18],
    ['2 ** 3 ** 2', 512],
    ['(a // b.c) ** 2', 9],
    ['a - 2 - 1 + 4', 8],
    ['((a))', 7],
  ];
  for (const [expression, value] of pairs) assert.is(evaluate(expression, config), value, expression);
  assert.equal(
    [holds('b.flag', config), holds('not b.flag', config), holds(undefined, config)],
    [true, false, true],
  );
});

test('a malformed expression, an unknown field or one of another kind is an error', () => {
  for (const expression of [
    '',
    'a +',
    '(a',
    'a)',
    'a b',
    'a ; b',
    'none',
    'b',
    'a.toString',
    'constructor',
    '*',
  ]) {
    assert.throws(() => evaluate(expression, { a: 7, b: {} }), /manifest: /, expression);
  }
  assert.throws(() => holds('a', { a: 7 }), /manifest: .* no boolean/);
});

test('the known models: dimensions that a config accepts, and the published parameter counts', () => {
  const counts = new Map<string, number>();
  for (const { repository, config } of knownModels()) {
    const { tensors } = expectedTensors(parseConfig({ model_type: 'smolvlm', ...config }));
    counts.set(
      repository,
      tensors.reduce((sum, { N, K }) => sum + N * K, 0),
    );
  }
  assert.is(counts.size, 6);
  assert.is(counts.get('HuggingFaceTB/SmolVLM-256M-Instruct'), 256_484_928);
  assert.is(counts.get('HuggingFaceTB/SmolVLM-500M-Instruct'), 507_482_304);
});

test.run();
