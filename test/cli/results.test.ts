import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { csv } from '../../src/cli/results/csv.js';
import { jsonl } from '../../src/cli/results/jsonl.js';
import type { ResultRecord } from '../../src/cli/results/record.js';
import { ResultsFile } from '../../src/cli/results/results-file.js';
import { InputError } from '../../src/errors.js';
import { temporaryFolder } from '../support/folder.js';

const folder = temporaryFolder();
const FORMATS = [jsonl, csv];
const texts = [
  'plain',
  'with, comma',
  'a "quote"',
  'two\nlines',
  'CR\r\nLF',
  '写真 👩‍👩‍👧',
  ' blanks ',
  '',
  '"',
];

const asked = (path: string, prompt = 'What?'): ResultRecord => ({ path, model: 'm', prompt });

const answered = (path: string, text: string): ResultRecord => ({
  path,
  text,
  finish_reason: 'stop',
  usage: {
    prompt_tokens: 30,
    cached_tokens: 5,
    completion_tokens: 15,
    total_tokens: 45,
    tiles: 1,
    tiles_encoded: 1,
  },
  timings: { processing_ms: 1.5, first_token_ms: 2, total_ms: 3.25, tokens_per_second: 100 },
  model: 'm',
  prompt: 'What?',
});

const records = texts.map((text, i) => answered(`${text.slice(0, 3)}${i}.png`, text));
const failed = { ...asked('bad.png'), error: 'ImageError: "no", it is none\nat all' };

test('CSV is RFC 4180: a header, CRLF, quotes around commas, quotes and line breaks, quotes doubled', () => {
  assert.is(
    csv.head,
    'path,text,finish_reason,prompt_tokens,cached_tokens,completion_tokens,total_tokens,tiles,tiles_encoded,processing_ms,first_token_ms,total_ms,tokens_per_second,model,prompt,system,error\r\n',
  );
  assert.is(
    csv.write({ ...answered('a,b.png', 'says "hi"\nand more'), system: 'Be kind.' }),
    '"a,b.png","says ""hi""\nand more",stop,30,5,15,45,1,1,1.5,2,3.25,100,m,What?,Be kind.,\r\n',
  );
});

for (const format of FORMATS) {
  const whole = format.head + [...records, failed].map((record) => format.write(record)).join('');

  test(`${format.name}: what is written is read again, text for text`, () => {
    const { entries, whole: length } = format.read(whole, 'file');
    assert.is(length, whole.length);
    assert.is(format.head + entries.map(({ source }) => source).join(''), whole);
    const read = entries.map(({ record }) => [
      record.path,
      record.text,
      record.model,
      record.prompt,
      record.error,
    ]);
    const written = [...records, failed].map(({ path, text, model, prompt, error }: ResultRecord) => [
      path,
      text,
      model,
      prompt,
      error,
    ]);
    assert.equal(read, written);
  });

  test(`${format.name}: cut off at any character, the records before the cut are read and no other`, () => {
    for (let cut = 0; cut <= whole.length; cut++) {
      const { entries, whole: length } = format.read(whole.slice(0, cut), 'file');
      assert.ok(length <= cut);
      const expected = format.head + entries.map(({ source }) => source).join('');
      assert.is(length, length === 0 ? 0 : expected.length, `${cut}`);
      assert.ok(whole.startsWith(expected));
      // Nothing whole is given up.
      const next = [...records, failed][entries.length];
      if (next && length > 0) assert.ok(cut < length + format.write(next).length, `${cut}`);
    }
  });

  test(`${format.name}: a run goes on behind what is there, whatever byte the last one was cut off at`, async () => {
    const path = join(folder, `cut.${format.name}`);
    const bytes = Buffer.from(whole);
    const all = [...records, failed].map(({ path }) => asked(path));
    for (let cut = 0; cut <= bytes.length; cut += 7) {
      writeFileSync(path, bytes.subarray(0, cut));
      const file = await ResultsFile.open(path, all, { format });
      for (const record of records) if (!file.has(record)) await file.add(record);
      assert.not.ok(file.has(failed));
      await file.add(failed);
      await file.close();
      assert.is(readFileSync(path, 'utf8'), whole, `${cut}`);
    }
  });

  test(`${format.name}: failures are taken out where they are tried again, and stay where they are not`, async () => {
    const path = join(folder, `failed.${format.name}`);
    const other = { ...failed, path: 'other.png' };
    writeFileSync(
      path,
      format.head + [failed, records[0], other].map((record) => format.write(record)).join(''),
    );
    const file = await ResultsFile.open(path, [asked('bad.png'), asked(records[0].path)], { format });
    assert.equal(
      [failed, records[0], other].map((record) => file.has(record)),
      [false, true, false],
    );
    await file.add(answered('bad.png', 'good after all'));
    await file.close();
    const kept = [records[0], other, answered('bad.png', 'good after all')];
    assert.is(readFileSync(path, 'utf8'), format.head + kept.map((record) => format.write(record)).join(''));
    assert.equal(
      readdirSync(folder).filter((name) => name.endsWith('.tmp')),
      [],
    );
  });

  test(`${format.name}: another question, model or system text is another record; --force begins anew`, async () => {
    const path = join(folder, `key.${format.name}`);
    writeFileSync(path, format.head + format.write(records[0]));
    const file = await ResultsFile.open(path, [], { format });
    assert.ok(file.has(records[0]));
    for (const change of [{ prompt: 'Why?' }, { model: 'n' }, { system: 's' }, { path: 'p' }]) {
      assert.not.ok(file.has({ ...records[0], ...change }), JSON.stringify(change));
    }
    await file.close();
    const anew = await ResultsFile.open(path, [], { format, force: true });
    assert.not.ok(anew.has(records[0]));
    await anew.close();
    assert.is(readFileSync(path, 'utf8'), format.head);
  });

  test(`${format.name}: a file that holds something else is refused with its line and left as it was`, async () => {
    const path = join(folder, `foreign.${format.name}`);
    const good = format.head + format.write(records[0]);
    const cases: [string, number][] = [
      ['a,b,c\n1,2,3\n', 1],
      ['{"name":"x"}\n', 1],
      [`${good}x,y\n`, format === csv ? 3 : 2],
    ];
    for (const [content, line] of cases) {
      writeFileSync(path, content);
      try {
        await ResultsFile.open(path, [], { format });
        assert.unreachable(content);
      } catch (error) {
        assert.instance(error, InputError);
        const { what, where, expected, got } = error as InputError;
        assert.is(what, 'no file of results, which are added to');
        assert.is(where, `${path}, line ${line}`);
        assert.match(expected!, format === jsonl ? /JSON object/ : /path,text|17 columns/);
        assert.ok(got);
      }
      assert.is(readFileSync(path, 'utf8'), content);
    }
  });
}

test('a file that cannot be written is an InputError with the system’s code', async () => {
  for (const [path, got] of [
    [join(folder, 'no-folder', 'x.csv'), 'ENOENT'],
    [folder, 'EISDIR'],
  ]) {
    try {
      await ResultsFile.open(path, [], { format: csv });
      assert.unreachable(path);
    } catch (error) {
      assert.instance(error, InputError);
      const { what, where, expected } = error as InputError;
      assert.is(what, 'results cannot be written');
      assert.is(where, path);
      assert.is(expected, 'a file that can be written');
      assert.is((error as InputError).got, got);
    }
  }
});

test('each record is in the file before add() is done', async () => {
  const path = join(folder, 'steps.jsonl');
  const file = await ResultsFile.open(path, [], { format: jsonl });
  let size = 0;
  for (const record of records) {
    await file.add(record);
    size += Buffer.byteLength(jsonl.write(record));
    assert.is(statSync(path).size, size);
  }
  await file.close();
});

test.run();
