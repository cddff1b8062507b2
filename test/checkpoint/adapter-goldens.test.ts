/** LoRA adapters merged while loading, against peft's merge_and_unload: the weights bit by bit, and the model's outputs. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { adapterChanges, openAdapter } from '../../src/checkpoint/adapter.js';
import { openCheckpoint } from '../../src/checkpoint/folder.js';
import { expectedTensors } from '../../src/checkpoint/manifest.js';
import { mergedShards } from '../../src/checkpoint/merge.js';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import { fileSource } from '../../src/checkpoint/source.js';
import { parseConfig } from '../../src/model/config.js';
import { loadModel } from '../../src/model/load.js';
import { openGolden } from '../../src/parity/golden.js';
import { compareGolden, summarize } from '../../src/parity/parity.js';
import { MERGED_DIFFERENT_SHARE, MERGED_RELATIVE } from '../tolerance.js';

interface Case {
  name: string;
  base: string;
  dtype: 'F32' | 'F16' | 'BF16';
  covers: string[];
}

const ROOT = 'test/goldens/adapters';
const { cases } = JSON.parse(readFileSync(`${ROOT}/cases.json`, 'utf8')) as { cases: Case[] };

for (const { name, base, dtype, covers } of cases) {
  test(`adapter ${name}: merged weights are peft's (${covers.join('; ')})`, async () => {
    const folder = await openCheckpoint(`test/goldens/${base}`);
    const expected = expectedTensors(parseConfig(await folder.json('config.json')));
    const adapter = await openAdapter(await openCheckpoint(`${ROOT}/${name}`));
    const changes = adapterChanges(adapter, expected);
    const { tensors } = mergedShards(await folder.weights(), changes);
    const golden = await openSafetensors(await fileSource(`${ROOT}/${name}/merged.safetensors`));
    for (const changed of golden.tensors.keys()) assert.ok(changes.has(changed), `${changed} is changed`);
    let [count, different] = [0, 0];
    for (const [tensor, { file, dtype: ours }] of tensors) {
      assert.is(ours, dtype);
      const values = await file.readFloat32(tensor);
      const before = await (await folder.weights()).tensors.get(tensor)!.file.readFloat32(tensor);
      if (!golden.tensors.has(tensor)) {
        assert.equal(values, before, `${tensor} stays`);
        continue;
      }
      const theirs = await golden.readFloat32(tensor);
      const largest = theirs.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
      for (let i = 0; i < values.length; i++) {
        const error = Math.abs(values[i] - theirs[i]);
        const bound = MERGED_RELATIVE[dtype] * (dtype === 'F32' ? largest : Math.abs(theirs[i]));
        assert.ok(error <= bound, `${tensor}[${i}]: ${values[i]}, peft ${theirs[i]}, bound ${bound}`);
        if (error > 0) different++;
      }
      count += values.length;
    }
    assert.ok(count > 500, `${count} values compared`);
    const share = different / count;
    assert.ok(share <= MERGED_DIFFERENT_SHARE[dtype], `${different} of ${count} differ in their last bit`);
    await adapter.close();
    await golden.close();
    await folder.close();
  });

  test(`adapter ${name}: every tensor of the merged model's golden holds`, async () => {
    const golden = await openGolden(await fileSource(`${ROOT}/${name}/golden.safetensors`));
    const folder = await openCheckpoint(`test/goldens/${base}`);
    const plain = await loadModel(folder);
    const without = summarize(await compareGolden(plain, golden));
    assert.not(without.holds, 'without the adapter it does not hold');
    plain.ops.engine.dispose();
    const model = await loadModel(folder, { adapter: await openCheckpoint(`${ROOT}/${name}`) });
    const report = await compareGolden(model, golden);
    const { failures, holds } = summarize(report);
    assert.equal(
      failures.map((failure) => `${failure.name}: ${failure.detail}`),
      [],
    );
    assert.ok(holds);
    assert.equal(report.greedy?.mismatches ?? [], []);
    assert.ok(report.tensors.length > 20);
    model.ops.engine.dispose();
    await golden.file.close();
  });
}

test.run();
