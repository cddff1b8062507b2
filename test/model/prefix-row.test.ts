/** What stands at the keys of prompts, and how much two of them have in common. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { commonLength, type PrefixRow, prefixRows } from '../../src/model/prefix-row.js';

const I = 99;
const matrix = (...rows: number[][]) => ({
  dims: [rows.length, rows[0]!.length],
  data: Int32Array.from(rows.flat()),
});

test('rows are told without pads, each with the tiles that it shows', () => {
  const ids = matrix([0, 0, 1, I, I, 2], [I, I, 3, I, I, 0], [1, 2, 3, 4, 5, 6]);
  const mask = matrix([0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]);
  const rows = prefixRows(ids, mask, I, { keys: ['a', 'b', 'c', 'unused'], seqLen: 2 });
  assert.equal(rows, [
    { ids: [1, I, I, 2], tiles: ['a'], seqLen: 2 },
    { ids: [I, I, 3, I, I], tiles: ['b', 'c'], seqLen: 2 },
    { ids: [1, 2, 3, 4, 5, 6], tiles: [], seqLen: 2 },
  ]);
  assert.equal(prefixRows(matrix([I, 5]), undefined, I, undefined), [{ ids: [I, 5], tiles: [], seqLen: 1 }]);
  const big = { dims: [1, 2], data: BigInt64Array.of(7n, 8n) };
  assert.equal(prefixRows(big, undefined, I, undefined)![0]!.ids, [7, 8]);
});

test('where states go to pads, to half a picture or to none, no prefix is told', () => {
  const images = { keys: ['a', 'b'], seqLen: 2 };
  assert.is(prefixRows(matrix([I, I, 1]), matrix([1, 0, 1]), I, images), undefined, 'a pad');
  assert.is(prefixRows(matrix([I, 1, 1]), undefined, I, images), undefined, 'half a picture');
  assert.is(prefixRows(matrix([I, I, I, I, I, I]), undefined, I, images), undefined, 'too few pictures');
  assert.ok(prefixRows(matrix([I, I, I, I, 1, 1]), undefined, I, images));
});

test('rows agree up to the first other token, other tile, or end', () => {
  const row = (ids: number[], tiles: string[] = [], seqLen = 2): PrefixRow => ({ ids, tiles, seqLen });
  const a = row([1, I, I, 2, I, I, 3], ['a', 'b']);
  const cases: [PrefixRow, number][] = [
    [a, 7],
    [row([1, I, I, 2], ['a']), 4],
    [row([1, I, I, 2, I, I, 4], ['a', 'b']), 6],
    [row([1, I, I, 2, I, I, 3], ['a', 'c']), 4],
    [row([1, I, I, 2, I, I, 3], ['c', 'b']), 1],
    [row([1, I, I, 2, I, I, 3]), 1],
    [row([1, I, I, 2, I, I, 3], ['a']), 4],
    [row([2, I, I], ['a']), 0],
    [row([]), 0],
  ];
  for (const [b, want] of cases) {
    assert.is(commonLength(a, b, I, 100), want, JSON.stringify(b));
    assert.is(commonLength(b, a, I, 100), want, JSON.stringify(b));
  }
  assert.is(commonLength(a, a, I, 5), 5);
  const plain = row([1, I, I, 5], [], 1);
  assert.is(commonLength(plain, plain, I, 100), 4, '<image> tokens without a picture are tokens');
});

test.run();
