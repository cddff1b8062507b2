import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/cli/arguments.js';
import { describeCommand } from '../../src/cli/describe.js';
import { csv } from '../../src/cli/results/csv.js';
import { jsonl } from '../../src/cli/results/jsonl.js';
import { runCli } from '../support/cli.js';
import { demoFolder, demoSamples } from '../support/demo.js';
import { temporaryFolder } from '../support/folder.js';
import { root, shapes } from '../support/paths.js';

/** Nine pictures that were asked the same question. */
const question = 'List the shapes from left to right.';
const samples = demoSamples.filter((sample) => sample.question === question);
const COUNT = samples.length;
const videos = join(root, 'test/fixtures/video');

/** A folder with those pictures under names that sort as the samples do, and a sub-folder with the last three. */
function pictures(): string {
  const folder = temporaryFolder({ 'notes.txt': 'no picture', 'scan.tiff': 'II*\0' });
  mkdirSync(join(folder, 'more'));
  for (const [i, { file }] of samples.entries()) {
    const name = i < 6 ? `p${i}.jpg` : `more/q${i}.jpg`;
    copyFileSync(join(demoFolder, file), join(folder, name));
  }
  return folder;
}

const lines = (text: string) => text.split('\n').filter((line) => line !== '');
const answersOf = (records: { text?: string }[]) => records.map(({ text }) => text);
const expectedAnswers = samples.map(({ answer }) => answer.trim());

test('a folder is described in natural order, each answer behind its file’s name; others are counted on stderr', async () => {
  const folder = pictures();
  const { code, stdout, stderr } = await runCli(['describe', folder, '--prompt', question]);
  assert.is(stderr, 'smolvlm describe: left out 2 files of other kinds\n');
  const expected = expectedAnswers.slice(0, 6).map((answer, i) => `${join(folder, `p${i}.jpg`)}: ${answer}`);
  assert.equal(lines(stdout), expected);
  assert.is(code, 0);
});

test('--json writes a record for each picture, with --recursive, quoted globs and a file named twice once', async () => {
  const folder = pictures();
  const args = ['describe', join(folder, 'p0.jpg'), join(folder, 'p*.jpg'), folder, '--recursive', '--json'];
  const { code, stdout, stderr } = await runCli([...args, '--prompt', question, '--quiet']);
  assert.is(stderr, '');
  assert.is(code, 0);
  const records = lines(stdout).map((line) => JSON.parse(line));
  assert.is(records.length, COUNT);
  // The folder’s own pictures came first by the glob.
  assert.equal(answersOf(records), expectedAnswers);
  for (const record of records) {
    assert.is(record.finish_reason, 'stop');
    assert.is(record.model, 'smolvlm-shapes');
    assert.is(record.prompt, question);
    assert.is(record.usage.total_tokens, record.usage.prompt_tokens + record.usage.completion_tokens);
    assert.is(record.usage.tiles, 1);
    assert.ok(record.timings.total_ms >= record.timings.first_token_ms);
    assert.not('error' in record);
  }
});

test('--json with one picture is one object', async () => {
  const { stdout } = await runCli(['describe', join(demoFolder, samples[0].file), '--json', '-p', question]);
  assert.is(JSON.parse(stdout).text, expectedAnswers[0]);
});

test('--format csv writes CSV on the standard output', async () => {
  const { stdout } = await runCli([
    ...['describe', join(demoFolder, samples[0].file), join(demoFolder, samples[1].file)],
    ...['--format', 'csv', '--prompt', question],
  ]);
  const { entries, whole } = csv.read(stdout, 'stdout');
  assert.is(whole, stdout.length);
  assert.equal(answersOf(entries.map(({ record }) => record)), expectedAnswers.slice(0, 2));
});

for (const format of ['jsonl', 'csv'] as const) {
  test(`--output results.${format} has the failures too; a later run tries them again and leaves the rest alone`, async () => {
    const folder = pictures();
    const output = join(folder, `results.${format}`);
    const bad = join(folder, 'p3.jpg');
    const good = readFileSync(bad);
    writeFileSync(bad, good.subarray(0, 300));
    const args = ['describe', folder, join(folder, 'gone.jpg'), '-o', output, '-p', question, '-r'];
    const first = await runCli(args);
    assert.is(first.code, 1);
    assert.is(first.stdout, '');
    assert.match(first.stderr, /p3\.jpg: ImageError: /);
    assert.match(
      first.stderr,
      /gone\.jpg: InputError: the picture cannot be read .*expected a file, got ENOENT/,
    );
    assert.match(first.stderr, /results\.(jsonl|csv): 8 pictures described, 2 failed\n$/);
    const read = () => (format === 'csv' ? csv : jsonl).read(readFileSync(output, 'utf8'), output).entries;
    const before = read();
    assert.is(before.length, COUNT + 1);
    assert.equal(
      before.filter(({ record }) => record.error !== undefined).map(({ record }) => record.path),
      [bad, join(folder, 'gone.jpg')],
    );

    writeFileSync(bad, good);
    const second = await runCli(args);
    assert.match(second.stderr, /: 1 picture described, 8 there already, 1 failed\n$/);
    const after = read();
    assert.is(after.length, COUNT + 1);
    assert.is(new Set(after.map(({ record }) => record.path)).size, COUNT + 1);
    // What was there keeps its times.
    for (const { record, source } of before) {
      if (record.error === undefined) assert.ok(after.some((entry) => entry.source === source));
    }
    const third = await runCli(args.filter((arg) => !arg.endsWith('gone.jpg')));
    assert.is(third.code, 0);
    assert.match(third.stderr, /: 0 pictures described, 9 there already\n$/);
    const texts = new Map(after.map(({ record }) => [record.path, record.text]));
    for (const [i, answer] of expectedAnswers.entries()) {
      assert.is(texts.get(join(folder, i < 6 ? `p${i}.jpg` : `more/q${i}.jpg`)), answer);
    }
  });
}

test('killed with SIGKILL in the middle several times, runs end in one whole record of each picture', async () => {
  const folder = pictures();
  for (const format of ['jsonl', 'csv'] as const) {
    const output = join(folder, `killed.${format}`);
    const args = ['describe', folder, '--recursive', '--output', output, '--prompt', question, '--quiet'];
    let killed = 0;
    for (let run = 0; run < 4; run++) {
      const { signal } = await runCli(args, {
        onStart: (kill) => {
          // As soon as the file has grown by a record or two: in the middle of the next one.
          const size = () => sizeOf(output);
          const before = size();
          const timer = setInterval(() => {
            if (size() <= before + 400) return;
            clearInterval(timer);
            kill('SIGKILL');
          }, 2);
          timer.unref();
        },
      });
      if (signal === 'SIGKILL') killed++;
      // What a machine that loses its power may leave: the last record in part.
      const text = readFileSync(output);
      writeFileSync(output, text.subarray(0, text.length - 11));
    }
    assert.ok(killed >= 2, `${killed} of 4 runs were killed before their end`);
    const { code } = await runCli(args);
    assert.is(code, 0);
    const text = readFileSync(output, 'utf8');
    const { entries, whole } = (format === 'csv' ? csv : jsonl).read(text, output);
    assert.is(whole, text.length);
    assert.is(entries.length, COUNT);
    const byPath = new Map(entries.map(({ record }) => [record.path, record.text]));
    assert.is(byPath.size, COUNT);
    const paths = samples.map((_, i) => join(folder, i < 6 ? `p${i}.jpg` : `more/q${i}.jpg`));
    assert.equal(
      paths.map((path) => byPath.get(path)),
      expectedAnswers,
    );
  }
});

function sizeOf(path: string): number {
  try {
    return readFileSync(path).length;
  } catch {
    return 0;
  }
}

test('Ctrl-C drops the record under way: what is written is whole, exit code 130, and the next run goes on', async () => {
  const folder = pictures();
  const output = join(folder, 'interrupted.jsonl');
  const args = ['describe', folder, '--recursive', '--output', output, '--prompt', question];
  const { code, stderr } = await runCli(args, {
    onStart: (kill) => {
      const timer = setInterval(() => {
        if (sizeOf(output) === 0) return;
        clearInterval(timer);
        kill('SIGINT');
      }, 2);
      timer.unref();
    },
  });
  assert.is(code, 130);
  assert.match(stderr, /described, interrupted; the same command goes on\n$/);
  const text = readFileSync(output, 'utf8');
  const { entries, whole } = jsonl.read(text, output);
  assert.is(whole, text.length);
  assert.ok(entries.length >= 1 && entries.length < COUNT, `${entries.length}`);
  const next = await runCli(args);
  assert.is(next.code, 0);
  assert.match(
    next.stderr,
    new RegExp(`: ${COUNT - entries.length} pictures? described, ${entries.length} there`),
  );
});

test('a second Ctrl-C ends at once', async () => {
  const noise = ['--temperature', '40', '--top-k', '0', '--seed', '1', '-n', '4000'];
  let sent = 0;
  const { code, signal } = await runCli(['describe', folderOfNoise(), ...noise], {
    onOutput: (_, kill) => {
      if (sent++ > 0) return;
      kill('SIGINT');
      kill('SIGINT');
      setTimeout(() => kill('SIGINT'), 1).unref();
    },
  });
  assert.is(signal, null);
  assert.is(code, 130);
});

function folderOfNoise(): string {
  const folder = temporaryFolder();
  for (let i = 0; i < 30; i++) copyFileSync(join(demoFolder, samples[0].file), join(folder, `${i}.jpg`));
  return folder;
}

test('a reader that has seen enough ends the run: the last picture, which is missing, is never come to', async () => {
  const files = samples.map(({ file }) => join(demoFolder, file));
  const { code, stderr } = await runCli(['describe', ...files, 'gone.jpg', '--prompt', question], {
    onOutput: (_, __, close) => close(),
  });
  assert.is(stderr, '');
  assert.is(code, 0);
});

test('pictures by URL: what is served is described, what is not is an error of its own', async () => {
  const server = createServer((request, response) => {
    const sample = samples.find(({ file }) => request.url === `/${file}`);
    if (sample) response.end(readFileSync(join(demoFolder, sample.file)));
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    const args = ['describe', `${base}/${samples[1].file}`, `${base}/gone.jpg`, '--json', '-p', question];
    const { code, stdout, stderr } = await runCli(args);
    assert.is(code, 1);
    const [good, bad] = lines(stdout).map((line) => JSON.parse(line));
    assert.is(good.text, expectedAnswers[1]);
    assert.is(bad.path, `${base}/gone.jpg`);
    assert.match(bad.error, /^InputError: .*expected status 200, got status 404$/);
    assert.match(stderr, /gone\.jpg: InputError: /);
  } finally {
    server.close();
  }
});

test('--video takes files and folders of frames; --num-frames and --fps choose among the frames', async () => {
  const gif = join(videos, 'plain.gif');
  const tiles = async (...more: string[]) => {
    const { code, stdout, stderr } = await runCli(['describe', '--json', '-n', '3', ...more]);
    assert.is(stderr, '');
    assert.is(code, 0);
    return lines(stdout).map((line) => JSON.parse(line));
  };
  const [whole] = await tiles('--video', gif);
  assert.is(whole.prompt, 'Describe this video.');
  const frames = whole.usage.tiles;
  assert.ok(frames >= 3, `${frames}`);
  const [two] = await tiles(gif, '--num-frames', '2');
  assert.is(two.usage.tiles, 2);
  assert.is(two.path, gif);
  const folder = temporaryFolder();
  for (let i = 0; i < 4; i++) copyFileSync(join(demoFolder, samples[i].file), join(folder, `${i}.jpg`));
  const both = await tiles(join(demoFolder, samples[0].file), '--video', folder);
  assert.equal(
    both.map(({ usage }) => usage.tiles),
    [1, 4],
  );
});

test('--system goes before the question and into the record; sampling with --seed is the same in each run', async () => {
  const file = join(demoFolder, samples[0].file);
  const run = async (...more: string[]) => {
    const { stdout } = await runCli(['describe', file, '--json', '-n', '12', ...more]);
    return JSON.parse(stdout);
  };
  const [plain, told] = [await run(), await run('--system', 'Be kind.')];
  assert.ok(told.usage.prompt_tokens > plain.usage.prompt_tokens);
  assert.is(told.system, 'Be kind.');
  const hot = ['--temperature', '20', '--top-k', '0'];
  const [one, again, other] = [
    await run(...hot, '--seed', '5'),
    await run(...hot, '--seed', '5'),
    await run(...hot, '--seed', '6'),
  ];
  assert.is(one.text, again.text);
  assert.is.not(one.text, other.text);
  assert.is.not(one.text, plain.text);
  assert.is((await run('--temperature', '0')).text, plain.text);
});

test('wrong calls exit 2 with the option, what was expected and what is near', async () => {
  const cases: [string[], RegExp][] = [
    [['--zzz'], /^Unknown option '--zzz'$/],
    [['--dtype', 'int9'], /--dtype: expected auto, float32, .*, got 'int9'; did you mean int8\?/],
    [
      ['--kv-cache-dtype', 'int3'],
      /--kv-cache-dtype: expected float32, bfloat16, int8, got 'int3'; did you mean int8\?/,
    ],
    [['--temperature', '-1'], /argument is ambiguous/],
    [['--temperature=-1'], /--temperature: expected a number of 0 or more, got '-1'/],
    [['--top-p', '1.5'], /--top-p: expected a number above 0, at most 1, got '1\.5'/],
    [['--top-k', 'x'], /--top-k: expected an integer of at least 0, got 'x'/],
    [['--seed', '1.5'], /--seed: expected an integer of at least 0, got '1\.5'/],
    [['--fps', '0'], /--fps: expected a number above 0, got '0'/],
    [['--num-frames', '0'], /--num-frames: expected an integer of at least 1, got '0'/],
    [
      ['--output', 'x.txt'],
      /--output: expected a name that ends in \.jsonl or \.csv, or --format, got 'x\.txt'/,
    ],
    [['--output', ''], /--output: expected a file, got nothing/],
    [['--format', 'cvs'], /--format: expected jsonl, csv, got 'cvs'; did you mean csv\?/],
    [['--json', '--format', 'csv'], /--json and --format csv: expected one of them/],
    [['--force'], /--force: expected --output with it/],
  ];
  for (const [args, message] of cases) {
    try {
      await describeCommand(['a.png', ...args]);
      assert.unreachable(args.join(' '));
    } catch (error) {
      assert.instance(error, UsageError, args.join(' '));
      assert.match((error as Error).message, message);
    }
  }
  const wrong = await runCli(['describe', 'a.png', '--modle', 'x']);
  assert.is(wrong.code, 2);
  assert.is(wrong.stdout, '');
  assert.is(
    wrong.stderr,
    "smolvlm describe: Unknown option '--modle'; did you mean --model?\nTry 'smolvlm describe --help'.\n",
  );
  const { code, stderr } = await runCli(['descirbe']);
  assert.is(code, 2);
  assert.is(stderr, "smolvlm: there is no command 'descirbe'; did you mean describe?\n");
});

test('a folder without pictures, a glob without matches and a model that is nearly called so are told in a line', async () => {
  const folder = temporaryFolder({ 'a.txt': '' });
  const empty = await runCli(['describe', folder, join(folder, '*.png')]);
  assert.is(empty.code, 1);
  assert.is(
    empty.stderr,
    `smolvlm describe: ${folder}: no JPEG or PNG file in this folder, 1 file of other kinds (--recursive looks into its folders)\n` +
      `smolvlm describe: ${join(folder, '*.png')}: no JPEG or PNG file matches\n` +
      'smolvlm describe: left out 1 file of other kinds\n',
  );
  const near = await runCli([
    'describe',
    join(demoFolder, samples[0].file),
    '--model',
    `${shapes.slice(0, -1)}`,
  ]);
  assert.is(near.code, 1);
  assert.match(near.stderr, /^smolvlm describe: CheckpointError: .* did you mean .*smolvlm-shapes\?\n$/);
});

test('an answer cut off by --max-new-tokens says finish_reason length', async () => {
  const { stdout } = await runCli(['describe', join(demoFolder, samples[0].file), '--json', '-n', '2']);
  const { finish_reason, usage } = JSON.parse(stdout);
  assert.is(finish_reason, 'length');
  assert.is(usage.completion_tokens, 2);
});

test.run();
