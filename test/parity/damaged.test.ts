import { rmSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CASE, command, damaged, folder, goldenOf, run, temporary } from './damage.js';

const LAYER = 'model.vision_model.encoder.layers.1.mlp.fc1';

for (const entry of [`modules.${LAYER}`, `f64.modules.${LAYER}`]) {
  test(`NaN planted in ${entry}: exit status 1, the tensor, its index and both values named`, async () => {
    const { code, stdout } = await run((golden) => {
      golden.values(entry)[45] = Number.NaN;
    });
    assert.is(code, 1);
    const against = entry.startsWith('f64') ? 'float64' : 'PyTorch';
    const pattern = `^first divergence: modules.${LAYER}: a value that is not finite at \\[0, 1, 5\\]: ours \\S+, ${against} NaN$`;
    assert.match(stdout, new RegExp(pattern, 'm'));
    assert.match(stdout, /^FAILS: 72 of 73 tensors hold/m);
  });

  test(`one value of ${entry} changed: exit status 1, the worst index and both values named`, async () => {
    let changed = 0;
    const { code, stdout } = await run((golden) => {
      const values = golden.values(entry);
      values[45] += 0.01;
      changed = values[45];
    });
    assert.is(code, 1);
    assert.match(
      stdout,
      new RegExp(
        `^first divergence: modules.${LAYER}: NMSE \\S+ > 1e-10, max-abs 1.00e-2 at \\[0, 1, 5\\]`,
        'm',
      ),
    );
    assert.ok(stdout.includes(String(changed)));
    assert.match(stdout, new RegExp(`^modules.${LAYER} .*FAIL \\(nmse\\)$`, 'm'));
  });

  test(`${entry} renamed: exit status 1, reported as missing`, async () => {
    const { code, stdout } = await run((golden) => golden.rename(entry, `${entry}_renamed`));
    assert.is(code, 1);
    assert.match(
      stdout,
      new RegExp(`^first divergence: modules.${LAYER}_renamed: the runtime produces no tensor`, 'm'),
    );
    assert.match(stdout, new RegExp(`^modules.${LAYER}_renamed .*FAIL \\(missing\\)$`, 'm'));
  });

  test(`${entry} of another dtype: exit status 1, expected and got named`, async () => {
    const { code, stdout } = await run((golden) => {
      const tensor = golden.tensors.get(entry)!;
      const dtype = tensor.dtype === 'F64' ? 'I64' : 'I32';
      golden.tensors.set(entry, { ...tensor, dtype });
    });
    assert.is(code, 1);
    const [expected, got] = entry.startsWith('f64') ? ['F64', 'I64'] : ['F32', 'I32'];
    assert.ok(stdout.includes(`${entry}: expected ${expected}, got ${got}`), stdout);
  });
}

test('a tensor of another shape: exit status 1, both shapes named', async () => {
  const { code, stdout } = await run((golden) => {
    const tensor = golden.tensors.get('outputs.logits')!;
    golden.tensors.set('outputs.logits', { ...tensor, shape: [...tensor.shape].reverse() });
  });
  assert.is(code, 1);
  assert.match(
    stdout,
    /^first divergence: outputs\.logits: expected the golden's \[131, 13, 1\], got \[1, 13, 131\]$/m,
  );
});

test('a tensor of a kind that no golden has is missing, not passed over', async () => {
  const { code, stdout } = await run((golden) => golden.rename('modules.lm_head', 'weights.lm_head'));
  assert.is(code, 1);
  assert.match(stdout, /^first divergence: weights\.lm_head: the runtime produces no tensor of this name$/m);
});

test('the first divergence is the first in forward order', async () => {
  const { code, stdout } = await run((golden) => {
    for (const name of ['outputs.logits', 'modules.model.connector', `modules.${LAYER}`])
      golden.values(name)[0] += 1;
  });
  assert.is(code, 1);
  assert.match(stdout, new RegExp(`^first divergence: modules.${LAYER}: `, 'm'));
  assert.match(stdout, /^FAILS: 70 of 73 tensors hold/m);
});

test('pads: values of text rows with attention_mask 0 do not count, those of the vision tower all do', async () => {
  const name = 'relu-right-padded';
  const last = (values: Float32Array | Float64Array) => values.fill(Number.NaN, values.length - 1);
  const spared = [
    'modules.lm_head',
    'outputs.logits',
    'modules.model.text_model.norm',
    'outputs.attentions.0',
  ];
  const masked = await damaged(name, (golden) => {
    for (const path of spared) last(golden.values(path));
  });
  assert.is((await command(folder(name), masked)).code, 0);
  for (const path of ['modules.model.connector', 'modules.model.text_model.rotary_emb.0']) {
    const { code } = await command(folder(name), await damaged(name, (golden) => last(golden.values(path))));
    assert.is(code, 1, path);
  }
});

test('a changed greedy token: exit status 1, row, step, both tokens and the gap named', async () => {
  const { code, stdout } = await run((golden) => {
    golden.tensors.get('generate.sequences')!.data[8 * 15] ^= 1;
  });
  assert.is(code, 1);
  assert.match(
    stdout,
    /^generate\.sequences: row 0, new token 2: expected \d+, got \d+, gap [\d.e+-]+ \(float64\).*: FAIL$/m,
  );
});

test('another token where the float64 gap is under 1e-5 is a tie: reported, exit status 0', async () => {
  const { code, stdout } = await run((golden) => {
    golden.tensors.get('generate.sequences')!.data[8 * 24] ^= 1;
    const gaps = JSON.parse(golden.metadata.generate_gaps);
    gaps[0][11] = 3e-6;
    golden.metadata.generate_gaps = JSON.stringify(gaps);
  });
  assert.is(code, 0);
  assert.match(stdout, /^generate\.sequences: tie: row 0, new token 11: .*gap 3\.00e-6 \(float64\)$/m);
});

test('without gaps in the metadata a mismatch is judged by our own gap', async () => {
  const { code, stdout } = await run((golden) => {
    golden.tensors.get('generate.sequences')!.data[8 * 24] ^= 1;
    delete golden.metadata.generate_gaps;
  });
  assert.is(code, 1);
  assert.match(stdout, /new token 11: .*gap [\d.]+e[+-]\d+ \(ours\): FAIL$/m);
});

test('sequences that do not begin with the prompt: exit status 1, the place named', async () => {
  const { code, stdout } = await run((golden) => {
    golden.tensors.get('generate.sequences')!.data[8 * 4] ^= 1;
  });
  assert.is(code, 1);
  assert.match(
    stdout,
    /^generate\.sequences: the prompt differs at \[0, 4\]: expected id \d+, got \d+: FAIL$/m,
  );
});

test('--strict fails where our error is over twice PyTorch’s own, and only then', async () => {
  // Both runs of the reference moved by the same: within the bound of NMSE, far beyond PyTorch's own error.
  const easy = await damaged(CASE, (golden) => {
    for (const name of [`modules.${LAYER}`, `f64.modules.${LAYER}`]) golden.values(name)[45] += 1e-5;
  });
  const plain = await command(folder(CASE), easy);
  assert.is(plain.code, 0);
  const { code, stdout } = await command(folder(CASE), easy, '--strict');
  assert.is(code, 1);
  assert.match(
    stdout,
    new RegExp(`^first divergence: modules.${LAYER}: error \\S+ × PyTorch's own \\(--strict\\)$`, 'm'),
  );
  assert.is((await command(folder(CASE), goldenOf(CASE), '--strict')).code, 0);
});

test('half-precision goldens are judged at their bound and labelled', async () => {
  const { code, stdout } = await command(folder('half-bfloat16'), goldenOf('half-bfloat16'));
  assert.is(code, 0);
  assert.match(
    stdout,
    /^HOLDS: 46 of 46 tensors hold at NMSE 1e-3; .*judged as bfloat16, in which torch ran/m,
  );
});

test.after(() => rmSync(temporary, { recursive: true }));
test.run();
