import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { command, damaged, folder, goldenOf, type Outcome, temporary, written } from './damage.js';

const CASE = 'one-image';
const LAYER = 'model.vision_model.encoder.layers.1.mlp.fc1';

/** One line on standard error, with these parts and without a stack. */
function oneLine({ stderr }: Outcome, ...parts: string[]): void {
  assert.is(stderr.split('\n').length, 2, stderr);
  assert.match(stderr, /^smolvlm parity: /);
  for (const part of parts) assert.ok(stderr.includes(part), `${part} in: ${stderr}`);
}

async function run(edit: Parameters<typeof damaged>[1], ...options: string[]): Promise<Outcome> {
  return command(folder(CASE), await damaged(CASE, edit), ...options);
}

test('an undamaged golden holds: exit status 0, every tensor a row in forward order, a closing line', async () => {
  const { code, stdout, stderr } = await command(folder(CASE), goldenOf(CASE));
  assert.is(code, 0);
  assert.is(stderr, '');
  const rows = stdout.split('\n').filter((line) => /^(modules|outputs)\./.test(line));
  assert.is(rows.length, 73);
  assert.ok(rows.every((row) => row.endsWith('  ok')));
  const order = [
    'embed_tokens ',
    'patch_embedding ',
    'layers.0.mlp.fc1 ',
    'connector ',
    'rotary_emb.0 ',
    'outputs.logits ',
  ];
  const places = order.map((name) => rows.findIndex((row) => row.includes(name)));
  assert.equal(
    places,
    [...places].sort((a, b) => a - b),
  );
  assert.ok(places[0] === 0);
  assert.match(stdout, /generate\.sequences: 1 × 12 greedy tokens identical: ok\n/);
  assert.match(stdout, /\nHOLDS: 73 of 73 tensors hold at NMSE 1e-10; worst [\d.]+e-1\d at /);
});

test('the JSON report has every tensor with its numbers, the page every name and nothing from elsewhere', async () => {
  const [json, html] = [join(temporary, 'report.json'), join(temporary, 'report.html')];
  const { code } = await command(folder(CASE), goldenOf(CASE), '--json', json, '--html', html);
  assert.is(code, 0);
  const report = JSON.parse(readFileSync(json, 'utf8'));
  assert.is(report.format, 'smolvlm-parity/1');
  assert.is(report.holds, true);
  assert.is(report.first_divergence, null);
  assert.is(report.tensors.length, 73);
  for (const { name, verdict, ratio, float64, float32 } of report.tensors) {
    assert.is(verdict, 'ok', name);
    for (const number of [ratio, float64.nmse, float32.nmse, float64.max_abs]) assert.type(number, 'number');
  }
  const page = readFileSync(html, 'utf8');
  for (const { name } of report.tensors) assert.ok(page.includes(name));
  assert.not.match(page, /<script|https?:|src=|url\(/);
  const { stdout } = await command(folder(CASE), goldenOf(CASE), '--json', '-');
  assert.is(JSON.parse(stdout).tensors.length, 73);
});

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

for (const [what, edit, ...parts] of [
  [
    'another format',
    { format: 'smolvlm-golden/2' },
    'not a golden file',
    'expected smolvlm-golden/1, got "smolvlm-golden/2"',
  ],
  ['no format', { format: undefined }, 'expected smolvlm-golden/1, got nothing'],
  [
    'a dtype that is none',
    { dtype: 'int8' },
    'metadata dtype',
    'expected one of float32, float16, bfloat16, got "int8"',
  ],
] as const) {
  test(`metadata with ${what}: exit status 2, one line with expected and got`, async () => {
    const outcome = await run((golden) => {
      const metadata: Record<string, string | undefined> = { ...golden.metadata, ...edit };
      golden.metadata = JSON.parse(JSON.stringify(metadata));
    });
    assert.is(outcome.code, 2);
    oneLine(outcome, ...parts);
  });
}

test('an input that the runtime does not take: exit status 2, its name in the line', async () => {
  const outcome = await run((golden) => golden.rename('inputs.attention_mask', 'inputs.token_type_ids'));
  assert.is(outcome.code, 2);
  oneLine(outcome, 'inputs.token_type_ids', 'attention_mask', 'got token_type_ids');
});

test('no tokens among the inputs: exit status 2', async () => {
  const outcome = await run((golden) => golden.tensors.delete('inputs.input_ids'));
  assert.is(outcome.code, 2);
  oneLine(outcome, 'expected inputs.input_ids or inputs.inputs_embeds, got neither');
});

test('an input of a wrong dtype: exit status 2, expected and got named', async () => {
  const outcome = await run((golden) => {
    const tensor = golden.tensors.get('inputs.input_ids')!;
    golden.tensors.set('inputs.input_ids', { ...tensor, dtype: 'F64' });
  });
  assert.is(outcome.code, 2);
  oneLine(outcome, 'inputs.input_ids', 'expected I64, I32', 'got F64');
});

test('a truncated golden: exit status 2, expected and got bytes named', async () => {
  const bytes = readFileSync(goldenOf(CASE));
  for (const length of [0, 7, 100, bytes.length - 1]) {
    const outcome = await command(folder(CASE), written(bytes.subarray(0, length)));
    assert.is(outcome.code, 2);
    oneLine(outcome, 'expected', 'got');
  }
});

test('missing and mixed-up paths: exit status 2, the path in the line', async () => {
  const missing = await command('no/such/folder', goldenOf(CASE));
  assert.is(missing.code, 2);
  oneLine(missing, 'no/such/folder');
  const noGolden = await command(folder(CASE), 'no-such-file.safetensors');
  assert.is(noGolden.code, 2);
  oneLine(noGolden, 'no-such-file.safetensors');
  const mixed = await command(goldenOf(CASE), folder(CASE));
  assert.is(mixed.code, 2);
  oneLine(mixed, folder(CASE));
  const weights = await command(folder(CASE), `${folder(CASE)}/model.safetensors`);
  assert.is(weights.code, 2);
  oneLine(weights, 'not a golden file', 'expected smolvlm-golden/1');
});

test('a golden of a checkpoint with other dimensions: exit status 1 or 2, no stack', async () => {
  for (const other of [
    'batch-0123-images',
    'scale3-gelu_new-f16-shards',
    'text-only-tied-bf16',
    'embeds-alone',
  ]) {
    const { code, stdout, stderr } = await command(folder(CASE), goldenOf(other));
    assert.ok(code === 1 || code === 2, `${other}: ${code}`);
    assert.not.match(stdout + stderr, /\n\s+at |unexpected/);
    if (code === 2) oneLine({ code, stdout, stderr });
    else assert.match(stdout, /^first divergence: /m);
  }
});

test('wrong arguments: exit status 2 with the usage; --help: exit status 0', async () => {
  for (const argv of [
    [],
    [folder(CASE)],
    [folder(CASE), goldenOf(CASE), 'more'],
    ['--nonsense'],
    ['a', 'b', '--json'],
  ]) {
    const { code, stdout, stderr } = await command(...argv);
    assert.is(code, 2);
    assert.is(stdout, '');
    assert.match(stderr, /^smolvlm parity: .*\nusage: smolvlm parity CHECKPOINT_DIR GOLDEN\.safetensors/);
  }
  const { code, stdout } = await command('--help');
  assert.is(code, 0);
  for (const option of ['--json F', '--html F', '--strict', 'Exit status'])
    assert.ok(stdout.includes(option));
});

test('a report that cannot be written: exit status 2', async () => {
  const outcome = await command(folder(CASE), goldenOf(CASE), '--json', `${temporary}/no/such/folder/x.json`);
  assert.is(outcome.code, 2);
  assert.match(outcome.stderr, /^smolvlm parity: cannot write .*x\.json/);
});

test.after(() => rmSync(temporary, { recursive: true }));
test.run();
