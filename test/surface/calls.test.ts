/** Every call of the surface golden: all inputs of the page on each of the three classes, all outputs, in the tuple's order. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type DynamicCache,
  SmolVLMForConditionalGeneration,
  SmolVLMModel,
  SmolVLMVisionTransformer,
} from '../../src/modeling.js';
import type { HostTensor } from '../../src/runtime/tensor.js';
import { LOSS_RELATIVE } from '../tolerance.js';
import {
  type Call,
  divergence,
  GOLDENS,
  type Level,
  openSurface,
  readCalls,
  readInput,
  readOutputs,
} from './golden.js';

type AnyModel = SmolVLMVisionTransformer | SmolVLMModel | SmolVLMForConditionalGeneration;
type Outputs = Record<string, unknown>;

const CLASSES = {
  vision: SmolVLMVisionTransformer,
  base: SmolVLMModel,
  causal: SmolVLMForConditionalGeneration,
};
const file = await openSurface();
const calls = readCalls().filter(({ name }) => !name.startsWith('embeddings.'));
const models = new Map<string, AnyModel>();
const caches = new Map<string, DynamicCache>();

async function modelOf({ checkpoint, level }: { checkpoint: string; level: Level }): Promise<AnyModel> {
  const key = `${checkpoint} ${level}`;
  if (!models.has(key)) models.set(key, await CLASSES[level].from_pretrained(`${GOLDENS}/${checkpoint}`));
  return models.get(key)!;
}

/** [B, columns]: 1 where the cache has a key. */
function keyMask(cache: DynamicCache): HostTensor {
  const data = new Uint8Array(cache.batch * cache.seen);
  for (let row = 0; row < cache.batch; row++) {
    for (const column of cache.columns(row)) data[row * cache.seen + column] = 1;
  }
  return { dims: [cache.batch, cache.seen], data };
}

/** A copy of an earlier call's cache in this model, through its tensors; cropped as the call asks. */
async function copiedCache(model: AnyModel, { past, crop }: Call): Promise<DynamicCache> {
  const source = caches.get(past!)!;
  const cache = await (model as SmolVLMModel).from_legacy_cache(source.to_legacy_cache(), keyMask(source));
  assert.is(cache.get_seq_length(), source.get_seq_length());
  if (crop !== null) cache.crop(crop);
  return cache;
}

function flatten(output: Outputs): Map<string, HostTensor> {
  const out = new Map<string, HostTensor>();
  for (const [name, value] of Object.entries(output)) {
    if (value === undefined) continue;
    if (name === 'past_key_values') {
      for (const [i, [keys, values]] of (value as DynamicCache).to_legacy_cache().entries()) {
        out.set(`${name}.${i}.keys`, keys).set(`${name}.${i}.values`, values);
      }
    } else if (Array.isArray(value)) {
      for (const [i, tensor] of value.entries()) out.set(`${name}.${i}`, tensor);
    } else if (typeof value === 'number') {
      out.set(name, { dims: [1], data: Float32Array.of(value) });
    } else out.set(name, value as HostTensor);
  }
  return out;
}

/** Which values of an output count: query rows of pads do not, nor the keys that a pad leaves in the reference's cache. */
function compared(name: string, dims: readonly number[], mask: HostTensor | undefined) {
  if (!mask || name.startsWith('image_hidden_states')) return () => true;
  const [, columns] = mask.dims;
  const isCache = name.startsWith('past_key_values');
  // [B, S, …] or [B, heads, S, …]
  const at = isCache || name.startsWith('attentions') ? 2 : 1;
  const inner = dims.slice(at + 1).reduce((product, n) => product * n, 1);
  const outer = dims.slice(1, at).reduce((product, n) => product * n, 1);
  const first = isCache ? 0 : columns - dims[at];
  return (index: number) => {
    const column = first + (Math.floor(index / inner) % dims[at]);
    const row = Math.floor(index / (inner * dims[at] * outer));
    return Number(mask.data[row * columns + column]) !== 0;
  };
}

for (const call of calls) {
  test(`surface golden ${call.name}: outputs hold, in the tuple's order (${call.tuple.join(', ')})`, async () => {
    const model = await modelOf(call);
    const inputs: Record<string, unknown> = { ...call.arguments };
    for (const name of call.inputs) inputs[name] = await readInput(file, call, name);
    const run = async (more: object) => {
      const past = call.past === null ? {} : { past_key_values: await copiedCache(model, call) };
      return (model as unknown as { forward(args: object): Promise<Outputs> }).forward({
        ...inputs,
        ...past,
        ...more,
      });
    };
    const output = await run({});
    const ours = flatten(output);
    const golden = await readOutputs(file, call.name);
    const mask = inputs.attention_mask as HostTensor | undefined;
    const wrong = [...golden].flatMap(([name, tensor]) => {
      if (name === 'loss') return [];
      return divergence(name, ours.get(name), tensor, compared(name, tensor.dims, mask));
    });
    assert.equal(wrong, []);
    assert.equal([...ours.keys()].sort(), [...golden.keys()].sort());
    const loss = golden.get('loss');
    if (loss) {
      const error = Math.abs((output.loss as number) - loss.float64[0]) / loss.float64[0];
      assert.ok(error <= LOSS_RELATIVE, `loss ${output.loss} for ${loss.float64[0]}`);
    }
    if (inputs.pixel_values && call.level !== 'vision') {
      const { pixel_values, pixel_attention_mask } = inputs as Record<string, HostTensor>;
      const features = await (model as SmolVLMModel).get_image_features(pixel_values, pixel_attention_mask);
      assert.equal(features, output.image_hidden_states);
    }
    if (output.past_key_values) caches.set(call.name, output.past_key_values as DynamicCache);

    const tuple = (await run({ return_dict: false })) as unknown as unknown[];
    assert.ok(Array.isArray(tuple));
    assert.is(tuple.length, call.tuple.length);
    for (const [i, name] of call.tuple.entries()) {
      if (name === 'past_key_values') assert.is(typeof (tuple[i] as DynamicCache).get_seq_length, 'function');
      else assert.equal(tuple[i], output[name], `${i} is ${name}`);
    }
  });
}

test('every call of the golden file was run', () => {
  const named = new Set(
    [...file.tensors.keys()].map((name) =>
      name
        .replace(/^f64\./, '')
        .split('.')
        .slice(0, 2)
        .join('.'),
    ),
  );
  const run = readCalls().map(({ name }) => name);
  assert.equal([...named].sort(), [...run].sort());
  assert.ok(calls.length >= 30);
});

test.after(async () => {
  for (const model of models.values()) model.dispose();
  await file.close();
});

test.run();
