import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { progressText, stageOf } from '../../src/cli/answer-progress.js';
import { hasColors, paintFor } from '../../src/cli/colors.js';
import { renderHelp } from '../../src/cli/help.js';
import { Pace } from '../../src/cli/pace.js';
import { nearest } from '../../src/cli/suggestion.js';
import { count, duration, ProgressLine, seconds } from '../../src/cli/terminal.js';
import { printable, stringWidth, truncate, truncateStart, wrap } from '../../src/cli/text-width.js';

const tty = { isTTY: true };

test('colours are for terminals, and FORCE_COLOR goes before NO_COLOR before TERM=dumb', () => {
  const cases: [stream: { isTTY?: boolean }, env: Record<string, string>, expected: boolean][] = [
    [tty, {}, true],
    [{}, {}, false],
    [tty, { NO_COLOR: '1' }, false],
    [tty, { NO_COLOR: '' }, true],
    [tty, { TERM: 'dumb' }, false],
    [{}, { FORCE_COLOR: '1' }, true],
    [{}, { FORCE_COLOR: '' }, true],
    [tty, { FORCE_COLOR: '0' }, false],
    [tty, { FORCE_COLOR: 'false' }, false],
    [{}, { FORCE_COLOR: '1', NO_COLOR: '1', TERM: 'dumb' }, true],
  ];
  for (const [stream, env, expected] of cases) {
    assert.is(hasColors(stream, env), expected, JSON.stringify([stream, env]));
  }
  assert.is(paintFor(tty, {})('red', 'x'), '\x1b[31mx\x1b[39m');
  assert.is(paintFor({}, {})('red', 'x'), 'x');
});

test('text is measured in columns: wide characters and emoji take two, combining marks none', () => {
  assert.is(stringWidth('写真.jpg'), 8);
  assert.is(stringWidth('e\u0301'), 1);
  assert.is(stringWidth('👩‍👩‍👧'), 2);
  const samples = [
    '写真のフォルダ/猫.jpg',
    'plain-name.jpg',
    'e\u0301te\u0301.png',
    '👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧 family.png',
  ];
  for (const text of samples) {
    for (let columns = 1; columns < 24; columns++) {
      for (const cut of [truncate(text, columns), truncateStart(text, columns)]) {
        assert.ok(stringWidth(cut) <= columns, `${cut} in ${columns}`);
        if (stringWidth(text) <= columns) assert.is(cut, text);
        else assert.ok(cut.includes('…'), cut);
      }
    }
  }
  assert.is(truncate('写真のフォルダ', 6), '写真…');
  assert.is(truncateStart('photos/cat.jpg', 8), '…cat.jpg');
  for (const line of wrap('a 写真のフォルダ with many wide characters', 10, 2).split('\n')) {
    assert.ok(stringWidth(line) <= 10, line);
  }
});

test('control characters in names and answers never reach the terminal', () => {
  assert.is(printable('a\x1b[2Jb\r\x07\x9b31m\u202fc\n\t'), 'a␛[2Jb␍␇�31m\u202fc\n\t');
});

test('a progress line is shown on a terminal only, fits its width, and leaves nothing behind', () => {
  for (const columns of [20, 40, 120]) {
    const written: string[] = [];
    const line = new ProgressLine({ isTTY: true, columns, write: (text) => written.push(text) });
    line.show(`写真${'x'.repeat(200)}`);
    line.clear();
    assert.is(written.length, 2);
    const [shown] = written[0].split('\x1b[2K').slice(1);
    assert.is.not(shown, undefined);
    assert.is(stringWidth(shown), columns - 1);
    assert.is(written[1], '\r\x1b[2K');
  }
  const piped: string[] = [];
  const line = new ProgressLine({ write: (text) => piped.push(text) });
  line.show('x');
  line.clear();
  assert.equal(piped, []);
});

test('of progress that comes too fast the last line is shown within 150 ms', async () => {
  const written: string[] = [];
  const line = new ProgressLine({ isTTY: true, columns: 80, write: (text) => written.push(text) });
  for (let i = 0; i < 50; i++) line.show(`step ${i}.`);
  assert.is(written.length, 1);
  await new Promise((resolve) => setTimeout(resolve, 150));
  line.clear();
  assert.is(written.length, 3);
  assert.match(written[0], /step 0\./);
  assert.match(written[1], /step 49\./);
});

test('progress in little room loses the rate first, then the name’s beginning, the name, the time', () => {
  const parts = {
    counter: '3 of 12',
    name: 'holiday/beach/IMG_2041.jpg',
    stage: 'encoding tile 4 of 17',
    rate: '2.1 s a picture',
    left: '5 min left',
  };
  assert.is(
    progressText(parts, 120),
    '3 of 12 · holiday/beach/IMG_2041.jpg · encoding tile 4 of 17 · 2.1 s a picture · 5 min left',
  );
  assert.is(
    progressText(parts, 79),
    '3 of 12 · holiday/beach/IMG_2041.jpg · encoding tile 4 of 17 · 5 min left',
  );
  assert.is(progressText(parts, 60), '3 of 12 · …IMG_2041.jpg · encoding tile 4 of 17 · 5 min left');
  assert.is(progressText(parts, 47), '3 of 12 · encoding tile 4 of 17 · 5 min left');
  assert.is(progressText(parts, 40), '3 of 12 · encoding tile 4 of 17');
  for (let columns = 31; columns < 130; columns++) {
    assert.ok(stringWidth(progressText(parts, columns)) <= columns, `${columns}`);
  }
});

test('stages name the tile that is being encoded, from 1', () => {
  const encoding = (done: number) => stageOf({ status: 'encoding', done, total: 17, cached: 0 });
  assert.is(encoding(0), 'encoding tile 1 of 17');
  assert.is(encoding(3.7), 'encoding tile 4 of 17');
  assert.is(encoding(17), 'encoding tile 17 of 17');
  assert.is(stageOf({ status: 'processing' }), 'processing');
  assert.is(stageOf({ status: 'prefill', done: 10.5, total: 64, cached: 0 }), 'prefill 10 of 64 tokens');
  assert.is(stageOf({ status: 'decoding', done: 1, total: 64, cached: 0 }), 'decoding, 1 token');
});

test('the time left is said once a picture is finished, from the mean of those that succeeded', () => {
  let now = 0;
  const pace = new Pace(10, () => now);
  const tiles = (done: number, total: number) =>
    pace.progress({ status: 'encoding', done, total, cached: 0 });
  pace.begin();
  now = 3000;
  tiles(2, 4);
  assert.is(pace.left, undefined);
  assert.is(pace.perPicture, undefined);
  now = 4000;
  pace.finish(true);
  pace.begin();
  // 8 to come of 4 s each, and this one.
  assert.is(pace.left, 36_000);
  now = 5000;
  assert.is(pace.left, 35_000);
  // Its tiles take longer than the mean says: 1 of 10 in 3 s leaves 27 s.
  tiles(0, 10);
  now = 8000;
  tiles(1, 10);
  assert.is(pace.left, 8 * 4000 + 27_000);
  // One that failed at once makes the others no faster.
  pace.finish(false);
  assert.is(pace.perPicture, 4000);
});

test('of a single picture the time of its tiles is said, from the first one on', () => {
  let now = 100;
  const pace = new Pace(1, () => now);
  pace.begin();
  pace.progress({ status: 'encoding', done: 0, total: 4, cached: 0 });
  assert.is(pace.left, undefined);
  now = 1100;
  pace.progress({ status: 'encoding', done: 1, total: 4, cached: 0 });
  assert.is(pace.left, 3000);
  pace.progress({ status: 'encoding', done: 4, total: 4, cached: 0 });
  assert.is(pace.left, undefined);
});

test('times and counts are written for people', () => {
  const cases: [number, string][] = [
    [300, '1 s'],
    [59_400, '59 s'],
    [61_000, '1 min 1 s'],
    [600_000, '10 min'],
    [3_540_000, '59 min'],
    [3_600_000, '1 h 0 min'],
    [5_460_000, '1 h 31 min'],
  ];
  for (const [ms, text] of cases) assert.is(duration(ms), text);
  assert.equal([seconds(999), seconds(2149)], ['999 ms', '2.1 s']);
  assert.equal([count(1, 'tile'), count(0, 'tile')], ['1 tile', '0 tiles']);
});

test('mistyped words are told by two letters at most, of short words by one', () => {
  const words = ['model', 'max-new-tokens', 'quiet', 'temperature', 'top-p', 'top-k'];
  assert.is(nearest('modle', words), 'model');
  assert.is(nearest('quite', words), 'quiet');
  assert.is(nearest('temprature', words), 'temperature');
  assert.is(nearest('max-new-token', words), 'max-new-tokens');
  assert.is(nearest('temp', words), 'temperature');
  assert.is(nearest('colour', words), undefined);
  assert.is(nearest('top', words), undefined);
});

test('help is laid out for 20 to 120 columns, examples unbroken, colours around what is typed', () => {
  const page = {
    usage: ['smolvlm paint PICTURE… [--brush NAME] [--and-many-more OPTIONS]'],
    about: ['Paints a picture, which takes a while and a sentence that is long enough to be broken.'],
    sections: [
      {
        title: 'Options',
        rows: [
          ['--brush NAME', 'the brush, by its name in the catalogue of brushes'],
          ['--a-very-long-option-name VALUE', 'an option whose name is longer than the column'],
        ] as const,
      },
    ],
    examples: ['smolvlm paint this-example-is-to-be-copied-and-so-never-broken.jpg --brush "flat"'],
  };
  for (let columns = 20; columns <= 120; columns++) {
    const lines = renderHelp(page, columns, (_, text) => text).split('\n');
    assert.ok(lines.includes(`  ${page.examples[0]}`));
    for (const line of lines.filter((line) => !line.includes('never-broken'))) {
      assert.ok(stringWidth(line) <= columns, `${columns}: ${line}`);
    }
  }
  const wide = renderHelp(page, 100, (style, text) => `<${style}>${text}</>`);
  assert.match(wide, /<bold>Usage:<\/>\n/);
  assert.match(wide, /\n {2}<cyan>--brush NAME<\/> {10}the brush, by its name/);
  assert.match(wide, /<bold>Example:<\/>\n/);
});

test.run();
