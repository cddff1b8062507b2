/** What the arguments of `forward` mean beyond the goldens: defaults from the config, refusals, costs. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DisposedError, InputError } from '../../src/errors.js';
import {
  DynamicCache,
  SmolVLMForConditionalGeneration,
  SmolVLMModel,
  SmolVLMVisionTransformer,
} from '../../src/modeling.js';
import type { HostTensor } from '../../src/runtime/tensor.js';
import { rejects } from './refusals.js';
import { IMAGE, ids, pictures, tinyConfig, tinyModel } from './tiny.js';

const model = await tinyModel();
const base = await SmolVLMModel.from_config(tinyConfig());
const vision = await SmolVLMVisionTransformer.from_config(tinyConfig().vision_config);
const prompt = ids([5, IMAGE, IMAGE, IMAGE, IMAGE, 6, 7, 8]);
const pixel_values = pictures(1, 1);
const pixels: HostTensor = { dims: [1, 3, 16, 16], data: pixel_values.data };

test('switches that a call leaves open come from the config: use_cache, output_attentions, output_hidden_states, return_dict', async () => {
  const plain = await model.forward({ input_ids: prompt });
  assert.ok(plain.past_key_values instanceof DynamicCache);
  assert.is(plain.attentions, undefined);
  assert.is(plain.hidden_states, undefined);
  Object.assign(model.config, { use_cache: false, output_attentions: true, output_hidden_states: true });
  const full = await model.forward({ input_ids: prompt });
  assert.is(full.past_key_values, undefined);
  assert.is(full.attentions?.length, 2);
  assert.is(full.hidden_states?.length, 3);
  const closed = await model.forward({ input_ids: prompt, output_attentions: false, use_cache: true });
  assert.is(closed.attentions, undefined);
  assert.ok(closed.past_key_values);
  model.config.return_dict = false;
  const tuple = (await model.forward({ input_ids: prompt })) as unknown as unknown[];
  assert.is(tuple.length, 3);
  assert.equal(tuple[0], full.logits);
  assert.ok('logits' in (await model.forward({ input_ids: prompt, return_dict: true })));
  Object.assign(model.config, {
    use_cache: true,
    output_attentions: false,
    output_hidden_states: false,
    return_dict: true,
  });

  vision.config.output_hidden_states = true;
  assert.is((await vision.forward({ pixel_values: pixels })).hidden_states?.length, 3);
  vision.config.output_hidden_states = false;
  assert.is((await vision.forward({ pixel_values: pixels, return_dict: false })).length, 1);
});

test('null is as good as nothing, as None is', async () => {
  const nulls = {
    attention_mask: null,
    position_ids: null,
    labels: null,
    use_cache: null,
    return_dict: null,
    pixel_values: null,
  };
  const output = await model.forward({ input_ids: prompt, ...(nulls as object) });
  assert.equal(output.logits, (await model.forward({ input_ids: prompt })).logits);
  assert.ok(
    await vision.forward({ pixel_values: pixels, patch_attention_mask: null, output_attentions: null }),
  );
});

test('the three classes agree to the last bit where they compute the same', async () => {
  const whole = await model.forward({ input_ids: prompt, pixel_values, output_hidden_states: true });
  const body = await base.forward({ input_ids: prompt, pixel_values });
  assert.equal(body.last_hidden_state, whole.hidden_states!.at(-1));
  assert.equal(body.image_hidden_states, whole.image_hidden_states);
  assert.equal(await base.get_image_features(pixel_values), whole.image_hidden_states);
  const taps = new Map<string, HostTensor>();
  await base.forward({ input_ids: prompt, pixel_values, tap: (name, value) => taps.set(name, value) });
  const { last_hidden_state } = await vision.forward({ pixel_values: pixels });
  assert.equal(taps.get('model.vision_model'), last_hidden_state);
});

test('forward refuses names, switches and caches that mean nothing', async () => {
  const nonsense = (more: object) => model.forward({ input_ids: prompt, ...more });
  await rejects(nonsense({ pixel_value: 1 }), InputError, 'pixel_value', 'pixel_values', 'pixel_value');
  await rejects(nonsense({ use_cache: 'yes' }), InputError, 'use_cache', 'true or false', 'yes');
  await rejects(nonsense({ output_attentions: 1 }), InputError, 'output_attentions', 'true or false', '1');
  await rejects(nonsense({ return_dict: 0 }), InputError, 'return_dict', 'true or false', '0');
  await rejects(
    nonsense({ past_key_values: [[1, 2]] }),
    InputError,
    'past_key_values',
    'an earlier call',
    'Array',
  );
  await rejects(nonsense({ tap: 3 }), InputError, 'tap', 'a function', '3');
  await rejects(
    base.forward({ input_ids: prompt, labels: prompt } as object),
    InputError,
    'labels',
    'input_ids',
    'labels',
  );
  const patches = { pixel_values: pixels, pixel_attention_mask: pixels };
  await rejects(
    vision.forward(patches as object as { pixel_values: HostTensor }),
    InputError,
    'pixel_attention_mask',
    'patch_attention_mask',
    'pixel',
  );
  await rejects(model.forward({}), InputError, 'input_ids, inputs_embeds', 'one of the two', 'neither');
  const both = { pixel_values, image_hidden_states: { dims: [1, 4, 24], data: new Float32Array(96) } };
  await rejects(nonsense(both), InputError, 'pixel_values, image_hidden_states', 'at most one', 'both');
});

test('forward refuses wrong shapes and values of each tensor', async () => {
  const given = (more: object) => model.forward({ input_ids: prompt, ...more });
  const tensor = (...dims: number[]): HostTensor => ({
    dims,
    data: new Float32Array(dims.reduce((a, b) => a * b, 1)),
  });
  await rejects(given({ attention_mask: tensor(1, 7) }), InputError, 'attention_mask', '[1, 8]', '[1,7]');
  await rejects(given({ position_ids: tensor(1, 9) }), InputError, 'position_ids', '[1, 8]', '[1,9]');
  await rejects(given({ cache_position: tensor(7) }), InputError, 'cache_position', '[8] integers', '[7]');
  const negative = { dims: [8], data: Int32Array.of(0, 1, 2, 3, 4, 5, 6, -7) };
  await rejects(given({ cache_position: negative }), InputError, 'cache_position', '0 or more', '-7');
  await rejects(given({ labels: tensor(1, 7) }), InputError, 'labels', '[1, 8]', '[1,7]');
  await rejects(
    given({ labels: ids([0, 0, 0, 64, 0, 0, 0, 0]) }),
    InputError,
    'labels, index 3',
    '0 … 63',
    '64',
  );
  await rejects(
    given({ pixel_values: tensor(3, 16, 16) }),
    InputError,
    'pixel_values',
    '[batch, images, 3',
    '[3,16,16]',
  );
  const mask = { pixel_values, pixel_attention_mask: tensor(1, 1, 16, 15) };
  await rejects(given(mask), InputError, 'pixel_attention_mask', '[1,1,16,16]', '[1,1,16,15]');
  await rejects(
    given({ image_hidden_states: tensor(1, 4, 23) }),
    InputError,
    'image_hidden_states',
    '24]',
    '[1,4,23]',
  );
  await rejects(
    model.forward({ inputs_embeds: tensor(1, 4, 23) }),
    InputError,
    'inputs_embeds',
    '[1,4,24]',
    '[1,4,23]',
  );
  await rejects(
    model.forward({ input_ids: ids([64]) }),
    InputError,
    'input_ids, row 0, column 0',
    '0 … 63',
    '64',
  );
  await rejects(
    vision.forward({ pixel_values }),
    InputError,
    'pixel_values',
    '[batch, 3, height, width]',
    '[1,1,3,16,16]',
  );
  await rejects(
    vision.forward({} as { pixel_values: HostTensor }),
    InputError,
    'pixel_values',
    '[batch, channels',
    'nothing',
  );
  const patches = { pixel_values: pixels, patch_attention_mask: tensor(1, 4, 3) };
  await rejects(vision.forward(patches), InputError, 'patch_attention_mask', '[1,4,4]', '[1,4,3]');
});

test('logits_to_keep: a number, a number without dimensions, a list, a tensor; other values are refused', async () => {
  const { logits } = await model.forward({ input_ids: prompt });
  const rows = (...columns: number[]) =>
    columns.flatMap((column) => [...logits.data.subarray(column * 64, column * 64 + 64)]);
  const kept = async (logits_to_keep: never) => [
    ...(await model.forward({ input_ids: prompt, logits_to_keep })).logits.data,
  ];
  assert.equal(await kept(3 as never), rows(5, 6, 7));
  assert.equal(await kept({ dims: [], data: BigInt64Array.of(3n) } as never), rows(5, 6, 7));
  assert.equal(await kept([0, -1] as never), rows(0, 7));
  assert.equal(await kept({ dims: [2], data: Int32Array.of(4, 4) } as never), rows(4, 4));
  assert.equal(await kept([] as never), []);
  const refused = (keep: unknown) => model.forward({ input_ids: prompt, logits_to_keep: keep as number });
  await rejects(refused(1.5), InputError, 'logits_to_keep', 'an integer', '1.5');
  await rejects(refused([0, 0.5]), InputError, 'logits_to_keep', 'an integer', '0.5');
  await rejects(refused('2'), InputError, 'logits_to_keep', 'an integer', '2');
  await rejects(refused([8]), InputError, 'logits_to_keep', '-8 … 7', '8');
  await rejects(
    refused({ dims: [1, 1], data: Int32Array.of(1) }),
    InputError,
    'logits_to_keep',
    '[kept]',
    '[1,1]',
  );
});

test('forward refuses what is no tensor, and fractions where there can be none', async () => {
  const given = (more: object) => model.forward({ input_ids: prompt, ...more });
  const fraction = { dims: [1, 2], data: Float32Array.of(3, 3.5) };
  await rejects(
    model.forward({ input_ids: fraction }),
    InputError,
    'input_ids, index 1',
    'an integer',
    '3.5',
  );
  await rejects(
    model.forward({ input_ids: [[1, 2]] as never }),
    InputError,
    'input_ids',
    'typed array',
    'an array',
  );
  const list = { dims: [1, 2], data: [1, 2] } as never;
  await rejects(model.forward({ input_ids: list }), InputError, 'input_ids', 'typed array', 'data: Array');
  const short = { dims: [1, 8], data: new Uint8Array(7) };
  await rejects(given({ attention_mask: short }), InputError, 'attention_mask', '8 values for [1,8]', '7');
  const odd = { dims: [1, 8.5], data: new Uint8Array(8) };
  await rejects(given({ position_ids: odd }), InputError, 'position_ids', 'values for [1,8.5]', '8');
  const big = { dims: pixel_values.dims, data: new BigInt64Array(768) };
  await rejects(given({ pixel_values: big }), InputError, 'pixel_values', 'floating-point', 'BigInt64Array');
  await rejects(model.get_image_features(big), InputError, 'pixel_values', 'floating-point', 'BigInt64Array');
  const whole = { dims: [1, 2], data: Float64Array.of(3, 4) };
  const same = await model.forward({ input_ids: { dims: [1, 2], data: BigInt64Array.of(3n, 4n) } });
  assert.equal((await model.forward({ input_ids: whole })).logits, same.logits);
});

test('calls after dispose() and aborted ones reject', async () => {
  const other = await tinyModel();
  const aborted = await other
    .forward({ input_ids: prompt, signal: AbortSignal.abort() })
    .catch((error) => error);
  assert.is(aborted.name, 'AbortError');
  other.dispose();
  const error = await other.forward({ input_ids: prompt }).catch((cause) => cause);
  assert.instance(error, DisposedError);
  assert.match(error.where, 'SmolVLMForConditionalGeneration');
  assert.instance(await other.generate({ input_ids: prompt }).catch((cause) => cause), DisposedError);
  const never = new SmolVLMForConditionalGeneration(tinyConfig());
  never.dispose();
  assert.instance(await never.ready().catch((cause) => cause), DisposedError);
});

test.after(() => {
  for (const each of [model, base, vision]) each.dispose();
});

test.run();
