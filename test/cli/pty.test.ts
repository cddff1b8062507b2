import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test as plain } from 'uvu';
import * as assert from 'uvu/assert';
import { stringWidth } from '../../src/cli/text-width.js';
import { runCli } from '../support/cli.js';
import { demoFolder, demoSamples } from '../support/demo.js';
import { temporaryFolder } from '../support/folder.js';
import { hasPty, Pty, type PtyOptions } from '../support/pty.js';

/** In a real terminal; skipped by name where none can be made. */
function test(title: string, body: () => Promise<void>): void {
  if (hasPty) plain(title, body);
  else {
    console.log(`SKIP ${title} (needs python3 with its pty module)`);
    plain.skip(title, body);
  }
}

const [{ file, question, answer }, second] = demoSamples;
const picture = join(demoFolder, file);
const PROMPT = /⎋\[36m>⎋\[39m ⎋\[\d+G/;
/** The first words of an answer, where progress was erased. */
const ANSWER = /⎋\[2K[^⎋]{20}/;
/** Answers of many words that mean nothing, and take a second or more. */
const NOISE = ['--temperature', '60', '--top-k', '0', '--seed', '3', '-n', '900'];

function chat(args: readonly string[], options: PtyOptions = {}): Pty {
  return new Pty(['chat', ...args], {
    ...options,
    env: { XDG_STATE_HOME: temporaryFolder(), ...options.env },
  });
}

function pictures(count: number): string {
  const folder = temporaryFolder();
  for (const [i, sample] of demoSamples.slice(0, count).entries()) {
    copyFileSync(
      join(demoFolder, sample.file),
      join(folder, `a picture with quite a long name, number ${i}.jpg`),
    );
  }
  return folder;
}

test('help has colours on a terminal, and none with NO_COLOR, TERM=dumb or in a pipe', async () => {
  const help = async (env: Record<string, string>) => {
    const pty = new Pty(['describe', '--help'], { env });
    assert.is(await pty.exit(), 0);
    return pty.raw;
  };
  assert.match(await help({}), /⎋\[1mUsage:⎋\[22m/);
  for (const env of [{ NO_COLOR: '1' }, { TERM: 'dumb' }, { FORCE_COLOR: '0' }] as Record<string, string>[]) {
    assert.not.match(await help(env), /⎋/);
  }
  const piped = (env: Record<string, string | undefined>) => runCli(['describe', '--help'], { env });
  const neither = { NO_COLOR: undefined, FORCE_COLOR: undefined };
  assert.not.ok((await piped(neither)).stdout.includes('\u001b'));
  assert.ok((await piped({ ...neither, FORCE_COLOR: '1' })).stdout.includes('\u001b[1mUsage:'));
});

for (const columns of [40, 120]) {
  test(`in ${columns} columns no line of any command’s help is wider, but for the examples`, async () => {
    for (const command of [[], ['describe'], ['chat'], ['info'], ['quantize'], ['parity']]) {
      const pty = new Pty([...command, '--help'], { columns });
      assert.is(await pty.exit(), 0);
      const [text] = pty.text.replaceAll('\r\n', '\n').split(/^Examples?:$/m);
      assert.ok(text.length > 200, text);
      for (const line of text.split('\n')) assert.ok(stringWidth(line) <= columns, line);
    }
  });

  test(`in ${columns} columns progress keeps to a line, says n of m, and leaves the answers alone`, async () => {
    const folder = pictures(6);
    const pty = new Pty(['describe', folder, '--output', join(folder, 'out.jsonl')], { columns });
    assert.is(await pty.exit(), 0);
    const drawn = pty.raw.split('\r⎋[2K').map((part) => part.split('\r\n')[0].replace(/⎋\[\d+m/g, ''));
    const progress = drawn.filter((line) => / of 6 · /.test(line));
    assert.ok(progress.length >= 6, `${progress.length} lines of progress`);
    for (const line of drawn.slice(0, -1)) assert.ok(stringWidth(line) < columns, line);
    assert.ok(
      progress.some((line) => /^6 of 6 · .*(processing|encoding|prefill|decoding)/.test(line)),
      drawn.join('\n'),
    );
    assert.ok(
      progress.some((line) => / left$/.test(line)),
      drawn.join('\n'),
    );
    // Every line of progress is erased; what remains is the summary.
    assert.match(pty.raw, /\r⎋\[2Ksmolvlm describe: .*: 6 pictures described\r\n$/s);
  });
}

test('the same run in a pipe shows no progress', async () => {
  const folder = pictures(2);
  const { stderr, stdout } = await runCli(['describe', folder, '--output', join(folder, 'out.jsonl')]);
  assert.is(stderr, `smolvlm describe: ${join(folder, 'out.jsonl')}: 2 pictures described\n`);
  assert.is(stdout, '');
});

test('Ctrl-C in describe ends with 130, whole records, and nothing behind on the line', async () => {
  const folder = pictures(40);
  const output = join(folder, 'out.jsonl');
  const pty = new Pty(['describe', folder, '--output', output]);
  await pty.waitFor(/3 of 40/);
  pty.type('\x03');
  assert.is(await pty.exit(), 130);
  assert.match(pty.raw, /\r⎋\[2Ksmolvlm describe: .* described, interrupted; the same command goes on\r\n$/s);
  const text = readFileSync(output, 'utf8');
  assert.ok(text.endsWith('\n'));
  for (const line of text.trim().split('\n')) assert.type(JSON.parse(line).text, 'string');
});

test('chat: prompts, answers, pictures, Ctrl-D', async () => {
  const pty = chat([]);
  await pty.waitFor(/smolvlm-shapes.*Ctrl-D to leave/);
  await pty.waitFor(PROMPT);
  pty.type(`/image ${picture}\r`);
  await pty.waitFor(/goes with the next question/);
  await pty.waitFor(/\(1 picture\) /);
  pty.type(`${question}\r`);
  await pty.waitFor(new RegExp(`${answer.trim()}\r\n`));
  await pty.waitFor(PROMPT);
  pty.type('\x04');
  assert.is(await pty.exit(), 0);
});

test('chat: Ctrl-C during an answer stops it and not the program; at the prompt the second one leaves', async () => {
  const pty = chat([picture, ...NOISE]);
  await pty.waitFor(PROMPT);
  pty.type('Tell me everything.\r');
  await pty.waitFor(ANSWER);
  pty.type('\x03');
  await pty.waitFor(/\^C[^⎋]{0,80}\r\n⎋\[2mstopped; what was said is kept/);
  await pty.waitFor(PROMPT);
  pty.type('/history\r');
  await pty.waitFor(/You:.*Tell me everything\.(.|\s)*SmolVLM:/);
  await pty.waitFor(PROMPT);
  pty.type('half a line\x03');
  await pty.waitFor(PROMPT);
  pty.type('\x03');
  await pty.waitFor(/Ctrl-C again, Ctrl-D or \/quit leaves/);
  await pty.waitFor(PROMPT);
  pty.type('\x03');
  assert.is(await pty.exit(), 0);
});

test('chat: what is typed during an answer is the next line', async () => {
  const pty = chat([picture, ...NOISE]);
  await pty.waitFor(PROMPT);
  pty.type('Tell me everything.\r');
  await pty.waitFor(ANSWER);
  pty.type('/usage\r');
  await pty.waitFor(/whole answer .* tokens a second\r\n/);
  pty.type('/quit\r');
  assert.is(await pty.exit(), 0);
});

test('chat: pasted lines are one question, and the terminal is asked to mark them only at the prompt', async () => {
  const pty = chat([]);
  await pty.waitFor(/⎋\[\?2004h/);
  await pty.waitFor(PROMPT);
  pty.type('\x1b[200~first line\nsecond line\x1b[201~');
  await pty.waitFor(/second line/);
  pty.type('\r');
  await pty.waitFor(/⎋\[\?2004l/);
  await pty.waitFor(PROMPT);
  pty.type('/history\r');
  await pty.waitFor(/first line\r\n {5}second line/);
  pty.type('/quit\r');
  assert.is(await pty.exit(), 0);
  assert.is(pty.raw.lastIndexOf('⎋[?2004l') > pty.raw.lastIndexOf('⎋[?2004h'), true);
});

test('chat: lines are kept over runs, unless --no-history', async () => {
  const env = { XDG_STATE_HOME: temporaryFolder() };
  const kept = join(env.XDG_STATE_HOME, 'smolvlm/chat-history');
  const quiet = chat(['--no-history'], { env });
  await quiet.waitFor(PROMPT);
  quiet.type('/usage\r');
  await quiet.waitFor(/there is no whole answer yet/);
  quiet.type('\x04');
  await quiet.exit();
  assert.not.ok(existsSync(kept));
  const first = chat([], { env });
  await first.waitFor(PROMPT);
  first.type('/usage\r');
  await first.waitFor(/there is no whole answer yet/);
  first.type('\x04');
  await first.exit();
  assert.is(readFileSync(kept, 'utf8'), '/usage\n');
  const later = chat([], { env });
  await later.waitFor(PROMPT);
  later.type('\x1b[A');
  await later.waitFor(/\/usage/);
  later.type('\r');
  await later.waitFor(/there is no whole answer yet/);
  later.type('\x04');
  assert.is(await later.exit(), 0);
});

test('chat: Tab completes commands and paths', async () => {
  const pty = chat([], { cwd: demoFolder });
  await pty.waitFor(PROMPT);
  pty.type('/im\t');
  await pty.waitFor(/\/image /);
  pty.type('002\t');
  await pty.waitFor(/002\.jpg/);
  pty.type('\r');
  await pty.waitFor(/002\.jpg goes with the next question/);
  pty.type('\x04');
  assert.is(await pty.exit(), 0);
});

test('chat: answers into a pipe while somebody types: the prompts stay on the terminal', async () => {
  const output = join(temporaryFolder(), 'answers.txt');
  const pty = new Pty([], {
    shell: `$SMOLVLM chat --no-history > "$OUTPUT"; echo "status $?"`,
    env: { OUTPUT: output },
  });
  await pty.waitFor(PROMPT);
  pty.type(`${picture} ${question}\r`);
  await pty.waitFor(PROMPT);
  pty.type('\x04');
  await pty.waitFor(/status 0/);
  await pty.exit();
  assert.is(readFileSync(output, 'utf8'), `${answer.trim()}\n`);
  assert.not.ok(pty.text.includes(answer.trim()));
});

test('chat: questions from a pipe on a terminal: no prompts, answers line by line', async () => {
  const pty = new Pty([], {
    shell: `printf '%s\\n' "$FIRST" "$SECOND" | $SMOLVLM chat; echo "status $?"`,
    env: { FIRST: `${picture} ${question}`, SECOND: '/reset', TERM: 'xterm' },
  });
  await pty.waitFor(/status 0/);
  await pty.exit();
  assert.ok(pty.text.includes(answer.trim()), pty.text);
  assert.not.match(pty.text, />/);
});

test('a file’s name cannot reach the terminal’s controls', async () => {
  const folder = temporaryFolder();
  const name = 'evil\x1b[31m\x07.jpg';
  copyFileSync(join(demoFolder, second.file), join(folder, name));
  copyFileSync(join(demoFolder, second.file), join(folder, 'b.jpg'));
  const pty = new Pty(['describe', folder], { env: { NO_COLOR: '1' } });
  assert.is(await pty.exit(), 0);
  assert.match(pty.raw, /evil␛\[31m␇\.jpg: /);
  assert.not.match(pty.raw, /⎋\[31m|⍾/);
});

plain('chat without any terminal: questions line by line from a pipe, answers alone on stdout', async () => {
  const input = `${picture} ${question}\n/reset\n${join(demoFolder, second.file)} ${second.question}\n`;
  const { code, stdout, stderr } = await runCli(['chat'], { input });
  assert.is(stdout, `${answer.trim()}\n${second.answer.trim()}\n`);
  assert.is(stderr, 'begun anew\n');
  assert.is(code, 0);
});

plain('chat without any terminal: a failed question is exit code 1, the others are answered', async () => {
  const broken = join(temporaryFolder({ 'broken.jpg': '\xff\xd8\xff' }), 'broken.jpg');
  const input = `what is in ${broken}?\n/reset\n${picture} ${question}`;
  const { code, stdout, stderr } = await runCli(['chat'], { input });
  assert.is(stdout, `${answer.trim()}\n`);
  assert.match(stderr, /^ImageError: /);
  assert.is(code, 1);
  const none = await runCli(['chat'], { input: '' });
  assert.equal([none.code, none.stdout, none.stderr], [0, '', '']);
});

plain(
  'chat: Ctrl-C without a terminal ends with 130; pictures that are not there end it before the model is read',
  async () => {
    let sent = 0;
    const stopped = await runCli(['chat', picture, ...NOISE], {
      input: 'Tell me everything.\nAnd more.\n',
      onOutput: (_, kill) => {
        if (sent++ === 0) kill('SIGINT');
      },
    });
    assert.is(stopped.code, 130);
    const gone = await runCli(['chat', 'gone.jpg'], { input: 'What is this?\n' });
    assert.is(gone.code, 1);
    assert.match(
      gone.stderr,
      /^smolvlm chat: InputError: the picture cannot be used \(gone\.jpg\): expected a JPEG or PNG file, got ENOENT\n$/,
    );
  },
);

plain.run();
