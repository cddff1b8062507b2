import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decode, toBfloat16, toFloat16 } from '../../src/checkpoint/dtypes.js';

/** The value of an IEEE-like 16-bit pattern by its definition. */
function define(bits: number, exponentBits: number): number {
  const mantissaBits = 15 - exponentBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> mantissaBits) & (2 ** exponentBits - 1);
  const fraction = (bits & (2 ** mantissaBits - 1)) / 2 ** mantissaBits;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias);
  return sign * (1 + fraction) * 2 ** (exponent - bias);
}

const ALL = Uint16Array.from({ length: 65536 }, (_, i) => i);
const FORMATS = [
  { dtype: 'F16', exponentBits: 5, narrow: toFloat16 },
  { dtype: 'BF16', exponentBits: 8, narrow: toBfloat16 },
] as const;

for (const { dtype, exponentBits, narrow } of FORMATS) {
  test(`${dtype}: all 65,536 patterns widen to exactly their value, subnormals, -0, infinities and NaN included`, () => {
    const values = decode(dtype, new Uint8Array(ALL.buffer)) as Float32Array;
    assert.is(values.length, 65536);
    for (let bits = 0; bits < 65536; bits++) {
      const value = define(bits, exponentBits);
      if (!Object.is(values[bits], value))
        throw new Error(`${bits.toString(16)}: ${values[bits]}, not ${value}`);
    }
  });

  test(`${dtype}: rounding a float32 gives the nearest pattern, ties to even`, () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = define(bits, exponentBits);
      if (Number.isNaN(value)) assert.ok(Number.isNaN(define(narrow(value), exponentBits)));
      else if (narrow(value) !== bits)
        throw new Error(`${value} rounds to ${narrow(value)}, not to itself, ${bits}`);
      const next = define(bits + 1, exponentBits);
      if (!(bits & 0x8000) && Number.isFinite(next) && Number.isFinite(value)) {
        // Halfway, and one float32 to either side of it where float32 has such neighbours.
        const middle = Math.fround((value + next) / 2);
        const gap = (next - value) / 64;
        const even = bits & 1 ? bits + 1 : bits;
        const rounded = [middle - gap, middle, middle + gap].map((x) => narrow(Math.fround(x)));
        assert.equal(rounded, [bits, even, bits + 1], `around ${value}`);
      }
    }
  });
}

test('float32 values beyond the largest float16 become infinite, the tiniest zero, with their sign', () => {
  assert.is(toFloat16(65519), 0x7bff);
  assert.is(toFloat16(65520), 0x7c00);
  assert.is(toFloat16(-1e30), 0xfc00);
  assert.is(toFloat16(2 ** -25), 0);
  assert.is(toFloat16(-(2 ** -25) * 1.001), 0x8001);
  assert.is(toFloat16(-1e-40), 0x8000);
});

test.run();
