import { existsSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { CheckpointFolder } from '../../src/checkpoint/folder.js';
import { scriptHasher } from '../../src/checkpoint/hub/hash.js';
import { PieceStorage, type PieceStore } from '../../src/checkpoint/hub/piece-storage.js';
import { cacheStore, opfsStore } from '../../src/checkpoint/hub/piece-stores.js';
import { hubSettings } from '../../src/checkpoint/hub/settings.js';
import { streamedRepository } from '../../src/checkpoint/hub/streamed.js';
import { readAll } from '../../src/checkpoint/source.js';
import { HubError } from '../../src/errors.js';
import { randomIntegers, rejects } from '../checkpoint/helpers.js';
import { chromium, runInBrowser } from '../platform/browser.js';
import { root, shapes } from '../support/paths.js';
import { fetchWorker, type WorkerModule } from '../support/workerd.js';
import { commitOf, gitSha1, sha256, TestHub, TOKEN } from './server.js';
import { bytesOf, openQuick, QUICK, randomBytes, shapesFiles } from './support.js';

const NAME = 'test-org/page';
const FILES = {
  'config.json': new TextEncoder().encode('{"a":1}'),
  'model.safetensors': randomBytes(300_000, 21),
};
const test = suite('hosts without a disk');
const hub = await new TestHub().start();
hub.add(NAME, FILES);
hub.add('test-org/shapes', shapesFiles(), { access: 'private' });
test.before.each(() => hub.reset());
test.after(() => hub.stop());

/** A directory of OPFS in memory, as much of it as is used; writes are seen when they are closed. */
class FakeFolder {
  readonly kind = 'directory';
  readonly entries_ = new Map<string, FakeFolder | FakeFile>();

  async getDirectoryHandle(name: string, { create = false } = {}): Promise<FakeFolder> {
    const found = this.entries_.get(name);
    if (found instanceof FakeFolder) return found;
    if (found || !create)
      throw new DOMException('no such folder', found ? 'TypeMismatchError' : 'NotFoundError');
    const folder = new FakeFolder();
    this.entries_.set(name, folder);
    return folder;
  }

  async getFileHandle(name: string, { create = false } = {}): Promise<FakeFile> {
    const found = this.entries_.get(name);
    if (found instanceof FakeFile) return found;
    if (found || !create)
      throw new DOMException('no such file', found ? 'TypeMismatchError' : 'NotFoundError');
    const file = new FakeFile();
    this.entries_.set(name, file);
    return file;
  }

  async removeEntry(name: string): Promise<void> {
    if (!this.entries_.delete(name)) throw new DOMException('no such file', 'NotFoundError');
  }

  async *[Symbol.asyncIterator]() {
    yield* this.entries_;
  }
}

class FakeFile {
  readonly kind = 'file';
  static full = false;
  bytes = new Uint8Array(0);

  async getFile(): Promise<Blob> {
    return new Blob([this.bytes]);
  }

  async createWritable() {
    let written: Uint8Array = new Uint8Array(0);
    return {
      write: async (bytes: Uint8Array) => {
        if (FakeFile.full) throw new DOMException('full', 'QuotaExceededError');
        written = bytes.slice();
      },
      close: async () => {
        this.bytes = written as Uint8Array<ArrayBuffer>;
      },
      abort: async () => {},
    };
  }
}

/** The Cache API in memory. */
function fakeCaches(): CacheStorage {
  const entries = new Map<string, Uint8Array<ArrayBuffer>>();
  const cache = {
    match: async (url: string) => (entries.has(url) ? new Response(entries.get(url)) : undefined),
    put: async (url: string, response: Response) => {
      entries.set(url, new Uint8Array(await response.arrayBuffer()));
    },
    delete: async (url: string) => entries.delete(url),
    keys: async () => [...entries.keys()].map((url) => ({ url })),
  };
  return { open: async () => cache } as unknown as CacheStorage;
}

async function fakeOpfs(): Promise<PieceStore> {
  const folder = new FakeFolder();
  const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  const storage = { getDirectory: async () => folder, estimate: async () => ({ quota: 1e9, usage: 0 }) };
  Object.defineProperty(globalThis, 'navigator', { value: { storage }, configurable: true });
  try {
    return (await opfsStore())!;
  } finally {
    if (before) Object.defineProperty(globalThis, 'navigator', before);
    else delete (globalThis as { navigator?: unknown }).navigator;
  }
}

const STORES: Record<string, () => Promise<PieceStore>> = {
  OPFS: fakeOpfs,
  'the Cache API': async () => (await cacheStore(fakeCaches()))!,
};
for (const [kind, make] of Object.entries(STORES)) {
  const open = (store: PieceStore, more = {}) =>
    openQuick(NAME, { endpoint: hub.url, ...more }, new PieceStorage(store, 40_000));

  test(`in ${kind} a file is kept in pieces, read back byte-exact, used offline, and listed`, async () => {
    const store = await make();
    const repository = await open(store);
    assert.equal(await bytesOf(repository, 'model.safetensors'), FILES['model.safetensors']);
    assert.equal(await bytesOf(repository, 'config.json'), FILES['config.json']);
    await repository.close();
    const pieces = (await store.keys('models--test-org--page/blobs/')).filter((key) =>
      key.includes('.pieces/'),
    );
    assert.ok(pieces.length >= 3, `${pieces.length} pieces`);
    hub.reset();
    const offline = await open(store, { local_files_only: true });
    const source = (await offline.open('model.safetensors'))!;
    assert.is(source.random, true);
    const part = new Uint8Array(70_000);
    await source.read(123_456, part);
    assert.equal(part, FILES['model.safetensors'].subarray(123_456, 193_456));
    assert.is(hub.seen.length, 0);
    assert.equal([...(await offline.paths())].sort(), ['config.json', 'model.safetensors']);
  });

  test(`in ${kind} 60 random cuts end byte-exact, and a page that is closed goes on at its last piece`, async () => {
    const random = randomIntegers(3);
    for (let i = 0; i < 30; i++) {
      hub.reset();
      hub.cuts = [random() % 300_000, random() % 300_000];
      assert.equal(await bytesOf(await open(await make()), 'model.safetensors'), FILES['model.safetensors']);
    }
    hub.reset();
    const store = await make();
    hub.cuts = [200_000];
    const error = await open(store, { max_attempts: 1 })
      .then((one) => bytesOf(one, 'model.safetensors'))
      .catch((caught) => caught);
    assert.is(error.code, 'Network');
    assert.is(await (await open(store)).cachedSize('model.safetensors'), undefined);
    hub.seen.length = 0;
    assert.equal(await bytesOf(await open(store), 'model.safetensors'), FILES['model.safetensors']);
    assert.match(hub.requests('cdn')[0].headers.range ?? '', /^bytes=1\d{5}-$/);
  });

  test(`in ${kind} wrong bytes are not kept, and a piece that the browser cleared is fetched again`, async () => {
    const store = await make();
    hub.fault = ({ host }) => (host === 'cdn' ? { body: (bytes) => bytes.slice().reverse() } : undefined);
    const error = await bytesOf(await open(store), 'model.safetensors').catch((caught) => caught);
    assert.is(error.code, 'ChecksumMismatch');
    assert.equal((await store.keys('models--test-org--page/blobs/')).length, 0);
    hub.fault = () => undefined;
    await bytesOf(await open(store), 'model.safetensors');
    const [piece] = (await store.keys('models--test-org--page/blobs/')).filter((key) =>
      key.endsWith('.pieces/2'),
    );
    await store.delete(piece);
    assert.is(await (await open(store)).cachedSize('model.safetensors'), undefined);
    assert.equal(await bytesOf(await open(store), 'model.safetensors'), FILES['model.safetensors']);
  });
}

test('a quota that is used up is a HubError NoSpace', async () => {
  const store = await fakeOpfs();
  FakeFile.full = true;
  try {
    const repository = await openQuick(NAME, { endpoint: hub.url }, new PieceStorage(store, 40_000));
    await rejects(() => bytesOf(repository, 'model.safetensors'), HubError, {
      what: 'no space left',
      where: 'opfs/models--test-org--page',
      expected: 'room for it',
      got: 'QuotaExceededError',
    });
  } finally {
    FakeFile.full = false;
  }
});

test('two openings of one page at once fetch a file once', async () => {
  const store = await fakeOpfs();
  hub.fault = ({ host }) => (host === 'cdn' ? { drip: 5_000 } : undefined);
  const one = async () =>
    bytesOf(await openQuick(NAME, { endpoint: hub.url }, new PieceStorage(store)), 'model.safetensors');
  for (const bytes of await Promise.all([one(), one(), one()]))
    assert.equal(bytes, FILES['model.safetensors']);
  assert.is(hub.requests('cdn').length, 1);
});

test('the hashes of places without node:crypto are those of OpenSSL, whatever the pieces', async () => {
  const random = randomIntegers(4);
  const bytes = randomBytes(100_000, 8);
  const git = new TextEncoder().encode(`blob ${bytes.length}\0`);
  for (let i = 0; i < 5; i++) {
    const [sha, sha1] = [await scriptHasher('sha256'), await scriptHasher('sha1')];
    sha1.update(git);
    for (let at = 0; at < bytes.length; ) {
      const piece = bytes.subarray(at, at + 1 + (random() % 5_000));
      sha.update(piece);
      sha1.update(piece);
      at += piece.length;
    }
    assert.equal([sha.digest(), sha1.digest()], [sha256(bytes), gitSha1(bytes)]);
  }
});

const streamed = async () => {
  const settings = await hubSettings({ endpoint: hub.url }, {});
  return streamedRepository(NAME, { ...settings, retry: { ...settings.retry, ...QUICK } }, {});
};

test('where nothing can be kept files are read as they arrive: forwards, back again, and over cut connections', async () => {
  const random = randomIntegers(5);
  const whole = FILES['model.safetensors'];
  for (let i = 0; i < 20; i++) {
    hub.reset();
    const files = await streamed();
    hub.cuts = [random() % 300_000, random() % 300_000];
    const source = (await files.open('model.safetensors'))!;
    const head = new Uint8Array(1_000);
    await source.read(0, head);
    if (i % 2) await source.close();
    await source.read(0, head);
    const rest = new Uint8Array(whole.length - 2_000);
    await source.read(2_000, rest);
    assert.equal([head, rest], [whole.subarray(0, 1_000), whole.subarray(2_000)]);
    await source.close();
  }
  const folder = new CheckpointFolder(await streamed());
  assert.equal(await folder.json('config.json'), { a: 1 });
  assert.is(await folder.has('tokenizer.json'), false);
});

test('a stream of wrong bytes is refused before its last byte is handed out', async () => {
  hub.fault = ({ host }) => (host === 'cdn' ? { body: (bytes) => bytes.slice().reverse() } : undefined);
  const source = (await (await streamed()).open('model.safetensors'))!;
  await source.read(0, new Uint8Array(100_000));
  await rejects(() => source.read(100_000, new Uint8Array(200_000)), HubError, {
    what: 'the bytes are not the file’s',
    where: NAME,
    expected: `sha256 ${sha256(FILES['model.safetensors'])}`,
    got: 'nothing of it was kept',
  });
  const again = (await (await streamed()).open('model.safetensors'))!;
  const error = await readAll(again, 1 << 20).catch((caught) => caught);
  assert.is(error.code, 'ChecksumMismatch');
});

interface Seen {
  first: string;
  second: string;
  offline: string;
  kept: string[];
  resumed: boolean;
  refused: string;
}

const SCRIPT = (endpoint: string) => `
  const library = await import('/dist/index.js');
  const options = { endpoint: '${endpoint}', token: '${TOKEN}', threads: 1 };
  const load = async (more) => {
    const model = await library.SmolVLMForConditionalGeneration.from_pretrained('test-org/shapes', { ...options, ...more });
    const { logits } = await model.forward({ input_ids: { dims: [1, 3], data: BigInt64Array.of(5n, 6n, 7n) } });
    model.dispose();
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', logits.data));
    return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  };
  seen.first = await load({}).catch((error) => error.code ?? String(error));
  seen.second = await load({});
  seen.offline = await load({ local_files_only: true });
  seen.refused = await load({ token: false, revision: 'v2' }).catch((error) => error.name + ' ' + (error.cause?.code ?? error.code));
  const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('smolvlm-wasm');
  seen.kept = await Array.fromAsync(folder.keys());
`;

const title =
  'in Chromium: a private model by name over CORS, a broken download resumed, kept in OPFS, the bits of Node';
if (chromium === undefined) {
  console.log(`SKIP ${title} (no Chromium: set CHROMIUM_PATH)`);
  test.skip(title, () => {});
} else {
  test(title, async () => {
    let cut = true;
    hub.fault = ({ host, method }) => {
      if (host !== 'cdn' || method !== 'GET' || !cut) return undefined;
      cut = false;
      const { length } = shapesFiles()['model.safetensors'];
      return { body: (bytes) => bytes.subarray(0, length / 2), length };
    };
    const seen = await runInBrowser<Seen>(SCRIPT(hub.url));
    assert.is(seen.error, undefined);
    const bits = await bitsInNode();
    assert.equal([seen.first, seen.second, seen.offline], [bits, bits, bits]);
    assert.is(seen.refused, 'CheckpointError RepoNotFound');
    assert.ok(seen.kept.includes('models--test-org--shapes'));
    const inPage = hub.requests('cdn').filter(({ headers }) => /Chrom/.test(headers['user-agent'] ?? ''));
    assert.equal(
      inPage.map(({ method, status }) => [method, status]),
      [
        ['GET', 200],
        ['GET', 206],
      ],
    );
    assert.ok(
      inPage.every(({ headers }) => headers.authorization === undefined),
      'the CDN got the token',
    );
  });
}

const atEdge =
  'in workerd: a private model by name is streamed with Node’s bits, wrong bytes are refused, nothing is kept';
const workerd = process.env.WORKERD_PATH;
if (workerd === undefined || !existsSync(workerd)) {
  console.log(`SKIP ${atEdge} (no workerd: set WORKERD_PATH)`);
  test.skip(atEdge, () => {});
} else {
  test(atEdge, async () => {
    const good = hub.repositories.get('test-org/shapes')!;
    const wrong: Record<string, Uint8Array> = { ...shapesFiles(), 'README.md': new Uint8Array(1) };
    good.commits[commitOf('wrong')] = wrong;
    good.refs.wrong = commitOf('wrong');
    let count = 0;
    hub.fault = ({ host }) => {
      // The first load is cut once, the second has wrong bytes in the weights' last part.
      if (host !== 'cdn') return undefined;
      const { length } = wrong['model.safetensors'];
      if (count++ === 0) return { body: (bytes) => bytes.subarray(0, length / 2), length };
      return count > 2 ? { body: (bytes) => bytes.slice().fill(0, -8) } : undefined;
    };
    const path = `/?endpoint=${encodeURIComponent(hub.url)}&token=${TOKEN}`;
    const modules: WorkerModule[] = [
      ['esModule', 'test/hub/workerd.mjs'],
      ['wasm', 'dist/kernels.wasm'],
    ];
    const seen = await fetchWorker<Record<string, string>>(workerd, modules, path);
    assert.equal(seen, {
      logits: await bitsInNode(),
      wrong: 'ChecksumMismatch',
      offline: 'NotCached',
      refused: 'RepoNotFound',
    });
  });
}

async function bitsInNode(): Promise<string> {
  const library = await import(`${root}/dist/index.js`);
  const model = await library.SmolVLMForConditionalGeneration.from_pretrained(shapes, { threads: 1 });
  const { logits } = await model.forward({ input_ids: { dims: [1, 3], data: BigInt64Array.of(5n, 6n, 7n) } });
  model.dispose();
  return sha256(new Uint8Array(logits.data.buffer, logits.data.byteOffset, logits.data.byteLength));
}

test.run();
