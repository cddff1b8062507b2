import { mkdirSync, symlinkSync } from 'node:fs';
import { join, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { expandInputs, naturalOrder } from '../../src/cli/inputs.js';
import { temporaryFolder } from '../support/folder.js';

const folder = temporaryFolder({
  'img10.jpg': '',
  'img2.jpg': '',
  'img1.PNG': '',
  'notes.txt': '',
  'clip.mp4': '',
  '.hidden.jpg': '',
  'a[1].jpg': '',
  'sub/b.jpeg': '',
  'sub/deep/c.png': '',
  'sub/deep/d.webp': '',
  'texts/only.txt': '',
  '写真 1.jpg': '',
});
mkdirSync(join(folder, 'empty'));
symlinkSync(folder, join(folder, 'sub/loop'));

const names = async (paths: string[], options: Parameters<typeof expandInputs>[1] = {}) => {
  const inputs = await expandInputs(
    paths.map((path) => join(folder, path)),
    options,
  );
  const short = inputs.media.map(({ path }) => path.slice(folder.length + 1).replaceAll(sep, '/'));
  return { ...inputs, short };
};

test('a folder gives its pictures in natural order; other files are counted, hidden ones are not', async () => {
  const { short, leftOut, problems } = await names(['']);
  assert.equal(short, ['a[1].jpg', 'img1.PNG', 'img2.jpg', 'img10.jpg', '写真 1.jpg']);
  assert.is(leftOut, 2);
  assert.equal(problems, []);
});

test('--recursive goes into folders, into a loop of links once', async () => {
  const { short, leftOut } = await names([''], { recursive: true });
  assert.equal(short, [
    'a[1].jpg',
    'img1.PNG',
    'img2.jpg',
    'img10.jpg',
    'sub/b.jpeg',
    'sub/deep/c.png',
    '写真 1.jpg',
  ]);
  assert.is(leftOut, 4);
});

test('globs are expanded, also over folders and in braces; what exists under that very name is no glob', async () => {
  assert.equal((await names(['img*.jpg'])).short, ['img2.jpg', 'img10.jpg']);
  assert.equal((await names(['**/*.{jpeg,png}'])).short, ['sub/b.jpeg', 'sub/deep/c.png']);
  assert.equal((await names(['sub/d*/*'])).short, ['sub/deep/c.png']);
  assert.is((await names(['sub/d*/*'])).leftOut, 1);
  assert.equal((await names(['a[1].jpg'])).short, ['a[1].jpg']);
  assert.equal((await names(['img?.*'])).short, ['img1.PNG', 'img2.jpg']);
});

test('globs are relative to the working folder, too', async () => {
  const before = process.cwd();
  process.chdir(folder);
  try {
    const { media } = await expandInputs(['img*.jpg', './sub/*.jpeg', '**/c.png']);
    assert.equal(
      media.map(({ path }) => path),
      ['img2.jpg', 'img10.jpg', join('sub', 'b.jpeg'), join('sub', 'deep', 'c.png')],
    );
  } finally {
    process.chdir(before);
  }
});

test('a file is described once, under the name that came first', async () => {
  const { short } = await names(['img2.jpg', '.', 'sub/../img2.jpg', 'img*.jpg', 'img10.jpg']);
  assert.equal(short, ['img2.jpg', 'a[1].jpg', 'img1.PNG', 'img10.jpg', '写真 1.jpg']);
});

test('videos are told by their names or by --video; pictures of folders only by theirs', async () => {
  const { media } = await names(['clip.mp4', 'img2.jpg', '*.mp4'], { videos: [join(folder, 'sub')] });
  assert.equal(
    media.map(({ type }) => type),
    ['video', 'image', 'video'],
  );
  const urls = await expandInputs(['https://example.org/a.mp4?x=1', 'http://example.org/a.jpg#b']);
  assert.equal(urls.media, [
    { path: 'https://example.org/a.mp4?x=1', type: 'video' },
    { path: 'http://example.org/a.jpg#b', type: 'image' },
  ]);
  const file = await expandInputs([pathToFileURL(join(folder, '写真 1.jpg')).href]);
  assert.equal(file.media, [{ path: join(folder, '写真 1.jpg'), type: 'image' }]);
});

test('files that are not there stay in the list, to be reported in their turn', async () => {
  assert.equal((await names(['no.jpg', 'img2.jpg'])).short, ['no.jpg', 'img2.jpg']);
});

test('folders and globs without pictures are problems that say what there is', async () => {
  const { problems, media } = await names(['empty', 'texts', '*.tiff', 'no-folder/*.jpg', '*.txt']);
  assert.equal(media, []);
  assert.equal(
    problems.map(({ reason }) => reason),
    [
      'no JPEG or PNG file in this folder (--recursive looks into its folders)',
      'no JPEG or PNG file in this folder, 1 file of other kinds (--recursive looks into its folders)',
      'no JPEG or PNG file matches',
      'no JPEG or PNG file matches',
      'no JPEG or PNG file matches, 1 file of other kinds',
    ],
  );
});

test('natural order puts numbers by value and is total', () => {
  const sorted = ['x1', 'x02', 'x2', 'x10', 'x10a', 'y'];
  for (const [i, a] of sorted.entries()) {
    for (const [j, b] of sorted.entries()) {
      assert.is(Math.sign(naturalOrder(a, b)), Math.sign(i - j), `${a} ${b}`);
    }
  }
});

test.run();
