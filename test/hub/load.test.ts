import { existsSync, lstatSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { LoadProgress } from '../../src/checkpoint/progress.js';
import { CheckpointError } from '../../src/errors.js';
import {
  AutoModelForImageTextToText,
  AutoProcessor,
  SmolVLMConfig,
  SmolVLMForConditionalGeneration,
} from '../../src/index.js';
import { rejects } from '../checkpoint/helpers.js';
import { shapes } from '../support/paths.js';
import { TestHub } from './server.js';
import { scratch, shapesFiles } from './support.js';

const NAME = 'test-org/smolvlm-shapes';
const test = suite('models by name');
const hub = await new TestHub().start();
const files = shapesFiles();
const commit = hub.add(NAME, files);
test.before.each(() => hub.reset());
test.after(() => hub.stop());

const ids = { dims: [1, 4], data: BigInt64Array.of(5n, 6n, 7n, 8n) };

test('from_pretrained by name gives the bits of the folder, from the hub, from the cache and with the hub gone', async () => {
  const cache_dir = scratch();
  const local = await SmolVLMForConditionalGeneration.from_pretrained(shapes);
  const { logits: expected } = await local.forward({ input_ids: ids });
  local.dispose();
  const options = { cache_dir, endpoint: hub.url };
  for (const more of [
    {},
    {},
    { local_files_only: true },
    { endpoint: 'http://127.0.0.1:9' },
    { revision: commit },
  ]) {
    const model = await AutoModelForImageTextToText.from_pretrained(NAME, { ...options, ...more });
    const { logits } = await model.forward({ input_ids: ids });
    model.dispose();
    assert.equal(logits.data, expected.data);
    assert.is(hub.requests('cdn').length, 1, 'the weights were fetched once');
  }
  const snapshot = join(cache_dir, 'models--test-org--smolvlm-shapes/snapshots', commit);
  assert.is(readFileSync(join(cache_dir, 'models--test-org--smolvlm-shapes/refs/main'), 'utf8'), commit);
  assert.ok(lstatSync(join(snapshot, 'model.safetensors')).isSymbolicLink());
  assert.match(readlinkSync(join(snapshot, 'model.safetensors')), /^\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/);
  assert.match(readlinkSync(join(snapshot, 'config.json')), /^\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);
  assert.not.ok(existsSync(join(snapshot, 'tokenizer.json')), 'nothing is fetched that nobody asked for');
});

test('processor, config and adapter options take the name too, and its options are no options of theirs', async () => {
  const options = { cache_dir: scratch(), endpoint: hub.url, revision: 'main' };
  const processor = await AutoProcessor.from_pretrained(NAME, { ...options, do_image_splitting: false });
  const local = await AutoProcessor.from_pretrained(shapes, { do_image_splitting: false });
  assert.equal(processor.tokenizer.encode('a red circle'), local.tokenizer.encode('a red circle'));
  assert.is(processor.image_processor.do_image_splitting, false);
  const config = await SmolVLMConfig.from_pretrained(NAME, { ...options, pad_token_id: 7 });
  assert.is(config.pad_token_id, 7);
  assert.is((config as unknown as Record<string, unknown>).endpoint, undefined);
  assert.is(hub.requests('cdn').length, 0);
});

test('progress: each file has initiate, download, rising progress and done, then weights load, then ready, once', async () => {
  const events: LoadProgress[] = [];
  const options = { cache_dir: scratch(), endpoint: hub.url };
  const progress_callback = (event: LoadProgress) => void events.push(event);
  const model = await SmolVLMForConditionalGeneration.from_pretrained(NAME, {
    ...options,
    progress_callback,
  });
  model.dispose();
  const size = files['model.safetensors'].length;
  const weights = events.filter(({ file, status }) => file === 'model.safetensors' && status !== 'load');
  assert.equal(
    weights.map(({ status }) => status).filter((status, i, all) => status !== all[i - 1]),
    ['initiate', 'download', 'progress', 'done'],
  );
  const loaded = weights.map((event) => event.loaded);
  assert.equal(
    loaded,
    [...loaded].sort((a, b) => a - b),
  );
  assert.equal([loaded[0], loaded.at(-1)], [0, size]);
  for (const event of events) {
    assert.is(event.name, NAME);
    assert.ok(event.progress >= 0 && event.progress <= 100);
  }
  assert.ok(weights.every(({ total }) => total === size));
  const loads = events.filter(({ status }) => status === 'load');
  assert.ok(loads.length > 0 && loads.every(({ file }) => file === 'model.safetensors'));
  assert.equal(
    events.filter(({ status }) => status === 'ready').map(({ progress, loaded }) => [progress, loaded]),
    [[100, loads.at(-1)!.total]],
  );
  assert.is(events.at(-1)!.status, 'ready');
});

test('a folder of that name goes first, ./name is always a path, and where neither is the error names both readings', async () => {
  const options = { cache_dir: scratch(), endpoint: hub.url };
  hub.add('checkpoints/smolvlm-shapes', {});
  const config = await SmolVLMConfig.from_pretrained('checkpoints/smolvlm-shapes', options);
  assert.is(config.model_type, 'smolvlm');
  assert.is(hub.seen.length, 0);
  await rejects(() => SmolVLMConfig.from_pretrained(`./${NAME}`, options), CheckpointError, {
    what: 'checkpoint folder missing',
    where: `./${NAME}`,
    expected: 'a folder',
    got: 'nothing',
  });
  assert.is(hub.seen.length, 0);
  await rejects(() => SmolVLMConfig.from_pretrained('test-org/none', options), CheckpointError, {
    what: 'no such checkpoint',
    where: 'test-org/none',
    expected: 'a folder of this name, or a repository of the hub',
    got: `no such folder, and test-org/none@main, at ${hub.url}`,
  });
});

test.run();
