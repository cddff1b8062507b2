/** rope_scaling's inverse frequencies against the reference's buffers, bit for bit. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LlamaConfig } from '../../src/configuration/llama-config.js';
import { ConfigFields } from '../../src/model/config-fields.js';
import { parseRopeScaling, scaleFrequencies } from '../../src/model/rope-scaling.js';

interface Table {
  theta: number;
  dim: number;
  rope_scaling: Record<string, unknown>;
  default: number[];
  inv_freq: number[];
}

const { tables } = JSON.parse(readFileSync('test/goldens/rope-scaling.json', 'utf8')) as { tables: Table[] };
const parse = (config: object) => parseRopeScaling(new ConfigFields(config, 'text_config.'));

for (const { theta, dim, rope_scaling, ...bits } of tables) {
  test(`theta ${theta}, dim ${dim}, ${JSON.stringify(rope_scaling)}: the reference's bits`, () => {
    const values = new Uint32Array(bits.default);
    scaleFrequencies(new Float32Array(values.buffer), parse({ rope_scaling })!);
    assert.equal([...values], bits.inv_freq);
    assert.not.equal(bits.inv_freq, bits.default);
  });
}

test('the tables reach all three branches of llama3, and both types', () => {
  const llama3 = tables.filter(({ rope_scaling }) => rope_scaling.rope_type === 'llama3');
  assert.ok(llama3.length >= 5 && llama3.length < tables.length);
  const share = (table: Table, i: number) => {
    const [a, b] = [table.default, table.inv_freq].map(
      (bits) => new Float32Array(new Uint32Array(bits).buffer)[i],
    );
    return b === a
      ? 'kept'
      : b === Math.fround(a / Math.fround(table.rope_scaling.factor as number))
        ? 'divided'
        : 'between';
  };
  const seen = new Set(llama3.flatMap((table) => table.default.map((_, i) => share(table, i))));
  assert.equal([...seen].sort(), ['between', 'divided', 'kept']);
});

test('the older name of the type wins, default and null mean none, and rope_parameters stand in', () => {
  const linear = { rope_type: 'linear', factor: 2 };
  assert.equal(parse({ rope_scaling: { type: 'linear', rope_type: 'yarn', factor: 2 } }), linear);
  assert.equal(parse({ rope_parameters: { rope_theta: 5, ...linear } }), linear);
  assert.equal(parse({ rope_scaling: linear, rope_parameters: { rope_type: 'yarn' } }), linear);
  for (const rope_scaling of [null, { type: 'default' }, { rope_type: 'default', factor: 3 }]) {
    assert.is(parse({ rope_scaling }), null);
  }
});

test('LlamaConfig carries rope_scaling through a round trip', () => {
  const { rope_scaling } = tables.find(({ rope_scaling }) => rope_scaling.rope_type === 'llama3')!;
  const config = new LlamaConfig({ rope_scaling });
  const back = new LlamaConfig(JSON.parse(JSON.stringify(config.to_dict())));
  assert.equal(back.rope_scaling, rope_scaling);
  const old = new LlamaConfig({ rope_scaling: { type: 'linear', factor: 2 } });
  assert.equal(old.to_dict().rope_scaling, { type: 'linear', factor: 2, rope_type: 'linear' });
});

test.run();
