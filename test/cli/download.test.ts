import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { progressText } from '../../src/cli/download-progress.js';
import { TestHub } from '../hub/server.js';
import { scratch, shapesFiles } from '../hub/support.js';
import { runCli } from '../support/cli.js';

const NAME = 'test-org/smolvlm-shapes';
const test = suite('smolvlm download');
const hub = await new TestHub().start();
const files = shapesFiles();
const commit = hub.add(NAME, { ...files, 'onnx/model.onnx': new Uint8Array(10) });
test.before.each(() => hub.reset());
test.after(() => hub.stop());

test('prints the snapshot’s folder, from which describe, info and quantize work by name, offline', async () => {
  const cache = scratch();
  const args = ['download', NAME, '--endpoint', hub.url, '--cache-dir', cache];
  const first = await runCli(args);
  const folder = join(cache, 'models--test-org--smolvlm-shapes/snapshots', commit);
  assert.equal(first, { code: 0, signal: null, stdout: `${folder}\n`, stderr: '' });
  for (const name of Object.keys(files)) assert.ok(existsSync(join(folder, name)), name);
  assert.not.ok(existsSync(join(folder, 'onnx')));
  process.env.HF_HUB_CACHE = cache;
  process.env.HF_HUB_OFFLINE = '1';
  try {
    const image = 'examples/pictures/shapes-on-checks.jpg';
    const byName = await runCli(['describe', image, '--model', NAME, '-n', '8']);
    const byFolder = await runCli(['describe', image, '-n', '8']);
    assert.equal(byName, byFolder);
    assert.is(byName.code, 0);
    const info = await runCli(['info', NAME, '--json']);
    assert.is(JSON.parse(info.stdout).folder, NAME);
    const quantized = await runCli(['quantize', NAME, join(scratch(), 'int8'), '--dtype', 'int8']);
    assert.is(quantized.code, 0, quantized.stderr);
    assert.is((await runCli(['download', NAME])).stdout, `${folder}\n`);
  } finally {
    delete process.env.HF_HUB_CACHE;
    delete process.env.HF_HUB_OFFLINE;
  }
});

test('describe and chat fetch a model by name, all of its files with the same --endpoint, --cache-dir and --revision', async () => {
  const image = 'examples/pictures/shapes-on-checks.jpg';
  const known = await runCli(['describe', image, '-n', '8']);
  const cache = scratch();
  const where = ['--model', NAME, '--endpoint', hub.url, '--cache-dir', cache, '--revision', commit];
  const described = await runCli(['describe', image, '-n', '8', ...where]);
  assert.equal(described, known);
  assert.ok(hub.requests('hub', '/resolve/').every((request) => request.path.includes(commit)));
  const fetched = hub.requests('hub', '/resolve/').length;
  assert.ok(fetched > 3, `${fetched} files were fetched`);
  const chatted = await runCli(['chat', image, '-n', '8', ...where, '--offline'], {
    input: 'Describe this image.\n',
  });
  assert.is(chatted.stdout, known.stdout);
  assert.is(chatted.code, 0);
  assert.is(hub.requests('hub', '/resolve/').length, fetched);
});

test('--dry-run lists and fetches nothing; --json is an object; --include chooses', async () => {
  const cache = scratch();
  const args = ['download', NAME, '--endpoint', hub.url, '--cache-dir', cache, '--include', '*.jso?'];
  const dry = await runCli([...args, '--dry-run']);
  assert.match(dry.stdout, /^ +[\d.]+ MB {2}fetch {3}config\.json$/m);
  const count = Object.keys(files).filter((name) => name.endsWith('.json')).length;
  assert.match(
    dry.stdout,
    new RegExp(`^commit ${commit}: ${count} of ${count} files to fetch, [\\d.]+ MB$`, 'm'),
  );
  assert.is(hub.requests('hub', '/resolve/').length, 0);
  const { stdout } = await runCli([...args, '--json', '--quiet']);
  const snapshot = JSON.parse(stdout);
  assert.equal([snapshot.name, snapshot.commit, snapshot.files.length], [NAME, commit, count]);
});

test('errors are one line that says what to do: exit code 1; wrong usage 2; --help has examples', async () => {
  const args = ['--endpoint', hub.url, '--cache-dir', scratch()];
  const none = await runCli(['download', 'test-org/none', ...args]);
  assert.equal([none.code, none.stdout], [1, '']);
  assert.match(none.stderr, /^smolvlm download: HubError: the hub has no such repository .*HF_TOKEN.*\n$/);
  const revision = await runCli(['download', NAME, '--revision', 'v9', ...args]);
  assert.match(revision.stderr, /no such revision .*tree\/main lists them/);
  const noName = await runCli(['download', './folder', ...args]);
  assert.match(noName.stderr, /InputError: no name of a repository \(\.\/folder\): expected org\/name/);
  for (const wrong of [['download'], ['download', 'a/b', 'c/d'], ['download', 'a/b', '--nonsense']]) {
    const { code, stderr } = await runCli(wrong);
    assert.is(code, 2);
    assert.match(stderr, "Try 'smolvlm download --help'");
  }
  const { code, stdout } = await runCli(['download', '--help']);
  assert.is(code, 0);
  assert.match(stdout, /Examples:\n {2}smolvlm download HuggingFaceTB\/SmolVLM-256M-Instruct\n/);
});

test('the line of progress: bytes, percent, rate and the time that is left', () => {
  assert.is(progressText(12_300_000, 513_000_000, undefined), '12.3 MB of 513 MB (2 %)');
  assert.is(
    progressText(12_300_000, 513_000_000, 8.1e6),
    '12.3 MB of 513 MB (2 %), 8.10 MB/s, 1 min 2 s left',
  );
  assert.is(progressText(500e6, 513e6, 13e6), '500 MB of 513 MB (97 %), 13.0 MB/s, 1.0 s left');
  assert.is(progressText(0, 4.5e9, 1e5), '0.00 MB of 4500 MB (0 %), 0.10 MB/s, 12 h 30 min left');
});

test.run();
