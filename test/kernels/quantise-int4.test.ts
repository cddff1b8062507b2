/** What quantising to 4 bits with a minimum gives beyond what quantise.test.ts holds for both widths. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { roundQ41, studentT } from '../../bench/quantisation-reference.js';
import { random } from './harness.js';
import { encode } from './panels.js';
import { bf16Value, dequantise, packed, type QuantisedRow } from './quantised.js';

test('int4: a block on a grid of bfloat16 scale and minimum, from level 0 to 15, is given back exactly', () => {
  const next = random(21);
  const blocks = 2000;
  const values = new Float32Array(32 * blocks);
  const want: QuantisedRow = {
    scales: new Uint16Array(blocks),
    minimums: new Uint16Array(blocks),
    q: new Int8Array(32 * blocks),
  };
  for (let b = 0; b < blocks; b++) {
    want.scales[b] = encode('bf16', 2 ** (8 * next() - 10));
    // About −7 scales as in trained weights, or 0, or beyond the range on either side; exact in float32.
    const offset = b % 5 === 0 ? 0 : (b % 5 === 1 ? 60 : -7 - next()) * (next() - 0.1);
    want.minimums[b] = encode('bf16', offset * bf16Value(want.scales[b]!));
    for (let k = 0; k < 32; k++) want.q[32 * b + k] = k < 2 ? 15 * k : Math.floor(16 * next());
    for (let k = 0; k < 32; k++) {
      const w = bf16Value(want.scales[b]!) * want.q[32 * b + k]! + bf16Value(want.minimums[b]!);
      values[32 * b + k] = w;
      assert.is(values[32 * b + k], w);
    }
  }
  assert.equal(packed(4, values), want);
});

test('int4: a block of one value keeps it to half a unit of bfloat16, with a scale of 0', () => {
  for (const w of [1, -1.00390625, 0.7, -3e-20, 5e30]) {
    const row = packed(4, new Float32Array(32).fill(w));
    assert.is(row.scales[0], 0);
    assert.equal([...row.q], new Array(32).fill(0));
    assert.ok(Math.abs(bf16Value(row.minimums[0]!) - w) <= Math.abs(w) * 2 ** -8, String(w));
  }
});

test('int4: the rms error is below that of ggml’s Q4_1, on normal and on heavy-tailed weights', () => {
  for (const degrees of [Number.POSITIVE_INFINITY, 4, 3]) {
    const values = studentT(32_768, degrees, 17);
    const left = (back: ArrayLike<number>) =>
      Math.sqrt(values.reduce((sum, w, i) => sum + (w - back[i]!) ** 2, 0));
    const [own, other] = [left(dequantise(packed(4, values), values.length)), left(roundQ41(values))];
    assert.ok(own < other, `${degrees} degrees of freedom: ${own} against ${other}`);
  }
});

test.run();
