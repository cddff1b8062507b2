import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/folder.js';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import { writeSafetensors } from '../../src/checkpoint/safetensors-writer.js';
import { bytesSource } from '../../src/checkpoint/source.js';
import { CheckpointError } from '../../src/errors.js';
import { randomIntegers } from './helpers.js';

const MUTATIONS = 6000;

const FILE = writeSafetensors(
  {
    'model.a.weight': { dtype: 'F32', shape: [2, 3], data: [1, 2, 3, 4, 5, 6] },
    'model.a.bias': { dtype: 'BF16', shape: [3], data: [1, 2, 3] },
    mask: { dtype: 'BOOL', shape: [1, 4], data: [1, 1, 0, 1] },
    ids: { dtype: 'I64', shape: [2], data: [1n, 2n] },
  },
  { format: 'pt' },
);
const INDEX = new TextEncoder().encode(
  JSON.stringify({
    metadata: { total_size: 1 },
    weight_map: Object.fromEntries(
      ['model.a.weight', 'model.a.bias', 'mask', 'ids'].map((name) => [
        name,
        'model-00001-of-00001.safetensors',
      ]),
    ),
  }),
);

/** One to four bytes flipped, replaced, taken out or put in, mostly within the first `reach` bytes. */
function mutate(bytes: Uint8Array, reach: number, random: () => number): Uint8Array<ArrayBuffer> {
  let out = Array.from(bytes);
  for (let count = 1 + (random() % 4); count > 0; count--) {
    const at = random() % Math.min(out.length, reach);
    const kind = random() % 4;
    if (kind === 0) out[at] ^= 1 << (random() % 8);
    else if (kind === 1) out[at] = random() & 255;
    else if (kind === 2) out.splice(at, 1);
    else out.splice(at, 0, '{}[]",:0198-e\\'.charCodeAt(random() % 14));
  }
  if (random() % 16 === 0) out = out.slice(0, random() % out.length);
  return Uint8Array.from(out);
}

test(`${MUTATIONS} damaged safetensors files: a CheckpointError that names the file, or tensors that can be read`, async () => {
  const random = randomIntegers(20250220);
  const outcomes = { read: 0, refused: 0 };
  for (let i = 0; i < MUTATIONS; i++) {
    const damaged = mutate(FILE, i % 3 === 0 ? FILE.length : 8 + 330, random);
    try {
      const file = await openSafetensors(bytesSource(damaged, 'fuzz.safetensors'));
      let bytes = 0;
      for (const { name, begin, end } of file.tensors.values()) {
        bytes += end - begin;
        await file.readTensor(name);
      }
      assert.is(file.bytes, damaged.length);
      assert.ok(bytes <= damaged.length);
      outcomes.read++;
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw new Error(`mutation ${i}`, { cause: error });
      assert.ok(error.where.startsWith('fuzz.safetensors'), error.message);
      assert.ok(error.expected !== undefined && error.got !== undefined, error.message);
      outcomes.refused++;
    }
  }
  assert.ok(outcomes.read > 100 && outcomes.refused > 1000, JSON.stringify(outcomes));
});

test(`${MUTATIONS / 2} damaged shard indexes: a CheckpointError or a checkpoint`, async () => {
  const random = randomIntegers(49279);
  const outcomes = { read: 0, refused: 0 };
  for (let i = 0; i < MUTATIONS / 2; i++) {
    const index = mutate(INDEX, INDEX.length, random);
    const folder = await openCheckpoint({
      'model.safetensors.index.json': index,
      'model-00001-of-00001.safetensors': FILE,
    });
    try {
      assert.is((await folder.weights()).tensors.size, 4);
      outcomes.read++;
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw new Error(`mutation ${i}`, { cause: error });
      outcomes.refused++;
    }
  }
  assert.ok(outcomes.read > 20 && outcomes.refused > 500, JSON.stringify(outcomes));
});

test.run();
