/** save_pretrained of each class beside the reference's files, byte for byte, and loading across the classes. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CheckpointError, InputError } from '../../src/errors.js';
import {
  SmolVLMForConditionalGeneration,
  SmolVLMModel,
  SmolVLMVisionTransformer,
} from '../../src/modeling.js';
import { GOLDENS, type Level, readJson, SURFACE } from './golden.js';
import { rejects } from './refusals.js';

const CLASSES = {
  vision: SmolVLMVisionTransformer,
  base: SmolVLMModel,
  causal: SmolVLMForConditionalGeneration,
};
type Files = Map<string, Uint8Array<ArrayBuffer>>;

interface SavedCase {
  checkpoint: string;
  level: Level;
  dtype: 'auto' | 'float32' | 'float16' | 'bfloat16';
  max_shard_size: string;
  files: Record<string, string>;
  index: { metadata: object; weight_map: object } | null;
  config: Record<string, unknown>;
}

const { saved } = readJson(`${SURFACE}/saved.json`) as { saved: SavedCase[] };

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const text = (files: Files, name: string) => JSON.parse(new TextDecoder().decode(files.get(name)));
const ids = { dims: [1, 3], data: Int32Array.of(5, 6, 7) };

for (const { checkpoint, level, dtype, max_shard_size, files: expected, index, config } of saved) {
  const name = CLASSES[level].name;
  test(`saving ${name} of ${checkpoint}, dtype ${dtype}, at ${max_shard_size}: the files have the reference's bytes`, async () => {
    const model = await CLASSES[level].from_pretrained(`${GOLDENS}/${checkpoint}`, { dtype });
    const files: Files = new Map();
    await model.save_pretrained(files, { max_shard_size });
    const weights = [...files].filter(([file]) => file.endsWith('.safetensors')).sort();
    assert.equal(Object.fromEntries(weights.map(([file, bytes]) => [file, sha256(bytes)])), expected);
    if (index) assert.equal(text(files, 'model.safetensors.index.json'), index);
    assert.is(files.has('model.safetensors.index.json'), index !== null);
    assert.equal(text(files, 'config.json'), config);
    assert.is(files.has('generation_config.json'), level === 'causal');
    model.dispose();
  });
}

test('saving to a folder and loading it again gives the same bits, from any class to those below it', async () => {
  const whole = await SmolVLMForConditionalGeneration.from_pretrained(`${GOLDENS}/one-image`);
  const pixel_values = {
    dims: [1, 1, 3, 16, 16],
    data: Float32Array.from({ length: 768 }, (_, i) => (i % 17) / 8 - 1),
  };
  const folder = mkdtempSync(join(tmpdir(), 'smolvlm-save-'));
  try {
    await whole.save_pretrained(`${folder}/whole/`, { max_shard_size: 9000 });
    assert.ok(readdirSync(`${folder}/whole`).length > 4, 'shards, their index and the two configs');
    const again = await SmolVLMForConditionalGeneration.from_pretrained(`${folder}/whole`);
    assert.equal(
      await again.forward({ input_ids: ids, use_cache: false }),
      await whole.forward({ input_ids: ids, use_cache: false }),
    );
    assert.equal(again.generation_config, whole.generation_config);
    const base = await SmolVLMModel.from_pretrained(`${folder}/whole`);
    await base.save_pretrained(`${folder}/base`);
    const names = Object.keys(
      JSON.parse(
        readFileSync(`${folder}/base/model.safetensors`)
          .subarray(8)
          .toString('latin1')
          .split('}}')[0]
          .concat('}}'),
      ),
    );
    assert.ok(names.includes('text_model.norm.weight'), 'the base class has names of its own');
    const features = await whole.get_image_features(pixel_values);
    for (const source of [`${folder}/whole`, `${folder}/base`]) {
      const model = await SmolVLMModel.from_pretrained(source);
      assert.equal(await model.get_image_features(pixel_values), features);
      const vision = await SmolVLMVisionTransformer.from_pretrained(source);
      await vision.save_pretrained(`${folder}/vision`);
      const copy = await SmolVLMVisionTransformer.from_pretrained(`${folder}/vision`);
      const pixels = { dims: [1, 3, 16, 16], data: pixel_values.data };
      assert.equal(
        await copy.forward({ pixel_values: pixels }),
        await vision.forward({ pixel_values: pixels }),
      );
      for (const each of [model, vision, copy]) each.dispose();
    }
    const error = await SmolVLMForConditionalGeneration.from_pretrained(`${folder}/base`).catch(
      (cause) => cause,
    );
    assert.instance(error, CheckpointError);
    assert.match(error.where, 'lm_head.weight');
    for (const each of [again, base]) each.dispose();
  } finally {
    rmSync(folder, { recursive: true, force: true });
    whole.dispose();
  }
});

for (const [dtype, bits] of [
  ['bfloat16', 'BF16'],
  ['float16', 'F16'],
] as const) {
  test(`dtype ${dtype}: rounded while loading and by .to() alike, half the bytes, position ids in it, saved in it`, async () => {
    const location = `${GOLDENS}/one-image`;
    const plain = await SmolVLMForConditionalGeneration.from_pretrained(location);
    const loaded = await SmolVLMForConditionalGeneration.from_pretrained(location, {
      dtype: `torch.${dtype}`,
    });
    assert.is(plain.dtype, 'float32');
    assert.is(loaded.dtype, dtype);
    const pixel_values = {
      dims: [1, 1, 3, 16, 16],
      data: Float32Array.from({ length: 768 }, (_, i) => (i % 13) / 6 - 1),
    };
    const before = await plain.get_image_features(pixel_values);
    const converted = plain.to('cpu', { dtype });
    assert.is(converted, plain);
    const files: [Files, Files] = [new Map(), new Map()];
    await loaded.save_pretrained(files[0]);
    await plain.save_pretrained(files[1]);
    assert.equal(files[1].get('model.safetensors'), files[0].get('model.safetensors'));
    assert.ok(
      new TextDecoder('latin1').decode(files[0].get('model.safetensors')).includes(`"dtype":"${bits}"`),
    );
    assert.is(text(files[0], 'config.json').dtype, dtype);
    const after = await plain.get_image_features(pixel_values);
    assert.equal(await loaded.get_image_features(pixel_values), after);
    assert.not.equal(after, before);
    // float32 keeps the rounded values, and is what gets saved.
    const wide: Files = new Map();
    plain.to('float32');
    await plain.save_pretrained(wide);
    const size = wide.get('model.safetensors')!.length / files[0].get('model.safetensors')!.length;
    assert.ok(size > 1.5, `${size} times the bytes`);
    assert.equal((await plain.get_input_embeddings()).weight, (await loaded.get_input_embeddings()).weight);
    for (const model of [plain, loaded]) model.dispose();
  });
}

test('saving refuses pickles, wrong sizes and targets by name', async () => {
  const model = await SmolVLMVisionTransformer.from_pretrained(`${GOLDENS}/one-image`);
  const files: Files = new Map();
  const pickled = { safe_serialization: false } as object;
  await rejects(model.save_pretrained(files, pickled), InputError, 'safe_serialization', 'true', 'false');
  for (const size of ['lots', '0', -1, '5 elephants']) {
    await rejects(
      model.save_pretrained(files, { max_shard_size: size }),
      InputError,
      'max_shard_size',
      'bytes',
      `${size}`,
    );
  }
  await rejects(
    model.save_pretrained(7 as never),
    InputError,
    'save_pretrained',
    'path of a folder, or a Map',
    '7',
  );
  const aborted = await model.save_pretrained(files, { signal: AbortSignal.abort() }).catch((error) => error);
  assert.is(aborted.name, 'AbortError');
  model.dispose();
});

test.run();
