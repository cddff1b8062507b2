import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type CheckpointLocation, type NamedFiles, openCheckpoint } from '../../src/checkpoint/folder.js';
import { writeSafetensors } from '../../src/checkpoint/safetensors-writer.js';
import { CheckpointError, InputError } from '../../src/errors.js';
import { rejects } from './helpers.js';

const INDEX = 'model.safetensors.index.json';
const SHARDS = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
const vector = (...data: number[]) => ({ dtype: 'F32' as const, shape: [data.length], data });
const first = writeSafetensors({ a: vector(1, 2), b: vector(3) });
const second = writeSafetensors({ c: vector(4, 5, 6) });
const index = (map: Record<string, unknown>) =>
  JSON.stringify({ metadata: { total_size: 24 }, weight_map: map });
const SHARDED = {
  'config.json': '{"model_type":"smolvlm"}',
  'text.txt': `é${'x'.repeat(200_000)}`,
  [INDEX]: index({ a: SHARDS[0], b: SHARDS[0], c: SHARDS[1] }),
  [SHARDS[0]]: first,
  [SHARDS[1]]: second,
};

const test = suite('checkpoint folders');
let path = '';
let url = '';
const requests: string[] = [];
const server = createServer(async (request, response) => {
  requests.push(`${request.method} ${request.url}`);
  const bytes = await readFile(join(path, decodeURIComponent(request.url!.replace('/models/', '')))).catch(
    () => null,
  );
  if (!bytes) return response.writeHead(404).end();
  if (!request.url!.endsWith('.txt'))
    return response.writeHead(200, { 'Content-Length': bytes.length }).end(bytes);
  response.writeHead(200, { 'Content-Encoding': 'gzip' }).end(gzipSync(bytes));
});
test.before(async () => {
  path = await mkdtemp(join(tmpdir(), 'smolvlm-folder-'));
  for (const [name, content] of Object.entries(SHARDED)) await writeFile(join(path, name), content);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/models`;
});
test.after(async () => {
  server.closeAllConnections();
  server.close();
  await rm(path, { recursive: true });
});

const locations: Record<string, () => CheckpointLocation> = {
  path: () => path,
  'path with a slash': () => `${path}/`,
  'file URL': () => pathToFileURL(path),
  'http URL': () => url,
  'record of files': () => SHARDED,
  'map of Blobs': () =>
    new Map(Object.entries(SHARDED).map(([name, content]) => [name, new Blob([content])])),
};
for (const [kind, location] of Object.entries(locations)) {
  test(`a checkpoint given by a ${kind}: files, shards, tensors and what is missing`, async () => {
    const folder = await openCheckpoint(location());
    assert.equal(await folder.json('config.json'), { model_type: 'smolvlm' });
    assert.is(await folder.text('text.txt'), SHARDED['text.txt']);
    assert.is(await folder.has('config.json'), true);
    assert.is(await folder.has('tokenizer.json'), false);
    await rejects(() => folder.text('tokenizer.json'), CheckpointError, {
      what: 'file missing',
      where: 'tokenizer.json',
      expected: 'a file',
      got: 'nothing',
    });
    const { files, tensors } = await folder.weights();
    assert.equal([...tensors.keys()], ['a', 'b', 'c']);
    assert.is(files.length, 2);
    assert.ok(tensors.get('c')!.file.name.endsWith(SHARDS[1]));
    assert.equal(await tensors.get('c')!.file.readFloat32('c'), Float32Array.of(4, 5, 6));
    assert.equal(await tensors.get('a')!.file.readFloat32('a'), Float32Array.of(1, 2));
    assert.is(await folder.weights(), await folder.weights());
    await folder.close();
    assert.equal(await tensors.get('b')!.file.readFloat32('b'), Float32Array.of(3));
    await folder.close();
  });
}

const broken: [string, NamedFiles, { what: string; where: string; expected: string; got: string }][] = [
  [
    'no weights',
    { 'config.json': '{}' },
    { what: 'no weights', where: 'files', expected: `model.safetensors or ${INDEX}`, got: 'neither' },
  ],
  [
    'a missing shard',
    { ...SHARDED, [SHARDS[1]]: undefined as never },
    {
      what: 'file missing',
      where: `shard ${SHARDS[1]}, named by ${INDEX}`,
      expected: 'a file',
      got: 'nothing',
    },
  ],
  [
    'a tensor that no shard holds',
    { ...SHARDED, [INDEX]: index({ a: SHARDS[0], b: SHARDS[0], c: SHARDS[1], d: SHARDS[1] }) },
    {
      what: 'does not fit',
      where: `${INDEX}, tensor d`,
      expected: `it in ${SHARDS[1]}`,
      got: 'no shard has it',
    },
  ],
  [
    'a tensor in another shard than the index says',
    { ...SHARDED, [INDEX]: index({ a: SHARDS[0], b: SHARDS[1], c: SHARDS[1] }) },
    {
      what: 'does not fit',
      where: `${INDEX}, tensor b`,
      expected: `it in ${SHARDS[1]}`,
      got: `it lies in ${SHARDS[0]}`,
    },
  ],
  [
    'a tensor in two shards',
    { ...SHARDED, [SHARDS[1]]: writeSafetensors({ c: vector(1), b: vector(3) }) },
    {
      what: 'the tensor is in two shards',
      where: 'tensor b',
      expected: `only ${SHARDS[0]}`,
      got: `${SHARDS[1]} too`,
    },
  ],
  [
    'a truncated shard',
    { ...SHARDED, [SHARDS[1]]: second.slice(0, -1) },
    {
      what: 'the file ends before',
      where: `${SHARDS[1]}, tensor c`,
      expected: `${second.length} bytes`,
      got: `${second.length - 1} bytes`,
    },
  ],
  [
    'a shard outside the folder',
    { ...SHARDED, [INDEX]: index({ a: '../secret.safetensors' }) },
    {
      what: 'no file name',
      where: `${INDEX}, tensor a`,
      expected: '.safetensors',
      got: '"../secret.safetensors"',
    },
  ],
  [
    'a shard that is a number',
    { ...SHARDED, [INDEX]: index({ a: 1 }) },
    { what: 'no file name', where: `${INDEX}, tensor a`, expected: '.safetensors', got: 'no string' },
  ],
  [
    'an index without a weight_map',
    { ...SHARDED, [INDEX]: '{"metadata":{}}' },
    { what: 'no weight_map', where: INDEX, expected: 'an object', got: 'none' },
  ],
  [
    'an index that names a tensor twice',
    { ...SHARDED, [INDEX]: `{"weight_map":{"a":"${SHARDS[0]}","a":"${SHARDS[1]}"}}` },
    { what: 'name given twice', where: `${INDEX}, character`, expected: 'once', got: '"a" again' },
  ],
  [
    'an index that is not JSON',
    { ...SHARDED, [INDEX]: 'no' },
    { what: 'malformed', where: `${INDEX}, character 0`, expected: 'a value', got: '"no"' },
  ],
  [
    'an index that is not UTF-8',
    { ...SHARDED, [INDEX]: Uint8Array.of(0xff) },
    { what: 'not UTF-8', where: INDEX, expected: 'JSON in UTF-8', got: 'other bytes' },
  ],
];
for (const [title, files, parts] of broken) {
  test(`${title}: an error that names it, and the next good checkpoint opens`, async () => {
    const folder = await openCheckpoint(files);
    await rejects(() => folder.weights(), CheckpointError, parts);
    assert.is((await (await openCheckpoint(SHARDED)).weights()).tensors.size, 3);
  });
}

test('model.safetensors goes before an index, as in the reference', async () => {
  const folder = await openCheckpoint({
    ...SHARDED,
    'model.safetensors': writeSafetensors({ z: vector(1) }),
  });
  assert.equal([...(await folder.weights()).tensors.keys()], ['z']);
});

test('a folder that is missing, or is a file, is an error that names it', async () => {
  await rejects(() => openCheckpoint(join(path, 'none')), CheckpointError, {
    what: 'checkpoint folder missing',
    where: join(path, 'none'),
    expected: 'config.json',
    got: 'nothing',
  });
  await rejects(() => openCheckpoint(join(path, 'config.json')), CheckpointError, {
    where: join(path, 'config.json'),
    expected: 'a folder',
    got: 'a file',
  });
});

test('a file that is not JSON, not UTF-8 or of a strange kind is an error that names it', async () => {
  const folder = await openCheckpoint({ 'a.json': '{', 'b.txt': Uint8Array.of(0xff), 'c.txt': 5 as never });
  await rejects(() => folder.json('a.json'), CheckpointError, {
    what: 'not JSON',
    where: 'a.json',
    expected: 'JSON',
    got: 'JSON',
  });
  await rejects(() => folder.text('b.txt'), CheckpointError, {
    where: 'b.txt',
    expected: 'text',
    got: 'other bytes',
  });
  await rejects(() => folder.text('c.txt'), InputError, {
    where: 'c.txt',
    expected: 'Uint8Array',
    got: 'Number',
  });
});

test('an aborted signal ends the opening with its reason', async () => {
  const reason = new Error('stop');
  for (const location of [path, SHARDED, url]) {
    const opening = openCheckpoint(location, { signal: AbortSignal.abort(reason) });
    assert.is(await opening.catch((error) => error), reason);
    const controller = new AbortController();
    const folder = await openCheckpoint(location, { signal: controller.signal });
    controller.abort(reason);
    assert.is(await folder.weights().catch((error) => error), reason);
  }
});

test('a refused connection is a CheckpointError that names the URL', async () => {
  const folder = await openCheckpoint('http://127.0.0.1:1/models/');
  const error = await folder.text('config.json').catch((caught) => caught);
  assert.ok(error instanceof CheckpointError);
  assert.ok(error.where.includes('http://127.0.0.1:1/models/config.json'), error.message);
});

test.run();
