import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FileStorage } from '../../src/checkpoint/hub/file-storage.js';
import { parseListing } from '../../src/checkpoint/hub/listing.js';
import type { HubOptions } from '../../src/checkpoint/hub/options.js';
import { hubSettings } from '../../src/checkpoint/hub/settings.js';
import { snapshot_download } from '../../src/checkpoint/hub/snapshot.js';
import type { PartialFile } from '../../src/checkpoint/hub/storage.js';
import { knownModels } from '../../src/checkpoint/manifest.js';
import { HubError } from '../../src/errors.js';
import { rejects } from '../checkpoint/helpers.js';
import { commitOf, type Files, gitSha1, sha256, TestHub } from './server.js';
import { bytesOf, filesBelow, openQuick, randomBytes, scratch } from './support.js';

const test = suite('the cache');
const hub = await new TestHub().start();
const text = (content: string) => new TextEncoder().encode(content);
const OLD: Files = {
  'config.json': text('{"v":1}'),
  'tokenizer.json': text('"t1"'),
  'model.safetensors': randomBytes(5_000, 1),
};
const NEW: Files = {
  'config.json': text('{"v":2}'),
  'tokenizer.json': text('"t1"'),
  'model.safetensors': randomBytes(5_000, 2),
};
const NAME = 'test-org/moving';
const ROOT = 'models--test-org--moving';
test.before.each(() => {
  hub.repositories.delete(NAME);
  hub.reset();
});
test.after(() => hub.stop());

const open = (options: HubOptions) => openQuick(NAME, { endpoint: hub.url, ...options });
const ref = (cache: string) => readFileSync(join(cache, ROOT, 'refs/main'), 'utf8');

/** Lays files out as Python does; without links, where it copies. */
function pythonCache(cache: string, commit: string, files: Files, links = true): void {
  const put = (path: string, bytes: Uint8Array | string) => {
    mkdirSync(dirname(join(cache, ROOT, path)), { recursive: true });
    writeFileSync(join(cache, ROOT, path), bytes);
  };
  put('refs/main', commit);
  for (const [path, bytes] of Object.entries(files)) {
    const blob = path.endsWith('.safetensors') ? sha256(bytes) : gitSha1(bytes);
    if (!links) {
      put(`snapshots/${commit}/${path}`, bytes);
      continue;
    }
    put(`blobs/${blob}`, bytes);
    const place = join(cache, ROOT, 'snapshots', commit, path);
    mkdirSync(dirname(place), { recursive: true });
    symlinkSync(`../../blobs/${blob}`, place);
  }
}

for (const links of [true, false]) {
  test(`what Python has cached ${links ? 'with links' : 'with copies'} is used in place, online and offline`, async () => {
    const cache_dir = scratch();
    const commit = hub.add(NAME, OLD);
    pythonCache(cache_dir, commit, OLD, links);
    const before = filesBelow(cache_dir);
    for (const more of [
      {},
      { local_files_only: true },
      { endpoint: 'http://127.0.0.1:9' },
      { revision: commit },
    ]) {
      const repository = await open({ cache_dir, ...more });
      for (const [path, bytes] of Object.entries(OLD)) assert.equal(await bytesOf(repository, path), bytes);
      await repository.close();
    }
    assert.is(hub.seen.filter(({ path }) => !path.startsWith('/api/models')).length, 0, 'a file was fetched');
    assert.equal(filesBelow(cache_dir), before);
  });
}

test('offline and not cached: a HubError NotCached that names the command, and no request', async () => {
  hub.add(NAME, OLD);
  const cache_dir = scratch();
  const says = {
    where: `${NAME}@main`,
    expected: `smolvlm download ${NAME}`,
    got: `${cache_dir}/${ROOT}/refs/main`,
  };
  await rejects(() => open({ cache_dir, local_files_only: true }), HubError, says);
  const environment = { HF_HUB_OFFLINE: '1' };
  await rejects(
    () => openQuick(NAME, { cache_dir, endpoint: hub.url }, undefined, environment),
    HubError,
    says,
  );
  assert.is(hub.seen.length, 0);
});

test('a revision that moves between two files: all files are of the commit that was first', async () => {
  const cache_dir = scratch();
  const first = hub.add(NAME, OLD);
  const repository = await open({ cache_dir });
  assert.equal(await bytesOf(repository, 'config.json'), OLD['config.json']);
  const second = hub.add(NAME, NEW);
  assert.equal(await bytesOf(repository, 'model.safetensors'), OLD['model.safetensors']);
  await repository.close();
  assert.is(ref(cache_dir), first);
  const later = await open({ cache_dir });
  assert.equal(await bytesOf(later, 'config.json'), NEW['config.json']);
  assert.is(later.commit, second);
});

test('the branch means a new commit only once its snapshot serves as well as the old one: offline never loses a file', async () => {
  const cache_dir = scratch();
  const first = hub.add(NAME, OLD);
  await snapshot_download(NAME, { endpoint: hub.url, cache_dir });
  const second = hub.add(NAME, NEW);
  const config = await open({ cache_dir });
  await bytesOf(config, 'config.json');
  await config.close();
  assert.is(ref(cache_dir), first, 'tokenizer and weights of the new commit are not there');
  const offline = await open({ cache_dir, local_files_only: true });
  assert.equal(await bytesOf(offline, 'model.safetensors'), OLD['model.safetensors']);
  const all = await open({ cache_dir });
  await all.prepare(Object.keys(NEW));
  await all.close();
  assert.is(ref(cache_dir), second);
});

test('a failed download leaves the branch where it was', async () => {
  const cache_dir = scratch();
  hub.add(NAME, OLD);
  hub.fault = ({ host }) => (host === 'cdn' ? { status: 403 } : undefined);
  const repository = await open({ cache_dir });
  await bytesOf(repository, 'config.json');
  const error = await bytesOf(repository, 'model.safetensors').catch((caught) => caught);
  await repository.close();
  assert.is(error.code, 'Forbidden');
  assert.not.ok(existsSync(join(cache_dir, ROOT, 'refs/main')));
});

test('a hub that fails, or says that the repository is gone, leaves the cache in use; a revision that is gone does not', async () => {
  const cache_dir = scratch();
  hub.add(NAME, OLD);
  await snapshot_download(NAME, { endpoint: hub.url, cache_dir });
  for (const status of [500, 503, 429, 401, 403]) {
    hub.fault = () => ({ status });
    const repository = await open({ cache_dir });
    assert.ok(repository.offline);
    assert.equal(await bytesOf(repository, 'model.safetensors'), OLD['model.safetensors'], String(status));
  }
  hub.fault = () => ({ status: 404, headers: { 'x-error-code': 'RevisionNotFound' } });
  const error = await open({ cache_dir }).catch((caught) => caught);
  assert.is(error.code, 'RevisionNotFound');
});

test('a blob that another commit brought is linked, not fetched', async () => {
  const cache_dir = scratch();
  hub.add(NAME, OLD);
  await snapshot_download(NAME, { endpoint: hub.url, cache_dir });
  const commit = hub.add(NAME, NEW);
  hub.reset();
  await snapshot_download(NAME, { endpoint: hub.url, cache_dir });
  assert.is(hub.requests('hub', '/resolve/').filter(({ path }) => path.includes('tokenizer')).length, 0);
  assert.equal(readFileSync(join(cache_dir, ROOT, 'snapshots', commit, 'tokenizer.json'), 'utf8'), '"t1"');
});

test('a commit that is cached is downloaded, listed and loaded with the hub gone, and a hub without an API lists nothing', async () => {
  const cache_dir = scratch();
  const revision = hub.add(NAME, OLD);
  await snapshot_download(NAME, { endpoint: hub.url, cache_dir, revision });
  const gone = { endpoint: 'http://127.0.0.1:9', cache_dir, revision, max_attempts: 1 };
  const again = await snapshot_download(NAME, gone);
  assert.equal(
    again.files.map(({ path, cached }) => [path, cached]),
    Object.keys(OLD)
      .sort()
      .map((path) => [path, true]),
  );
  hub.api = false;
  await rejects(() => snapshot_download(NAME, { endpoint: hub.url, cache_dir: scratch() }), HubError, {
    where: `${NAME}@${revision}`,
    expected: 'the API of a hub',
    got: 'none',
  });
});

test('what a commit lacks is noted once', async () => {
  const cache_dir = scratch();
  const commit = hub.add(NAME, OLD);
  const note = join(cache_dir, ROOT, '.no_exist', commit, 'chat_template.jinja');
  assert.is(await (await open({ cache_dir })).has('chat_template.jinja'), false);
  const { ino } = statSync(note);
  assert.is(await (await open({ cache_dir })).has('chat_template.jinja'), false);
  assert.is(statSync(note).ino, ino);
});

test('force_download fetches again what is cached, once for each opening', async () => {
  const cache_dir = scratch();
  hub.add(NAME, OLD);
  await snapshot_download(NAME, { endpoint: hub.url, cache_dir });
  hub.reset();
  const repository = await open({ cache_dir, force_download: true });
  for (let i = 0; i < 3; i++)
    assert.equal(await bytesOf(repository, 'model.safetensors'), OLD['model.safetensors']);
  assert.is(hub.requests('cdn').length, 1);
});

test('subfolder: the checkpoint is a folder of the repository, in the snapshot too', async () => {
  const cache_dir = scratch();
  const commit = hub.add(NAME, { 'int8/config.json': text('{"in":8}'), 'config.json': text('{}') });
  const repository = await open({ cache_dir, subfolder: '/int8/' });
  assert.equal(await bytesOf(repository, 'config.json'), text('{"in":8}'));
  assert.is(await repository.has('tokenizer.json'), false);
  const place = join(cache_dir, ROOT, 'snapshots', commit, 'int8/config.json');
  assert.is(readFileSync(place, 'utf8'), '{"in":8}');
  assert.is(repository.describe('config.json'), place);
});

test('snapshot_download: the checkpoint’s files of one commit, or those that are asked for; dry_run fetches none', async () => {
  const more = {
    'onnx/model.onnx': text('o'),
    'README.md': text('r'),
    'model-00001-of-00002.safetensors': text('s'),
  };
  const commit = hub.add(NAME, { ...OLD, ...more, 'model.safetensors.index.json': text('{}') });
  const cache_dir = scratch();
  const options = { endpoint: hub.url, cache_dir };
  const paths = async (include?: string | string[]) =>
    (await snapshot_download(NAME, { ...options, include, dry_run: true })).files.map(({ path }) => path);
  const expected = ['README.md', 'config.json', 'model.safetensors', 'tokenizer.json'];
  assert.equal(await paths(), expected);
  assert.equal(await paths('*.json'), ['config.json', 'model.safetensors.index.json', 'tokenizer.json']);
  assert.equal(await paths(['**.onnx', 'READ??.md']), ['README.md', 'onnx/model.onnx']);
  assert.equal(filesBelow(cache_dir), []);
  await rejects(() => paths('*.gguf'), HubError, {
    where: `${NAME}@${commit}`,
    expected: 'files that *.gguf matches',
    got: '7 others: ',
  });
  const first = await snapshot_download(NAME, options);
  const second = await snapshot_download(NAME, { ...options, local_files_only: true });
  assert.equal([first.commit, first.folder], [commit, join(cache_dir, ROOT, 'snapshots', commit)]);
  assert.ok(first.files.every(({ cached }) => !cached) && second.files.every(({ cached }) => cached));
  assert.equal(
    second.files.map(({ path }) => path),
    expected,
  );
  assert.equal(filesBelow(first.folder), expected);
});

test('shards are fetched small ones first and at most 3 at once; the first failure ends the others', async () => {
  const shards = Object.fromEntries(
    [9, 1, 5, 3, 7].map((kb) => [`s${kb}.safetensors`, randomBytes(kb * 1000, kb)]),
  );
  hub.add(NAME, shards);
  let [now, most] = [0, 0];
  const progress_callback = ({ status }: { status: string }) => {
    if (status === 'initiate') most = Math.max(most, ++now);
    if (status === 'done') now--;
  };
  hub.fault = ({ host }) => (host === 'cdn' ? { drip: 500 } : undefined);
  const cache_dir = scratch();
  const repository = await open({ cache_dir, progress_callback });
  await repository.prepare(Object.keys(shards));
  assert.is(most, 3);
  const order = hub.requests('hub', '/resolve/').map(({ path }) => path.slice(-14, -12));
  assert.equal(
    [order.slice(0, 3).sort(), order.slice(3).sort()],
    [
      ['s1', 's3', 's5'],
      ['s7', 's9'],
    ],
  );
  hub.reset();
  hub.fault = ({ host }, count) => (host === 'cdn' && count === 1 ? { status: 403 } : { drip: 1 });
  const other = await open({ cache_dir: scratch() });
  const started = performance.now();
  const error = await other.prepare(Object.keys(shards)).catch((caught) => caught);
  assert.is(error.code, 'Forbidden');
  assert.ok(performance.now() - started < 2_000);
});

/** A disk that is full after so many bytes. */
class FullStorage extends FileStorage {
  left = 50_000;
  error = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  free: number | undefined;

  override async freeBytes(): Promise<number | undefined> {
    return this.free;
  }

  override async partial(blob: string): Promise<PartialFile> {
    const partial = await super.partial(blob);
    const write = partial.write.bind(partial);
    partial.write = async (bytes) => {
      await write(bytes.subarray(0, Math.max(0, this.left)));
      this.left -= bytes.length;
      if (this.left < 0) throw this.error;
    };
    return partial;
  }
}

test('a full disk: a HubError NoSpace before the start where it can be known, else at the byte, and the part is resumed', async () => {
  const large = { 'model.safetensors': randomBytes(200_000, 9) };
  hub.add(NAME, large);
  const cache_dir = scratch();
  const storage = new FullStorage(cache_dir);
  const file = async () =>
    bytesOf(await openQuick(NAME, { endpoint: hub.url, cache_dir }, storage), 'model.safetensors');
  storage.free = 1_000;
  await rejects(file, HubError, {
    what: 'no space left',
    where: cache_dir,
    expected: '200000 bytes',
    got: '1000 bytes',
  });
  assert.is(hub.requests('cdn').length, 0);
  storage.free = undefined;
  await rejects(file, HubError, {
    what: 'no space left',
    where: cache_dir,
    expected: 'room for it',
    got: 'ENOSPC',
  });
  storage.left = Number.POSITIVE_INFINITY;
  hub.seen.length = 0;
  assert.equal(await file(), large['model.safetensors']);
  assert.match(hub.requests('cdn')[0].headers.range ?? '', /^bytes=[1-9]/);
});

test('a cache that cannot be written: what is there is read, what is not is a HubError Storage that says what to set', async () => {
  const cache_dir = scratch();
  const commit = hub.add(NAME, OLD);
  pythonCache(cache_dir, commit, OLD);
  class ReadOnly extends FileStorage {
    error = Object.assign(new Error('EROFS: read-only file system'), { code: 'EROFS' });
    override writeText = () => Promise.reject(this.error);
    override lock = () => Promise.reject(this.error);
  }
  const options = { endpoint: hub.url, cache_dir };
  const repository = await openQuick(NAME, options, new ReadOnly(cache_dir));
  assert.equal(await bytesOf(repository, 'model.safetensors'), OLD['model.safetensors']);
  assert.is(await repository.has('chat_template.json'), false);
  await repository.close();
  hub.add(NAME, NEW);
  const moved = await openQuick(NAME, options, new ReadOnly(cache_dir));
  await rejects(() => bytesOf(moved, 'model.safetensors'), HubError, {
    what: 'the cache fails',
    where: cache_dir,
    expected: 'HF_HUB_CACHE, HF_HOME or the option cache_dir',
    got: 'EROFS',
  });
});

class NoLinks extends FileStorage {
  protected override symlink(): Promise<void> {
    return Promise.reject(
      Object.assign(new Error('EPERM: operation not permitted, symlink'), { code: 'EPERM' }),
    );
  }
}

test('without symbolic links a fresh blob is moved into the snapshot, and one that is there copied', async () => {
  const cache_dir = scratch();
  const storage = new NoLinks(cache_dir);
  const commit = hub.add(NAME, OLD);
  const options = { endpoint: hub.url, cache_dir };
  const repository = await openQuick(NAME, options, storage);
  for (const [path, bytes] of Object.entries(OLD)) assert.equal(await bytesOf(repository, path), bytes);
  await repository.close();
  const moved = filesBelow(join(cache_dir, ROOT)).filter((path) => /blobs|snapshots/.test(path));
  assert.equal(
    moved,
    Object.keys(OLD)
      .map((path) => `snapshots/${commit}/${path}`)
      .sort(),
  );
  const offline = await openQuick(NAME, { ...options, local_files_only: true }, storage);
  assert.equal(await bytesOf(offline, 'model.safetensors'), OLD['model.safetensors']);
  const digest = sha256(NEW['model.safetensors']);
  mkdirSync(join(cache_dir, ROOT, 'blobs'), { recursive: true });
  writeFileSync(join(cache_dir, ROOT, 'blobs', digest), NEW['model.safetensors']);
  hub.add(NAME, NEW);
  hub.reset();
  const next = await openQuick(NAME, options, storage);
  assert.equal(await bytesOf(next, 'model.safetensors'), NEW['model.safetensors']);
  assert.is(hub.requests('cdn').length, 0);
  assert.ok(existsSync(join(cache_dir, ROOT, 'blobs', digest)));
});

test('where a model is pinned to a commit, sizes and sha256 of that commit are checked against the hub’s', async () => {
  const commit = commitOf('pinned');
  const [known] = knownModels() as unknown as {
    repository: string;
    revision: string | null;
    files: object;
    sha256?: object;
  }[];
  const before = { ...known };
  const listing = (size: number, digest: string) =>
    parseListing(
      JSON.stringify({
        sha: commit,
        siblings: [{ rfilename: 'model.safetensors', size: 1, lfs: { size, sha256: digest } }],
      }),
      { endpoint: new URL(hub.url), repository: known.repository, revision: 'main', hasToken: false },
    );
  const [right, wrong] = ['a'.repeat(64), 'b'.repeat(64)];
  try {
    Object.assign(known, {
      revision: commit,
      files: { 'model.safetensors': 7 },
      sha256: { 'model.safetensors': right },
    });
    assert.is(listing(7, right).commit, commit);
    for (const [size, digest] of [
      [8, right],
      [7, wrong],
    ] as const) {
      await rejects(() => listing(size, digest), HubError, {
        where: `${known.repository}@${commit}, model.safetensors`,
        expected: `7 bytes, sha256 ${right}`,
        got: `${size} bytes, sha256 ${digest}`,
      });
    }
    Object.assign(known, { revision: commitOf('another') });
    assert.is(listing(8, wrong).commit, commit, 'pins of another commit say nothing');
  } finally {
    Object.assign(known, before);
  }
});

test('the environment: HF_HUB_CACHE before HF_HOME before XDG_CACHE_HOME; HF_TOKEN before its file; HF_ENDPOINT; offline', async () => {
  const home = scratch();
  writeFileSync(join(home, 'token'), 'hf_from_file\n');
  const settings = (environment: Record<string, string>, options: HubOptions = {}) =>
    hubSettings(options, environment);
  const { HOME } = process.env;
  const cases: [Record<string, string>, string][] = [
    [{}, `${HOME}/.cache/huggingface/hub`],
    [{ XDG_CACHE_HOME: '/x' }, '/x/huggingface/hub'],
    [{ XDG_CACHE_HOME: '/x', HF_HOME: '~/hf' }, `${HOME}/hf/hub`],
    [{ HF_HOME: '/h', HUGGINGFACE_HUB_CACHE: '/old' }, '/old'],
    [{ HF_HOME: '/h', HUGGINGFACE_HUB_CACHE: '/old', HF_HUB_CACHE: '$BASE/new/', BASE: '/b' }, '/b/new'],
  ];
  for (const [environment, cache] of cases) assert.is((await settings(environment)).cacheDir, cache);
  assert.is((await settings({ HF_HUB_CACHE: '/c' }, { cache_dir: '/own' })).cacheDir, '/own');
  assert.is((await settings({ HF_HOME: home })).token, 'hf_from_file');
  assert.is((await settings({ HF_HOME: home, HF_TOKEN: ' hf_own\n' })).token, 'hf_own');
  assert.is((await settings({ HF_HOME: home }, { token: false })).token, undefined);
  assert.is((await settings({ HF_HOME: home, HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' })).token, undefined);
  assert.is((await settings({ HF_TOKEN_PATH: join(home, 'token') })).token, 'hf_from_file');
  assert.is((await settings({})).endpoint.href, 'https://huggingface.co/');
  assert.is(
    (await settings({ HF_ENDPOINT: 'https://mirror.example/hf' })).endpoint.href,
    'https://mirror.example/hf/',
  );
  for (const [name, value, offline] of [
    ['HF_HUB_OFFLINE', '1', true],
    ['HF_HUB_OFFLINE', 'true', true],
    ['HF_HUB_OFFLINE', '0', false],
    ['TRANSFORMERS_OFFLINE', 'ON', true],
  ] as const) {
    assert.is((await settings({ [name]: value })).offline, offline);
  }
  assert.is((await settings({ HF_HUB_OFFLINE: '1' }, { local_files_only: false })).offline, false);
});

test.run();
