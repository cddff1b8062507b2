import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hasRelaxedSimd } from '../../src/runtime/binaries.js';
import { CASE, command, folder, goldenOf, type Outcome, run, temporary, written } from './damage.js';

/** One line on standard error, with these parts and without a stack. */
function oneLine({ stderr }: Outcome, ...parts: string[]): void {
  assert.is(stderr.split('\n').length, 2, stderr);
  assert.match(stderr, /^smolvlm parity: /);
  for (const part of parts) assert.ok(stderr.includes(part), `${part} in: ${stderr}`);
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
    ['a', 'b', '--threads', 'many'],
    ['a', 'b', '--threads', '0'],
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

test('--threads: the numbers do not depend on it, and the report says how many there were', async () => {
  const reports: Record<string, unknown>[] = [];
  for (const threads of ['1', '3']) {
    const { code, stdout } = await command(folder(CASE), goldenOf(CASE), '--threads', threads, '--json', '-');
    assert.is(code, 0);
    const { threads: said, relaxed_simd, seconds: _, ...report } = JSON.parse(stdout);
    assert.is(said, Number(threads));
    assert.is(relaxed_simd, false);
    reports.push(report);
  }
  assert.equal(reports[1], reports[0]);
});

test('--relaxed: the report, the page and the closing line say so; where there is none, exit status 2', async () => {
  const html = join(temporary, 'relaxed.html');
  const outcome = await command(folder(CASE), goldenOf(CASE), '--relaxed', '--html', html);
  if (!hasRelaxedSimd()) {
    assert.is(outcome.code, 2);
    oneLine(outcome, 'this host has no relaxed SIMD', 'got true');
    return;
  }
  assert.is(outcome.code, 0);
  for (const text of [outcome.stdout, readFileSync(html, 'utf8')])
    assert.match(text, /with relaxed SIMD: bits depend on the processor/);
  const json = await command(folder(CASE), goldenOf(CASE), '--relaxed', '--json', '-');
  assert.is(JSON.parse(json.stdout).relaxed_simd, true);
});

test('a report that cannot be written: exit status 2', async () => {
  const outcome = await command(folder(CASE), goldenOf(CASE), '--json', `${temporary}/no/such/folder/x.json`);
  assert.is(outcome.code, 2);
  assert.match(outcome.stderr, /^smolvlm parity: cannot write .*x\.json/);
});

test('a reader that closes the pipe early gets no stack, and the report is written all the same', async () => {
  const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
  const json = join(temporary, 'piped.json');
  const child = spawn(process.execPath, [main, 'parity', folder(CASE), goldenOf(CASE), '--json', json]);
  let stderr = '';
  child.stderr.on('data', (data) => (stderr += data));
  child.stdout.once('data', () => child.stdout.destroy());
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.is(stderr, '');
  assert.is(code, 0);
  assert.is(JSON.parse(readFileSync(json, 'utf8')).holds, true);
});

test.after(() => rmSync(temporary, { recursive: true }));
test.run();
