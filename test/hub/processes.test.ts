import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { delimiter, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { lockFile } from '../../src/checkpoint/hub/file-lock.js';
import { root } from '../support/paths.js';
import { sha256, TestHub } from './server.js';
import { bytesOf, filesBelow, openQuick, randomBytes, scratch } from './support.js';

const NAME = 'test-org/shared';
const FILES = {
  'config.json': new TextEncoder().encode('{}'),
  'model.safetensors': randomBytes(400_000, 11),
};
const DIGEST = sha256(FILES['model.safetensors']);
const test = suite('several processes, one download');
const hub = await new TestHub().start();
hub.add(NAME, FILES);
test.before.each(() => hub.reset());
test.after(() => hub.stop());

interface Said {
  status?: string;
  loaded?: number;
  sha256?: string;
  error?: string;
}

/** A process of its own that downloads; `onSaid` is told each line. */
function download(
  cache: string,
  onSaid?: (line: Said, child: ChildProcess) => void,
  program = process.execPath,
  args: readonly string[] = [],
) {
  const child = spawn(program, [...args, join(root, 'test/hub/child.mjs'), hub.url, cache, NAME], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const said: Said[] = [];
  let rest = '';
  child.stdout.on('data', (data) => {
    const lines = (rest + data).split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      said.push(JSON.parse(line));
      onSaid?.(said.at(-1)!, child);
    }
  });
  const ended = new Promise<Said[]>((resolve) => child.on('close', () => resolve(said)));
  return { child, ended };
}

/** Requests for the weights that began at their start. */
const whole = () => hub.requests('cdn').filter(({ headers }) => headers.range === undefined);
const slowly = (piece: number) => {
  hub.fault = ({ host }) => (host === 'cdn' ? { drip: piece } : undefined);
};
const locks = (cache: string) => filesBelow(cache).filter((path) => path.includes('.lock'));

test('three processes at once: the server sends the weights once, and each has the one good file', async () => {
  const cache = scratch();
  slowly(1_000);
  const all = await Promise.all([1, 2, 3].map(() => download(cache).ended));
  assert.equal(
    all.map((said) => said.at(-1)),
    [1, 2, 3].map(() => ({ sha256: DIGEST })),
  );
  assert.equal(
    hub.requests('cdn').map(({ sent }) => sent),
    [FILES['model.safetensors'].length],
  );
  // Those that waited saw the other's progress.
  const waited = all.filter((said) => !said.some(({ status }) => status === 'download'));
  assert.is(waited.length, 2);
  assert.ok(waited.some((said) => said.some(({ status, loaded }) => status === 'progress' && loaded! > 0)));
  assert.equal(locks(cache), []);
  assert.is(filesBelow(cache).filter((path) => path.includes('/blobs/')).length, 2);
});

test('a process killed in mid-download: the one that waits takes over at once and goes on where it ended', async () => {
  const cache = scratch();
  slowly(200);
  let killed = 0;
  const first = download(cache);
  while (hub.requests('cdn').length === 0) await new Promise((done) => setTimeout(done, 5));
  const second = download(cache, ({ status, loaded = 0 }) => {
    // It is told of the other's progress.
    if (status !== 'progress' || loaded < 10_000 || killed) return;
    killed = performance.now();
    first.child.kill('SIGKILL');
    slowly(20_000);
  });
  assert.not.ok((await first.ended).some(({ sha256 }) => sha256));
  assert.equal((await second.ended).at(-1), { sha256: DIGEST });
  assert.ok(killed > 0);
  assert.ok(performance.now() - killed < 10_000, 'a dead process was waited for');
  assert.is(whole().length, 1);
  const [, resumed] = hub.requests('cdn');
  assert.ok(Number(/^bytes=(\d+)-$/.exec(resumed.headers.range ?? '')?.[1]) >= 10_000);
  // The killed one's lock of a file that was finished may stay: nobody needs it any more.
  assert.not.ok(locks(cache).some((path) => path.includes(DIGEST)));
});

test('killed ten times in a row at random moments, never anything that loads but the whole file', async () => {
  const cache = scratch();
  slowly(4_000);
  const folder = join(cache, 'models--test-org--shared');
  for (let i = 0; i < 10; i++) {
    const { child, ended } = download(cache, ({ loaded = 0 }, child) => {
      if (loaded > 30_000 * (i + 1)) child.kill('SIGKILL');
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), 3_000);
    await ended;
    clearTimeout(timer);
    const blob = join(folder, 'blobs', DIGEST);
    if (existsSync(blob)) assert.is(sha256(readFileSync(blob)), DIGEST);
  }
  hub.fault = () => undefined;
  assert.equal((await download(cache).ended).at(-1), { sha256: DIGEST });
});

for (const [name, variable, args] of [
  ['deno', 'DENO_PATH', ['run', '--allow-all']],
  ['bun', 'BUN_PATH', []],
] as const) {
  const title = `${name} downloads, waits for Node and resumes what Node left, byte-exact`;
  const places = [
    process.env[variable],
    ...(process.env.PATH ?? '').split(delimiter).map((at) => join(at, name)),
  ];
  const program = places.find((place) => place && existsSync(place));
  if (program === undefined) {
    console.log(`SKIP ${title} (no ${name}: set ${variable})`);
    test.skip(title, () => {});
    continue;
  }
  test(title, async () => {
    const cache = scratch();
    slowly(2_000);
    const node = download(cache);
    while (hub.requests('cdn').length === 0) await new Promise((done) => setTimeout(done, 5));
    const other = download(cache, undefined, program, args);
    assert.equal(
      [(await node.ended).at(-1), (await other.ended).at(-1)],
      [{ sha256: DIGEST }, { sha256: DIGEST }],
    );
    assert.is(hub.requests('cdn').length, 1);
    const second = scratch();
    const broken = download(
      second,
      ({ loaded = 0 }, child) => void (loaded > 50_000 && child.kill('SIGKILL')),
    );
    await broken.ended;
    assert.equal((await download(second, undefined, program, args).ended).at(-1), { sha256: DIGEST });
    assert.match(hub.requests('cdn').at(-1)!.headers.range ?? '', /^bytes=[1-9]/);
  });
}

test('an abort while another process downloads rejects at once, and leaves that one alone', async () => {
  const cache = scratch();
  slowly(300);
  let abort = () => {};
  const first = download(cache, ({ loaded = 0 }) => {
    if (loaded > 100_000) abort();
  });
  while (hub.requests('cdn').length === 0) await new Promise((done) => setTimeout(done, 5));
  const controller = new AbortController();
  const waiting = openQuick(NAME, { endpoint: hub.url, cache_dir: cache, signal: controller.signal }).then(
    (one) => bytesOf(one, 'model.safetensors'),
  );
  let at = 0;
  abort = () => {
    at ||= performance.now();
    controller.abort();
  };
  const error = await waiting.catch((caught) => caught);
  assert.is(error.name, 'AbortError');
  assert.ok(at > 0 && performance.now() - at < 500);
  assert.equal((await first.ended).at(-1), { sha256: DIGEST });
});

const nobody = { pid: 2 ** 22 + 1, host: hostname(), token: 'gone' };
const STALE: Record<string, [content: string, staleMs: number]> = {
  'of a process of this machine that is gone': [JSON.stringify(nobody), 60_000],
  'of another machine that nobody touches any more': [JSON.stringify({ ...nobody, host: 'elsewhere' }), 300],
  'that is half written': ['{"pid":', 300],
  'of a process that is there and does not answer': [JSON.stringify({ ...nobody, pid: process.pid }), 300],
};
for (const [title, [content, staleMs]] of Object.entries(STALE)) {
  test(`a lock ${title} is taken over, by one of eight that see it`, async () => {
    const path = join(scratch(), 'locks', 'x.lock');
    mkdirSync(join(path, '..'));
    writeFileSync(path, content);
    let [holders, most, taken] = [0, 0, 0];
    const take = async () => {
      const lock = await lockFile(path, {}, staleMs);
      most = Math.max(most, ++holders);
      taken++;
      assert.ok(await lock.held());
      await new Promise((done) => setTimeout(done, 5));
      holders--;
      await lock.release();
    };
    await Promise.all(Array.from({ length: 8 }, take));
    assert.equal([most, taken], [1, 8]);
    assert.equal(filesBelow(join(path, '..')), []);
  });
}

test('a lock whose holder shows that it is alive is waited for, however old; and it does show', async () => {
  const path = join(scratch(), 'x.lock');
  const lock = await lockFile(path, {});
  const old = new Date(Date.now() - 3_600_000);
  utimesSync(path, old, old);
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), 400);
  let waits = 0;
  const error = await lockFile(path, { signal: controller.signal, onWait: () => void waits++ }).catch(
    (e) => e,
  );
  clearTimeout(timer);
  assert.is(error.name, 'AbortError');
  assert.ok(waits > 1);
  await new Promise((done) => setTimeout(done, 2_300));
  assert.ok(statSync(path).mtimeMs > Date.now() - 10_000, 'nobody touched it');
  await lock.release();
  assert.not.ok(existsSync(path));
});

test.run();
