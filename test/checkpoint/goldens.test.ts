import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/folder.js';
import { loadWeights } from '../../src/checkpoint/load.js';
import { checkTensors, expectedTensors } from '../../src/checkpoint/manifest.js';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import { bytesSource } from '../../src/checkpoint/source.js';
import { parseConfig } from '../../src/model/config.js';
import { Engine } from '../../src/runtime/engine.js';

const goldens = readdirSync('test/goldens').filter((name) =>
  ['model.safetensors', 'model.safetensors.index.json'].some((file) =>
    existsSync(`test/goldens/${name}/${file}`),
  ),
);

test('every committed checkpoint fits its config and is loaded whole', async () => {
  assert.ok(goldens.length >= 10, `${goldens.length} checkpoints`);
  for (const name of goldens) {
    const folder = await openCheckpoint(`test/goldens/${name}`);
    const expectation = expectedTensors(parseConfig(await folder.json('config.json')));
    const shards = await folder.weights();
    checkTensors(expectation, shards.tensors, folder.name);
    const engine = await Engine.create();
    const weights = await loadWeights(shards, expectation.tensors, engine);
    for (const weight of weights.values()) {
      if (weight.layout !== 'vector') continue;
      const values = await shards.tensors.get(weight.name)!.file.readFloat32(weight.name);
      assert.equal(engine.f32(weight.pointer, weight.N), values, weight.name);
    }
    engine.dispose();
    await folder.close();
  }
});

test('every tensor of every committed golden is read', async () => {
  for (const name of goldens) {
    const file = await openSafetensors(
      bytesSource(readFileSync(`test/goldens/${name}/golden.safetensors`), name),
    );
    assert.is(file.metadata.get('format'), 'smolvlm-golden/1', name);
    assert.ok(file.tensors.size > 10, name);
    for (const tensor of file.tensors.keys()) await file.readTensor(tensor);
  }
});

test.run();
