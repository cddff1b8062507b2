import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type CounterDtype, counterPixels, counterRule, counterValues, fnv1a } from './counter.js';

interface Vector {
  name: string;
  shape: number[];
  seed: number;
  dtype: CounterDtype;
  scale_bits: number;
  offset: number;
  first_bits: number[];
  count: number;
  fnv1a: number;
}

const { tensors, pixels } = JSON.parse(readFileSync('test/goldens/counter.json', 'utf8')) as {
  tensors: Vector[];
  pixels: { seed: number; first_bits: number[] };
};

const floatBits = (values: Float32Array) => [...new Uint32Array(values.buffer)];

for (const vector of tensors) {
  const { name, shape, seed, dtype, count } = vector;
  test(`counter weights ${name}, seed ${seed}, ${dtype}: ${count} values have the bits of python/counter.py`, () => {
    const { scale, offset } = counterRule(name, shape);
    assert.equal(floatBits(Float32Array.of(scale)), [vector.scale_bits]);
    assert.is(offset, vector.offset);
    const values = counterValues(name, shape, { dtype, seed }, 0, count);
    const first = values.slice(0, vector.first_bits.length);
    assert.equal(first instanceof Float32Array ? floatBits(first) : [...first], vector.first_bits);
    assert.is(fnv1a(new Uint8Array(values.buffer)), vector.fnv1a);
  });
}

test('counter weights from the middle of a tensor are those of the whole', () => {
  const options = { dtype: 'BF16', seed: 5 } as const;
  const whole = counterValues('lm_head.weight', [40, 30], options, 0, 1200);
  assert.equal(counterValues('lm_head.weight', [40, 30], options, 700, 100), whole.slice(700, 800));
});

test('counter pixels have the bits of python/counter.py', () => {
  const { first_bits, seed } = pixels;
  assert.equal(floatBits(counterPixels(first_bits.length, 'inputs.pixel_values', seed)), first_bits);
});

test.run();
