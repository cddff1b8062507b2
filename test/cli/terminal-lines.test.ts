import { PassThrough } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Line } from '../../src/cli/chat/lines.js';
import { PipeLines } from '../../src/cli/chat/pipe-lines.js';
import { TerminalLines, type TerminalLinesOptions } from '../../src/cli/chat/terminal-lines.js';

/** Streams that readline takes for a terminal. */
function terminal(options?: TerminalLinesOptions) {
  const modes: boolean[] = [];
  const input = Object.assign(new PassThrough(), {
    isTTY: true,
    setRawMode: (on: boolean) => modes.push(on),
  });
  const output = Object.assign(new PassThrough(), { isTTY: true, columns: 80, rows: 24 });
  let written = '';
  output.on('data', (data) => {
    written += data;
  });
  const lines = new TerminalLines(input, output, options);
  return { lines, input, modes, written: () => written };
}

const line = (text: string): Line => ({ type: 'line', text });

async function type(asked: Promise<Line>, input: PassThrough, ...keys: string[]): Promise<Line> {
  for (const key of keys) {
    input.write(key);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return asked;
}

test('lines are edited as in readline; the terminal is in raw mode only while one is awaited', async () => {
  const { lines, input, modes } = terminal();
  assert.is(modes.at(-1), false);
  const asked = lines.next('> ');
  assert.is(modes.at(-1), true);
  assert.equal(await type(asked, input, 'wrold', '\x7f\x7f\x7f\x7f', 'orld', '\r'), line('world'));
  assert.is(modes.at(-1), false);
  lines.close();
});

test('a backslash goes on in the next line, what is pasted is one text, and its line breaks send nothing', async () => {
  const { lines, input } = terminal();
  assert.equal(await type(lines.next('> '), input, 'one\\\r', 'two\r'), line('one\ntwo'));
  const pasted = '\x1b[200~first\nsecond\\\nthird\x1b[201~';
  assert.equal(
    await type(lines.next('> '), input, pasted, ' and more', '\r'),
    line('first\nsecond\\\nthird and more'),
  );
  lines.close();
});

test('what the next line begins with can be edited', async () => {
  const { lines, input } = terminal();
  assert.equal(await type(lines.next('> ', '/edit old'), input, '\x7f\x7f\x7f', 'new\r'), line('/edit new'));
  lines.close();
});

test('the arrow brings earlier lines back, those of earlier runs before them', async () => {
  const told: string[] = [];
  const { lines, input } = terminal({ history: ['oldest', 'older'], onLine: (text) => told.push(text) });
  const up = '\x1b[A';
  assert.equal(await type(lines.next('> '), input, 'now\r'), line('now'));
  assert.equal(await type(lines.next('> '), input, up, up, '\r'), line('older'));
  assert.equal(await type(lines.next('> '), input, up, up, up, '\r'), line('oldest'));
  assert.equal(told, ['now', 'older', 'oldest']);
  lines.close();
});

test('Tab asks the completer', async () => {
  const { lines, input } = terminal({
    completer: (text, done) => done(null, [text === '/im' ? ['/image '] : [], text]),
  });
  assert.equal(await type(lines.next('> '), input, '/im', '\t', 'x\r'), line('/image x'));
  lines.close();
});

test('Ctrl-C says whether anything was typed and clears it, lines that went on too; Ctrl-D ends', async () => {
  const { lines, input, written } = terminal();
  assert.equal(await type(lines.next('> '), input, '\x03'), { type: 'interrupt', typed: false });
  assert.equal(await type(lines.next('> '), input, 'half', '\x03'), { type: 'interrupt', typed: true });
  assert.equal(await type(lines.next('> '), input, 'half\\\r', '\x03'), { type: 'interrupt', typed: true });
  assert.equal(await type(lines.next('> '), input, 'whole\r'), line('whole'));
  assert.equal(await type(lines.next('> '), input, '\x04'), { type: 'end' });
  assert.equal(await lines.next('> '), { type: 'end' });
  // The terminal is left without marks around what is pasted.
  assert.is(written().split('\x1b[?2004h').length, 6);
  assert.is(written().split('\x1b[?2004l').length, 6);
  lines.close();
});

test('lines that come at once are given one after the other', async () => {
  const { lines, input } = terminal();
  const asked = lines.next('> ');
  assert.equal(await type(asked, input, 'one\rtwo\rthree\r'), line('one'));
  assert.equal(await lines.next('> '), line('two'));
  assert.equal(await lines.next('> '), line('three'));
  lines.close();
});

test('a pipe gives a question a line, the last one without a line break too, whatever its line ends are', async () => {
  const input = new PassThrough();
  const lines = new PipeLines(input);
  input.end('one\r\ntwo\\\nand more\nthree');
  const got = [await lines.next(), await lines.next(), await lines.next(), await lines.next()];
  assert.equal(got, [line('one'), line('two\nand more'), line('three'), { type: 'end' }]);
  lines.close();
});

test.run();
