import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { HubOptions } from '../../src/checkpoint/hub/options.js';
import { HubError } from '../../src/errors.js';
import { randomIntegers, rejects } from '../checkpoint/helpers.js';
import { type Fault, type Seen, sha256, TestHub } from './server.js';
import { bytesOf, filesBelow, openQuick, randomBytes, scratch } from './support.js';

const NAME = 'test-org/broken';
const CUTS = 240;
const LARGE = randomBytes(200_000, 1);
const SMALL = new TextEncoder().encode(JSON.stringify({ text: 'é'.repeat(3000) }));

const test = suite('broken downloads');
const hub = await new TestHub().start();
const commit = hub.add(NAME, {
  'model.safetensors': LARGE,
  'config.json': SMALL,
  'empty.txt': new Uint8Array(0),
});
const BLOB = sha256(LARGE);
test.before.each(() => hub.reset());
test.after(() => hub.stop());

const open = (options: HubOptions) => openQuick(NAME, { endpoint: hub.url, ...options });

/** Where the weights of a cache lie, finished or not. */
const places = (cache: string) => {
  const root = join(cache, 'models--test-org--broken');
  const blob = join(root, 'blobs', BLOB);
  return {
    blob,
    file: join(root, 'snapshots', commit, 'model.safetensors'),
    partial: `${blob}.smolvlm.incomplete`,
  };
};

/** Nothing can be loaded that is not whole. */
function assertNothingPartial(cache: string): void {
  for (const path of filesBelow(cache).filter((path) => /\/(blobs|snapshots)\//.test(path))) {
    if (/\.smolvlm\.incomplete(\.json)?$/.test(path)) continue;
    const bytes = readFileSync(join(cache, path));
    const isWhole = [LARGE, SMALL].some((file) => Buffer.compare(bytes, file) === 0) || bytes.length === 0;
    assert.ok(isWhole, `${path} has ${bytes.length} bytes that are no file's`);
  }
}

/** Faults for requests for the weights to the CDN, by their number; none after the last. */
const atWeights = (...faults: (Fault | undefined)[]) => {
  let count = 0;
  hub.fault = ({ host, method }: Seen) => (host === 'cdn' && method === 'GET' ? faults[count++] : undefined);
};

test(`${CUTS} connections cut at random bytes, heads and redirects included: the file is byte-exact in the end`, async () => {
  const random = randomIntegers(20_26);
  // What a download sends in all: listing, redirects, heads, bodies.
  const whole = LARGE.length + SMALL.length + 2_000;
  let resumed = 0;
  for (let cut = 0; cut < CUTS; ) {
    const cache_dir = scratch();
    hub.reset();
    const count = 1 + (random() % 4);
    // Half of the cuts lie near the start, where the heads are.
    hub.cuts = Array.from({ length: count }, () => random() % (random() % 2 ? whole : 3_000));
    cut += count;
    const repository = await open({ cache_dir });
    assert.equal(await bytesOf(repository, 'config.json'), SMALL);
    assert.equal(await bytesOf(repository, 'model.safetensors'), LARGE);
    assert.equal(hub.cuts.length < count, true, 'not one connection was cut');
    assertNothingPartial(cache_dir);
    assert.equal(
      filesBelow(cache_dir).filter((path) => /incomplete|lock/.test(path)),
      [],
    );
    resumed += hub.requests('cdn').filter(({ status }) => status === 206).length;
  }
  assert.ok(resumed > CUTS / 10, `only ${resumed} downloads were resumed`);
});

test('60 downloads given up at a random byte end in a HubError, leave nothing that loads, and a second run ends whole', async () => {
  const random = randomIntegers(7);
  for (let i = 0; i < 60; i++) {
    const cache_dir = scratch();
    hub.reset();
    hub.cuts = [random() % (LARGE.length + 4_000)];
    const first = await openQuick(NAME, { endpoint: hub.url, cache_dir, max_attempts: 1 })
      .then((repository) => bytesOf(repository, 'model.safetensors'))
      .catch((error) => error);
    assertNothingPartial(cache_dir);
    if (first instanceof Error) {
      assert.instance(first, HubError);
      assert.is((first as HubError).code, 'Network');
      assert.not.ok(existsSync(places(cache_dir).file));
    } else assert.equal(first, LARGE);
    hub.cuts = [];
    assert.equal(await bytesOf(await open({ cache_dir }), 'model.safetensors'), LARGE);
  }
});

test('a resume asks by Range and If-Range with the etag of the bytes that are there, and fetches only the rest', async () => {
  const cache_dir = scratch();
  atWeights({ body: (bytes) => bytes.subarray(0, 50_000), length: LARGE.length });
  assert.equal(await bytesOf(await open({ cache_dir }), 'model.safetensors'), LARGE);
  const [first, second] = hub.requests('cdn');
  assert.is(first.headers.range, undefined);
  const from = Number(/^bytes=(\d+)-$/.exec(second.headers.range!)![1]);
  assert.ok(from > 0 && from <= 50_000);
  assert.is(second.headers['if-range'], `"cdn-${BLOB.slice(0, 20)}"`);
  assert.equal([second.status, second.sent], [206, LARGE.length - from]);
});

test('without a validator nothing is resumed: the second request has no Range', async () => {
  for (const etag of [null, 'W/"weak"']) {
    hub.reset();
    const cut: Fault = { body: (bytes) => bytes.subarray(0, 50_000), length: LARGE.length, etag };
    atWeights(cut, { etag });
    assert.equal(await bytesOf(await open({ cache_dir: scratch() }), 'model.safetensors'), LARGE);
    const requests = hub.requests('cdn');
    assert.equal(
      requests.map(({ headers, sent }) => [headers.range, headers['if-range'], sent]),
      [
        [undefined, undefined, 50_000],
        [undefined, undefined, LARGE.length],
      ],
    );
  }
});

const CUT: Fault = { body: (bytes) => bytes.subarray(0, 90_000), length: LARGE.length };
const garbage = randomBytes(5_000, 3);
const RECOVERIES: Record<string, Fault[]> = {
  'a 200 for the range starts anew': [CUT, { ignoreRange: true }],
  'a 206 of another range starts anew': [
    CUT,
    { contentRange: `bytes 0-${LARGE.length - 1}/${LARGE.length}` },
  ],
  'a 206 of a longer file starts anew': [
    CUT,
    { contentRange: `bytes 90000-${LARGE.length - 1}/${LARGE.length + 1}` },
  ],
  'a 206 without Content-Range starts anew': [CUT, { contentRange: '' }],
  'another etag for the range starts anew': [CUT, { etag: '"another"' }],
  'a 416 starts anew': [CUT, { status: 416 }],
  'one wrong byte: the whole is fetched once more': [{ body: (bytes) => flipped(bytes, 123_456) }],
  'wrong bytes after a resume: the whole is fetched once more': [
    CUT,
    { body: (bytes) => flipped(bytes, 10) },
  ],
  'garbage after the end is none of the file': [
    { body: (bytes) => joined(bytes, garbage), length: LARGE.length + 5_000 },
    {},
  ],
  'a body that is shorter than the file, with its own length': [
    { body: (bytes) => bytes.subarray(0, 1_000) },
  ],
  'slow drips': [{ drip: 20_000 }],
  '429 with Retry-After': [{ status: 429, headers: { 'retry-after': '0' } }],
  '500, 502, 503, 504': [{ status: 500 }, { status: 502 }, { status: 503 }, { status: 504 }],
  'a connection that falls silent': [{ stallAfter: 70_000 }, { stallAfter: 30_000 }, {}],
};
for (const [title, faults] of Object.entries(RECOVERIES)) {
  test(`${title}, and the file is byte-exact`, async () => {
    const cache_dir = scratch();
    atWeights(...faults);
    const repository = await open({ cache_dir, timeout: 150 });
    assert.equal(await bytesOf(repository, 'model.safetensors'), LARGE);
    assert.ok(hub.requests('cdn').length > (title === 'slow drips' ? 0 : 1), 'nothing went wrong');
    assertNothingPartial(cache_dir);
    assert.not.ok(existsSync(places(cache_dir).partial));
  });
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] ^= 1;
  return copy;
}

function joined(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

const GIVEN_UP: Record<string, [Fault, Partial<HubError>]> = {
  'wrong bytes for ever': [
    { body: (bytes) => flipped(bytes, 5) },
    {
      code: 'ChecksumMismatch',
      what: 'the bytes are not the file’s',
      expected: `sha256 ${BLOB}`,
      got: 'nothing of it was kept',
    },
  ],
  'a wrong length for ever': [
    { body: (bytes) => bytes.subarray(0, 777) },
    { code: 'SizeMismatch', what: 'the file has another length', expected: '200000 bytes', got: '777 bytes' },
  ],
  'silence for ever': [
    { stallAfter: 0 },
    {
      code: 'Timeout',
      what: 'the connection fell silent',
      expected: 'a byte now and then',
      got: 'none for 30 ms',
    },
  ],
  '429 for ever': [
    { status: 429, headers: { 'retry-after': '0.01' } },
    {
      code: 'RateLimited',
      status: 429,
      what: 'the hub limits the rate',
      expected: 'a later try, or a token',
      got: '429',
    },
  ],
  '503 for ever': [
    { status: 503 },
    { code: 'ServerError', status: 503, what: 'the hub has a fault', expected: 'a later try', got: '503' },
  ],
};
for (const [title, [fault, { code, status, ...parts }]] of Object.entries(GIVEN_UP)) {
  test(`${title}: a HubError ${code} after a bounded number of tries, and nothing that loads`, async () => {
    const cache_dir = scratch();
    hub.fault = ({ host }) => (host === 'cdn' ? fault : undefined);
    const repository = await open({ cache_dir, timeout: 30, max_attempts: 4 });
    const where = 'test-org/broken@';
    const caught = await bytesOf(repository, 'model.safetensors').catch((error) => error);
    await rejects(() => Promise.reject(caught), HubError, {
      where,
      expected: parts.expected!,
      got: parts.got!,
      what: parts.what,
    });
    assert.equal([caught.code, caught.status], [code, status]);
    assert.is(hub.requests('cdn').length, code === 'ChecksumMismatch' ? 2 : 4);
    assertNothingPartial(cache_dir);
    assert.equal(
      filesBelow(cache_dir).filter((path) => /lock$|snapshots.*safetensors/.test(path)),
      [],
    );
    if (code === 'ChecksumMismatch') assert.not.ok(existsSync(places(cache_dir).partial), 'wrong bytes stay');
  });
}

test('failures are counted only while nothing is gained: 30 cuts in a row with 3 attempts end whole', async () => {
  hub.cuts = Array.from({ length: 30 }, () => 6_000);
  const repository = await open({ cache_dir: scratch(), max_attempts: 3 });
  assert.equal(await bytesOf(repository, 'model.safetensors'), LARGE);
  assert.is(hub.cuts.length, 0);
});

test('a partial file that is damaged on disk, or longer than the file, is found out and fetched anew', async () => {
  for (const left of [flipped(LARGE, 17).subarray(0, 60_000), joined(LARGE, garbage), LARGE.subarray(0, 1)]) {
    hub.reset();
    const cache_dir = scratch();
    await bytesOf(await open({ cache_dir }), 'config.json');
    const { partial } = places(cache_dir);
    writeFileSync(partial, left);
    writeFileSync(`${partial}.json`, JSON.stringify({ validator: `"cdn-${BLOB.slice(0, 20)}"` }));
    assert.equal(await bytesOf(await open({ cache_dir }), 'model.safetensors'), LARGE);
    assertNothingPartial(cache_dir);
    assert.not.ok(existsSync(partial));
  }
});

test('a cached file of another length than the hub says is none: it is fetched again', async () => {
  const cache_dir = scratch();
  await bytesOf(await open({ cache_dir }), 'model.safetensors');
  writeFileSync(places(cache_dir).blob, LARGE.subarray(0, 1000));
  assert.equal(await bytesOf(await open({ cache_dir }), 'model.safetensors'), LARGE);
  assert.is(hub.requests('cdn').length, 2);
});

test('an empty file is a file', async () => {
  const cache_dir = scratch();
  const repository = await open({ cache_dir });
  assert.is((await bytesOf(repository, 'empty.txt'))?.length, 0);
  await repository.close();
  assert.is((await bytesOf(await open({ cache_dir, local_files_only: true }), 'empty.txt'))?.length, 0);
});

test('an abort in mid-download rejects with its reason, keeps the part for a resume, releases the lock and the connection', async () => {
  const cache_dir = scratch();
  const controller = new AbortController();
  const reason = new DOMException('enough', 'AbortError');
  atWeights({ drip: 2_000 });
  const repository = await open({
    cache_dir,
    signal: controller.signal,
    progress_callback: ({ status, loaded }) => {
      if (status === 'progress' && loaded > 20_000) controller.abort(reason);
    },
  });
  const error = await repository.open('model.safetensors').catch((caught) => caught);
  assert.is(error, reason);
  const { partial, file } = places(cache_dir);
  const left = readFileSync(partial).length;
  assert.ok(left > 20_000 && left < LARGE.length);
  assert.not.ok(existsSync(file));
  assert.equal(
    filesBelow(cache_dir).filter((path) => path.endsWith('lock')),
    [],
  );
  await new Promise((done) => setTimeout(done, 30));
  const { sent } = hub.requests('cdn')[0];
  await new Promise((done) => setTimeout(done, 30));
  assert.is(hub.requests('cdn')[0].sent, sent, 'the server still sends');
  assert.equal(await bytesOf(await open({ cache_dir }), 'model.safetensors'), LARGE);
  assert.is(hub.requests('cdn')[1].headers.range, `bytes=${left}-`);
});

test('an abort while the hub is slow to answer, and one during a pause between tries, reject at once', async () => {
  for (const fault of [
    { delayMs: 2_000 },
    { status: 503, headers: { 'retry-after': '50' } },
  ] satisfies Fault[]) {
    hub.reset();
    hub.fault = () => fault;
    const controller = new AbortController();
    const started = performance.now();
    setTimeout(() => controller.abort(), 20);
    const options = { endpoint: hub.url, cache_dir: scratch(), signal: controller.signal };
    const error = await openQuick(NAME, options).catch((caught) => caught);
    assert.is(error.name, 'AbortError');
    assert.ok(performance.now() - started < 1_000);
  }
});

test.run();
