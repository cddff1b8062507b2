import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type ByteSource,
  blobSource,
  bytesSource,
  fileSource,
  readAll,
} from '../../src/checkpoint/source.js';
import { responseSource, urlSource } from '../../src/checkpoint/stream.js';
import { CheckpointError } from '../../src/errors.js';
import { rejects, streamed } from './helpers.js';

const DATA = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7 + (i >> 8)) & 255);

const test = suite('byte sources');
let folder = '';
let path = '';
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'smolvlm-source-'));
  path = join(folder, 'data.bin');
  await writeFile(path, DATA);
});
test.after(async () => {
  await rm(folder, { recursive: true });
});

const kinds: Record<string, () => Promise<ByteSource>> = {
  file: () => fileSource(path, 'data.bin'),
  blob: async () => blobSource(new Blob([DATA]), 'data.bin'),
  buffer: async () => bytesSource(DATA.buffer, 'data.bin'),
  bytes: async () => bytesSource(DATA, 'data.bin'),
  'stream with a length': async () =>
    responseSource(streamed(DATA, 33, { 'Content-Length': '1000' }), 'data.bin'),
  'stream without a length': async () => responseSource(streamed(DATA, 1), 'data.bin'),
};

for (const [kind, open] of Object.entries(kinds)) {
  test(`a ${kind} gives the bytes at each offset, and says where it ends early`, async () => {
    const source = await open();
    assert.is(source.size, kind.includes('without') ? null : 1000);
    for (const [offset, length] of [
      [0, 8],
      [8, 0],
      [8, 100],
      [500, 300],
      [900, 99],
    ]) {
      const into = new Uint8Array(length);
      await source.read(offset, into);
      assert.equal(into, DATA.slice(offset, offset + length));
    }
    await rejects(() => source.read(999, new Uint8Array(5)), CheckpointError, {
      what: 'the file ends early',
      where: 'data.bin, byte 999',
      expected: '5 bytes',
      got: '1 bytes',
    });
    await source.close();
  });

  test(`a ${kind} is read by nobody once the signal is aborted`, async () => {
    const source = await open();
    const reason = new Error('enough');
    await source.read(0, new Uint8Array(4), AbortSignal.timeout(1_000_000));
    const error = await source
      .read(4, new Uint8Array(4), AbortSignal.abort(reason))
      .catch((caught) => caught);
    assert.is(error, reason);
    await source.close();
  });

  test(`a ${kind} is read whole, up to a limit`, async () => {
    const source = await open();
    assert.equal(await readAll(source, 1_000_000), DATA);
    await source.close();
    if (source.size === null) return;
    await rejects(() => readAll(source, 999), CheckpointError, {
      what: 'the file is too long',
      where: 'data.bin',
      expected: 'at most 999 bytes',
      got: '1000',
    });
  });
}

test('a stream without a length is not read beyond the limit', async () => {
  let pulled = 0;
  const endless = new Response(
    new ReadableStream<Uint8Array<ArrayBuffer>>({
      pull(controller) {
        pulled += 4096;
        controller.enqueue(new Uint8Array(4096));
      },
    }),
  );
  await rejects(() => readAll(responseSource(endless, 'endless'), 1 << 18), CheckpointError, {
    where: 'endless',
    expected: `at most ${1 << 18} bytes`,
    got: `${1 << 19}`,
  });
  assert.ok(pulled < 1 << 20, `${pulled} bytes pulled`);
});

test('a stream cannot be read backwards, and says how far it is', async () => {
  const source = responseSource(streamed(DATA, 10), 'data.bin');
  await source.read(50, new Uint8Array(10));
  await rejects(() => source.read(20, new Uint8Array(1)), CheckpointError, {
    what: 'a stream cannot be read backwards',
    where: 'data.bin',
    expected: 'an offset of 60 or more',
    got: '20',
  });
});

test('two reads of a stream at once do not share out its bytes', async () => {
  const source = responseSource(streamed(DATA, 3), 'data.bin');
  const first = new Uint8Array(100);
  const second = new Uint8Array(100);
  await Promise.all([source.read(0, first), source.read(100, second)]);
  assert.equal(first, DATA.slice(0, 100));
  assert.equal(second, DATA.slice(100, 200));
});

test('a stalled stream gives way to the signal', async () => {
  const stalled = new Response(
    new ReadableStream<Uint8Array<ArrayBuffer>>({ pull: () => new Promise(() => {}) }),
  );
  const controller = new AbortController();
  const reading = responseSource(stalled, 'stalled').read(0, new Uint8Array(1), controller.signal);
  setTimeout(() => controller.abort(), 20);
  const error = await reading.catch((caught) => caught);
  assert.is(error.name, 'AbortError');
});

test('a response that is not ok is an error with its status; 404 is a missing file', async () => {
  await rejects(() => responseSource(new Response('no', { status: 500 }), 'x'), CheckpointError, {
    where: 'x',
    expected: 'status 200',
    got: 'status 500',
  });
  await rejects(() => responseSource(new Response('no', { status: 404 }), 'x'), CheckpointError, {
    what: 'file missing',
    where: 'x',
    expected: 'a file',
    got: 'nothing',
  });
});

test('a missing file and a folder are errors that name the path', async () => {
  await rejects(() => fileSource(join(folder, 'none')), CheckpointError, {
    what: 'file missing',
    where: join(folder, 'none'),
    expected: 'a file',
    got: 'nothing',
  });
  await rejects(() => fileSource(folder), CheckpointError, {
    where: folder,
    expected: 'a file',
    got: 'a directory',
  });
});

test('a closed file is opened again by the next read', async () => {
  const source = await fileSource(path);
  await source.read(0, new Uint8Array(1));
  await source.close();
  await source.close();
  const into = new Uint8Array(3);
  await source.read(10, into);
  assert.equal(into, DATA.slice(10, 13));
  await source.close();
});

for (const ranges of [true, false]) {
  test(`a URL is read forwards as one stream and backwards by a new request (server ${ranges ? 'with' : 'without'} ranges)`, async () => {
    const requests: (string | undefined)[] = [];
    const server: Server = createServer((request, response) => {
      requests.push(request.headers.range);
      const from = ranges ? Number(/\d+/.exec(request.headers.range ?? '0')?.[0]) : 0;
      response.writeHead(from > 0 ? 206 : 200, { 'Content-Length': DATA.length - from });
      response.end(DATA.subarray(from));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const source = await urlSource(`http://127.0.0.1:${port}/data.bin`, 'data.bin');
      assert.is(source.size, 1000);
      const into = new Uint8Array(10);
      for (const offset of [0, 500, 100]) {
        await source.read(offset, into);
        assert.equal(into, DATA.slice(offset, offset + 10));
      }
      await source.close();
      await source.read(300, into);
      assert.equal(into, DATA.slice(300, 310));
      await rejects(() => source.read(995, into), CheckpointError, {
        where: 'data.bin, byte 995',
        expected: '10 bytes',
        got: '5 bytes',
      });
      await source.close();
      assert.equal(requests, [undefined, 'bytes=100-', 'bytes=300-']);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
}

test.run();
