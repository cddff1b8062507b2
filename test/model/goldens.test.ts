/** Every committed golden through the production kernels, tensor by tensor. */
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/folder.js';
import { fileSource } from '../../src/checkpoint/source.js';
import { loadModel } from '../../src/model/load.js';
import type { Model } from '../../src/model/model.js';
import { type Golden, openGolden } from '../../src/parity/golden.js';
import { compareGolden, type ParityReport, summarize } from '../../src/parity/parity.js';
import { counterFolder } from '../support/counter.js';
import { greedy } from '../support/greedy.js';
import { PARITY_STRICT_SHARE } from '../tolerance.js';

interface Case {
  name: string;
  golden: string;
  dtype: string;
  float64: boolean;
  greedy: boolean;
  covers: string[];
}

const ROOT = 'test/goldens';
const { cases } = JSON.parse(readFileSync(`${ROOT}/cases.json`, 'utf8')) as { cases: Case[] };
const reports: ParityReport[] = [];

async function openModel(folder: string): Promise<Model> {
  const marker = `${folder}/counter.json`;
  if (!existsSync(marker)) return loadModel(await openCheckpoint(folder));
  const read = (path: string) => JSON.parse(readFileSync(path, 'utf8'));
  return loadModel(counterFolder(read(`${folder}/config.json`), read(marker)));
}

/** What greedy generation makes of the golden's prompt, beside what it should. */
async function generated({ config, ...rest }: Model, { dtype, inputs, sequences }: Golden) {
  const model = { ...rest, config: { ...config, position_dtype: dtype } };
  const { batch, sequence, forward } = inputs;
  const { dims, data } = sequences!;
  const made: number[][] = Array.from({ length: batch }, () => []);
  const steps = dims[1] - sequence;
  const { position_ids: _, ...given } = forward;
  const options = { max_new_tokens: steps, eos_token_id: [], pad_token_id: 0 };
  for await (const ids of greedy(model, given, options)) {
    for (const [row, id] of ids.entries()) made[row].push(id);
  }
  const expected = made.map((_, row) => data.slice(row * dims[1] + sequence, (row + 1) * dims[1]));
  return { made, expected };
}

for (const { name, golden: file, dtype, covers, ...has } of cases) {
  test(`golden ${name}: every tensor holds and greedy ids are identical (${covers.join('; ')})`, async () => {
    const golden = await openGolden(await fileSource(`${ROOT}/${name}/${file}`));
    const model = await openModel(`${ROOT}/${name}`);
    const report = await compareGolden(model, golden);
    reports.push(report);
    const { failures, holds } = summarize(report);
    assert.equal(
      failures.map((failure) => `${failure.name}: ${failure.detail}`),
      [],
    );
    assert.ok(report.sameBits, 'the logits have the same bits with and without taps');
    assert.equal(report.greedy?.mismatches ?? [], []);
    assert.ok(holds);
    // Nothing of the file was passed over.
    assert.is(report.tensors.length, golden.entries.size);
    assert.ok(report.tensors.length > 20);
    assert.is(report.dtype, dtype);
    const twins = [...golden.entries.values()].filter(({ float64 }) => float64).length;
    assert.is(twins, has.float64 ? report.tensors.length : 0);
    assert.is(report.greedy !== undefined, has.greedy);
    if (has.greedy) {
      const { made, expected } = await generated(model, golden);
      assert.equal(made, expected);
      assert.ok(expected[0].length >= 8);
    }
    model.ops.engine.dispose();
    await golden.file.close();
  });
}

test(`at most ${100 * PARITY_STRICT_SHARE} % of all tensors have over twice PyTorch's own error`, () => {
  const summaries = reports.map((report) => summarize(report));
  const rated = summaries.reduce((sum, summary) => sum + summary.rated, 0);
  const over = summaries.flatMap(({ overStrict }, i) =>
    overStrict.map(({ name, ratio }) => `${reports[i].golden}: ${name} ${ratio}`),
  );
  assert.ok(rated > 500, `${rated} tensors have a float64 twin`);
  assert.ok(over.length <= PARITY_STRICT_SHARE * rated, `${over.length} of ${rated}:\n${over.join('\n')}`);
});

test.run();
