import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseCommand } from '../../src/cli/chat/commands.js';
import { complete } from '../../src/cli/chat/completion.js';
import { HISTORY_LINES, HistoryFile, historyPath } from '../../src/cli/chat/history-file.js';
import { Continuation } from '../../src/cli/chat/lines.js';
import { type ContentPiece, findMedia, mediaPath, pieceOf } from '../../src/cli/chat/media-words.js';
import { temporaryFolder } from '../support/folder.js';

const FILES = [
  'cat.jpg',
  'a.png',
  'b c.png',
  '/photos/x y.jpg',
  'clip.mp4',
  'it’s.png',
  'what',
  join(homedir(), 'h.jpg'),
];
const isFile = async (path: string) => FILES.includes(path);
const image = (path: string): ContentPiece => ({ type: 'image', path });

test('pictures named in a question are found as typed, quoted, escaped, as file:// or from ~, and go before the text', async () => {
  const cases: [line: string, pieces: ContentPiece[]][] = [
    ['What is this?', ['What is this?']],
    ['cat.jpg What is this?', [image('cat.jpg'), 'What is this?']],
    ['What is this? cat.jpg', [image('cat.jpg'), 'What is this?']],
    ['cat.jpg: what is it?', [image('cat.jpg'), 'what is it?']],
    ['what is in cat.jpg?', [image('cat.jpg'), 'what is in this image?']],
    ['Is cat.jpg a cat?', [image('cat.jpg'), 'Is this image a cat?']],
    ['describe "b c.png"', [image('b c.png'), 'describe this image']],
    ["describe 'b c.png'.", [image('b c.png'), 'describe this image.']],
    ['b\\ c.png what is it', [image('b c.png'), 'what is it']],
    ['/photos/x\\ y.jpg ', [image('/photos/x y.jpg')]],
    ['file:///photos/x%20y.jpg', [image('/photos/x y.jpg')]],
    ['~/h.jpg who?', [image(join(homedir(), 'h.jpg')), 'who?']],
    ["what's in it’s.png", [image('it’s.png'), "what's in this image"]],
    ['see cat.jpg a.png!', [image('cat.jpg'), image('a.png'), 'see these images!']],
    ['Compare cat.jpg with a.png.', ['Compare ', image('cat.jpg'), ' with ', image('a.png'), '.']],
    ['what happens in clip.mp4?', [{ type: 'video', path: 'clip.mp4' }, 'what happens in this video?']],
    ['https://example.org/a.png what?', [{ type: 'image', url: 'https://example.org/a.png' }, 'what?']],
    ['what is "what"?', ['what is "what"?']],
    ['two\nlines with cat.jpg', [image('cat.jpg'), 'two\nlines with this image']],
  ];
  for (const [line, pieces] of cases) assert.equal((await findMedia(line, isFile)).pieces, pieces, line);
});

test('words called like pictures that are no files stay text, and are told where they look like paths', async () => {
  assert.equal(await findMedia('what is dog.jpg and photos/dog.png?', isFile), {
    pieces: ['what is dog.jpg and photos/dog.png?'],
    missing: [],
  });
  assert.equal((await findMedia('what is photos/dog.png', isFile)).missing, ['photos/dog.png']);
});

test('a path behind a command needs no quotes, and may have them', () => {
  for (const text of ['b c.png', '"b c.png"', 'b\\ c.png', ' b c.png '])
    assert.is(mediaPath(text), 'b c.png');
  assert.is(mediaPath(pathToFileURL('/photos/x y.jpg').href), '/photos/x y.jpg');
  assert.equal(pieceOf('x', 'video'), { type: 'video', path: 'x' });
  assert.equal(pieceOf('http://example.org/x.gif'), { type: 'video', url: 'http://example.org/x.gif' });
});

test('commands are told from questions, by aliases and with what is near', () => {
  assert.equal(parseCommand('/image a b.png'), { type: 'command', name: '/image', argument: 'a b.png' });
  assert.equal(parseCommand('/SYSTEM  two\nlines '), {
    type: 'command',
    name: '/system',
    argument: 'two\nlines',
  });
  assert.equal(parseCommand('/exit'), { type: 'command', name: '/quit', argument: '' });
  assert.equal(parseCommand('/rest'), { type: 'unknown', name: '/rest', near: '/reset' });
  assert.equal(parseCommand('/zzzzz x'), { type: 'unknown', name: '/zzzzz', near: undefined });
  for (const line of ['what is /image', '/photos/x.jpg what is it?', '/ what', '']) {
    assert.is(parseCommand(line), undefined, line);
  }
});

test('Tab completes commands, then folders, pictures and videos, spaces escaped; behind /load any file', async () => {
  const folder = temporaryFolder({
    'cat 2.jpg': '',
    'cat 10.png': '',
    'clip.mp4': '',
    'chat.session': '',
    '.hidden.png': '',
    'camera/x.jpg': '',
  });
  mkdirSync(join(folder, 'code'));
  const commands = ['/image', '/system', '/save'];
  assert.equal(await complete('/s', commands), [['/system ', '/save '], '/s']);
  assert.equal(await complete('/image', commands), [['/image '], '/image']);
  const at = (text: string) => complete(`what is in ${folder}/${text}`, commands);
  const hits = async (text: string) => (await at(text))[0].map((hit) => hit.slice(folder.length + 1));
  assert.equal(await hits('c'), ['camera/', 'cat\\ 2.jpg ', 'cat\\ 10.png ', 'clip.mp4 ', 'code/']);
  assert.equal(await at('cat\\ 2'), [[`${folder}/cat\\ 2.jpg `], `${folder}/cat\\ 2`]);
  assert.equal(await hits('camera/'), ['camera/x.jpg ']);
  assert.equal(await hits('.h'), ['.hidden.png ']);
  assert.equal(await hits('zzz'), []);
  assert.equal((await complete(`/load ${folder}/ch`, commands))[0], [`${folder}/chat.session `]);
  assert.equal(await complete(`what ${folder}/no-folder/x`, commands), [[], `${folder}/no-folder/x`]);
});

test('a backslash at the end goes on in the next line, an escaped one does not', () => {
  const text = new Continuation();
  assert.is(text.add('one\\'), undefined);
  assert.ok(text.isOpen);
  assert.is(text.add('two'), 'one\ntwo');
  assert.not.ok(text.isOpen);
  assert.is(text.add('C:\\\\'), 'C:\\\\');
  assert.is(text.add('three\\\\\\'), undefined);
  assert.is(text.take(), 'three\\\\');
  text.hold('pasted\\');
  assert.is(text.add('end'), 'pasted\\\nend');
});

test('lines are kept over runs where XDG has state, for the owner alone, the last thousand', async () => {
  const state = temporaryFolder();
  const path = historyPath({ XDG_STATE_HOME: state }, 'linux');
  assert.is(path, join(state, 'smolvlm/chat-history'));
  assert.is(
    historyPath({ XDG_STATE_HOME: 'relative' }, 'linux'),
    join(homedir(), '.local/state/smolvlm/chat-history'),
  );
  const file = new HistoryFile(path);
  assert.equal(await file.read(), []);
  await file.add('first');
  await file.add('two\nlines');
  assert.equal(await new HistoryFile(path).read(), ['first', 'two lines']);
  if (process.platform !== 'win32') assert.is(statSync(path).mode & 0o777, 0o600);
  for (let i = 0; i < 2 * HISTORY_LINES; i++) await file.add(`line ${i}`);
  const kept = await file.read();
  assert.is(kept.length, HISTORY_LINES);
  assert.is(kept.at(-1), `line ${2 * HISTORY_LINES - 1}`);
  assert.is(readFileSync(path, 'utf8').trim().split('\n').length, HISTORY_LINES);
});

test.run();
