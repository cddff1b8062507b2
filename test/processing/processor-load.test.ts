/** Pictures by path, URL, data URL and base64, and what cannot be loaded. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ImageError, InputError, type SmolVLMError } from '../../src/errors.js';
import { load_image } from '../../src/processing/index.js';
import { FIXTURES, fixtureBytes, sha256 } from './pictures.js';
import { loadProcessor, OWN } from './text-fixtures.js';

const processor = loadProcessor(OWN);
const picture = fixtureBytes('rgb_8.png');
const path = join(FIXTURES, 'images', 'rgb_8.png');
const base64 = Buffer.from(picture).toString('base64');
const folder = mkdtempSync(join(tmpdir(), 'smolvlm-load-'));

let server: Server;
let base: string;

test.before(async () => {
  server = createServer((request, response) => {
    const headers: Record<string, string> = { 'content-type': 'image/png' };
    if (request.url === '/a.png') response.writeHead(200, headers).end(picture);
    else if (request.url === '/page') response.writeHead(200, { 'content-type': 'text/html' }).end('<html>');
    else if (request.url === '/large')
      response.writeHead(200, { ...headers, 'content-length': '1000000' }).end();
    else if (request.url === '/endless') {
      response.writeHead(200, headers);
      const timer = setInterval(() => response.write(Buffer.alloc(4096)), 1);
      response.on('close', () => clearInterval(timer));
    } else if (request.url === '/silent') response.writeHead(200, headers).flushHeaders();
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

test.after(() => {
  server.closeAllConnections();
  server.close();
});

async function refusal(action: () => unknown): Promise<SmolVLMError> {
  try {
    await action();
  } catch (error) {
    return error as SmolVLMError;
  }
  throw new Error('nothing was thrown');
}

test('a path, file URL, http URL, data URL and base64 give the same bytes', async () => {
  const data = `data:image/png;base64,${base64}`;
  const sources = [
    path,
    pathToFileURL(path),
    pathToFileURL(path).href,
    `${base}/a.png`,
    new URL(`${base}/a.png`),
  ];
  for (const source of [...sources, data, base64]) {
    const bytes = await load_image(source);
    assert.instance(bytes, Uint8Array);
    assert.is(sha256(bytes), sha256(picture), String(source).slice(0, 60));
  }
});

test('process and messages take pictures by path, URL, data URL, base64, Blob, bytes and pixels', async () => {
  const want = await processor.process({ text: '<image>What?', images: picture });
  const data = `data:image/png;base64,${base64}`;
  const blob = new Blob([picture as Uint8Array<ArrayBuffer>]);
  for (const image of [path, new URL(`${base}/a.png`), data, base64, blob, picture, picture.slice().buffer]) {
    const got = await processor.process({ text: '<image>What?', images: [[image]] });
    assert.equal(got.pixel_values, want.pixel_values);
    assert.equal(got.input_ids, want.input_ids);
  }
  const sources = [
    { path },
    { url: path },
    { url: `${base}/a.png` },
    { url: data },
    { image: data },
    { image: new URL(`${base}/a.png`) },
    { base64 },
    { image: blob },
    { image: picture },
  ];
  for (const source of sources) {
    const messages = [
      {
        role: 'user',
        content: [
          { type: 'image', ...source },
          { type: 'text', text: 'What?' },
        ],
      },
    ];
    const got = await processor.apply_chat_template(messages, { tokenize: true, return_dict: true });
    assert.equal(got.pixel_values, want.pixel_values, Object.keys(source).join());
  }
});

test('what cannot be loaded: InputError with the source, its place, expected and got', async () => {
  const cases: [string, string | RegExp, string | RegExp][] = [
    [join(folder, 'missing.png'), 'the path of a file', 'no file'],
    [folder, 'the path of a file', 'no file'],
    ['', 'the path of a file', 'no file'],
    ['ftp://example.org/a.png', 'a URL with http:// or https://', 'no file'],
    [`${base}/missing`, 'status 200', 'status 404'],
    [`${base}/page`, 'a picture or video', 'text/html'],
    ['http://127.0.0.1:1/a.png', 'can be fetched', /./],
    ['data:image/png,plain', 'base64', 'data:image/png'],
    ['data:image/png', 'base64', 'no comma'],
    ['data:image/png;base64,*', 'base64', /./],
    [`${'x'.repeat(5000)}\0`, 'the path of a file', 'no file'],
  ];
  for (const [source, expected, got] of cases) {
    const error = await refusal(() => load_image(source));
    assert.instance(error, InputError, `${source}: ${error}`);
    assert.match(error.expected!, expected);
    assert.match(error.got!, got);
    const placed = await refusal(() => processor.process({ text: '<image>', images: [[source]] }));
    assert.instance(placed, InputError);
    assert.match(placed.where, 'images[0][0]');
  }
  writeFileSync(join(folder, 'text.png'), 'no picture at all, and long enough');
  const error = await refusal(() => processor.process({ text: '<image>', images: join(folder, 'text.png') }));
  assert.instance(error, ImageError);
  assert.match(error.where, 'images[0][0]');
});

test('files over max_bytes are refused before they are read, and streams while they are', async () => {
  for (const [source, got] of [
    [path, String(picture.length)],
    [`${base}/large`, '1000000'],
    [`${base}/endless`, /^more than \d+$/],
    [`data:image/png;base64,${'A'.repeat(4000)}`, /^about 3000$/],
  ] as const) {
    const error = await refusal(() => load_image(source, { max_bytes: 20 }));
    assert.instance(error, InputError, `${source}: ${error}`);
    assert.match(error.expected!, 'at most 20 bytes');
    assert.match(error.got!, got);
  }
  const error = await refusal(() => processor.process({ text: '<image>', images: path, max_bytes: 20 }));
  assert.match(error.expected!, 'at most 20 bytes');
});

test('an aborted signal ends loading with its reason, before it begins and while the server is silent', async () => {
  const reason = new Error('enough');
  assert.is(await refusal(() => load_image(path, { signal: AbortSignal.abort(reason) })), reason);
  for (const url of [`${base}/silent`, `${base}/endless`]) {
    const controller = new AbortController();
    const loading = refusal(() =>
      processor.process({ text: '<image>', images: url, signal: controller.signal }),
    );
    setTimeout(() => controller.abort(reason), 50);
    assert.is(await loading, reason as never);
  }
});

test('load_image of the options reads in place of fetch and the file system, for pictures and videos', async () => {
  const asked: unknown[] = [];
  const load = async (source: unknown) => {
    asked.push(source);
    return picture;
  };
  const want = await processor.process({ text: '<image>', images: picture });
  const got = await processor.process({ text: '<image>', images: 'gs://a/b.png', load_image: load });
  assert.equal(got.pixel_values, want.pixel_values);
  const messages = [{ role: 'user', content: [{ type: 'video', video: ['f1.png', 'f2.png'] }] }];
  const film = await processor.apply_chat_template(messages, {
    tokenize: true,
    load_image: load,
    do_sample_frames: false,
  });
  assert.is(film.pixel_values!.dims[1], 2);
  assert.equal(asked, [{ url: 'gs://a/b.png' }, { path: 'f1.png' }, { path: 'f2.png' }]);
  const bad = async () => 'text' as never;
  const error = await refusal(() => processor.process({ text: '<image>', images: 'x', load_image: bad }));
  assert.instance(error, InputError);
  assert.is(error.got, 'string');
});

test.run();
