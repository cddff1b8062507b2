import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { InputError } from '../../src/errors.js';
import type { PositionDtype } from '../../src/model/config.js';
import { visionPositionIds } from '../../src/model/position-ids.js';
import { fnv1a } from '../support/counter.js';

interface Case {
  side: number;
  h: number;
  w: number;
  row_ids: Record<PositionDtype, number[]>;
  column_ids: Record<PositionDtype, number[]>;
  fnv1a: Record<PositionDtype, number>;
}

const { cases } = JSON.parse(readFileSync('test/goldens/position_ids.json', 'utf8')) as { cases: Case[] };
const DTYPES = ['float32', 'float16', 'bfloat16'] as const;
const sides = [...new Set(cases.map(({ side }) => side))];

/** side² patches of which the top left h × w are valid. */
function gridMask(side: number, h: number, w: number): Uint8Array {
  return Uint8Array.from({ length: side * side }, (_, i) =>
    Math.floor(i / side) < h && i % side < w ? 1 : 0,
  );
}

for (const dtype of DTYPES) {
  for (const side of sides) {
    const own = cases.filter((entry) => entry.side === side);
    test(`vision position ids in ${dtype}, ${side} patches a side: ${own.length} sizes as the reference`, () => {
      assert.ok(own.length >= side);
      for (const { h, w, row_ids, column_ids, fnv1a: hashes } of own) {
        const ids = visionPositionIds(gridMask(side, h, w), side, side, side, dtype);
        for (let y = 0; y < side; y++) {
          for (let x = 0; x < side; x++) {
            const id = y < h && x < w ? column_ids[dtype][y] * side + row_ids[dtype][x] : 0;
            assert.is(ids[y * side + x], id, `${h} × ${w}, patch [${y}, ${x}]`);
          }
        }
        const int64 = BigInt64Array.from(ids, BigInt);
        assert.is(fnv1a(new Uint8Array(int64.buffer)), hashes[dtype], `${h} × ${w}`);
      }
    });
  }
}

test('a full tile of 32 patches a side has ids 0, 0, 1 … 30 in float32 and 0 … 31 in bfloat16', () => {
  const firstRow = (dtype: PositionDtype) =>
    [...visionPositionIds(gridMask(32, 32, 32), 32, 32, 32, dtype)].slice(0, 32);
  const counted = Array.from({ length: 32 }, (_, i) => i);
  assert.equal(firstRow('float32'), [0, ...counted.slice(0, 31)]);
  assert.equal(firstRow('bfloat16'), counted);
});

test('valid patches that form no grid are an InputError with both counts', () => {
  const mask = gridMask(4, 3, 2);
  mask[15] = 1;
  assert.throws(
    () => visionPositionIds(mask, 4, 4, 4, 'float32'),
    (error: InputError) =>
      error instanceof InputError &&
      error.where === 'pixel_attention_mask' &&
      error.expected?.startsWith('3 × 2 = 6 patches') === true &&
      error.got === '7',
  );
});

test.run();
