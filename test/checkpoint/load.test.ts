import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/folder.js';
import { type LoadOptions, loadWeights, weightMemoryBytes } from '../../src/checkpoint/load.js';
import type { ExpectedTensor } from '../../src/checkpoint/manifest.js';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import { type TensorToWrite, writeSafetensors } from '../../src/checkpoint/safetensors-writer.js';
import type { Shards } from '../../src/checkpoint/shards.js';
import { type ByteSource, bytesSource } from '../../src/checkpoint/source.js';
import { responseSource } from '../../src/checkpoint/stream.js';
import { CheckpointError, DisposedError, MemoryError } from '../../src/errors.js';
import { loadModel } from '../../src/model/load.js';
import { uniformDtypes } from '../../src/model/weight-dtypes.js';
import { Engine } from '../../src/runtime/engine.js';
import type { PanelDtype, Weight, WeightDtype } from '../../src/runtime/weight.js';
import { shapes } from '../support/paths.js';
import { randomIntegers, rejects, streamed } from './helpers.js';

const DTYPES = ['F32', 'F16', 'BF16'] as const;
const BYTES = { F32: 4, F16: 2, BF16: 2 };

/** A tensor of random bits (all patterns, NaN included) and what a checkpoint expects of it. */
function tensorOf(
  name: string,
  dtype: WeightDtype,
  shape: number[],
  seed: number,
): [ExpectedTensor, TensorToWrite] {
  const [N, ...inner] = shape;
  const K = inner.reduce((product, size) => product * size, 1);
  const random = randomIntegers(seed);
  const data = new Uint8Array(N * K * BYTES[dtype]);
  const words = new Uint32Array(data.buffer, 0, data.length >> 2);
  for (let i = 0; i < words.length; i++) words[i] = random();
  const layout = shape.length === 1 ? 'vector' : 'panel';
  return [
    { name, shape, dtypes: DTYPES, layout, N, K },
    { dtype, shape, data },
  ];
}

async function shardsOf(...sources: ByteSource[]): Promise<Shards> {
  const files = await Promise.all(sources.map((source) => openSafetensors(source)));
  const tensors = new Map(
    files.flatMap((file) =>
      [...file.tensors.values()].map((info) => [info.name, { ...info, file }] as const),
    ),
  );
  return { files, tensors };
}

/** Compares a loaded weight, byte for byte, with the panels or the float32 values that it must be. */
async function checkWeight(
  engine: Engine,
  weight: Weight,
  written: TensorToWrite,
  shards: Shards,
): Promise<void> {
  const { name, layout, N, K, pointer, dtype } = weight;
  assert.is(dtype, written.dtype);
  assert.equal(weight.shape, written.shape);
  assert.is(pointer % 64, 0);
  if (layout === 'vector') {
    const expected = await shards.tensors.get(name)!.file.readFloat32(name);
    const got = engine.u8(pointer, 4 * N);
    assert.ok(Buffer.compare(got, new Uint8Array(expected.buffer, 0, 4 * N)) === 0, `${name} differs`);
    return;
  }
  const size = BYTES[dtype as WeightDtype];
  const source = written.data as Uint8Array;
  const panels = Math.ceil(N / 8);
  const expected = new Uint8Array(panels * 8 * K * size);
  for (let n = 0; n < N; n++) {
    for (let k = 0; k < K; k++) {
      const from = (n * K + k) * size;
      const to = (((n >> 3) * K + k) * 8 + (n & 7)) * size;
      for (let byte = 0; byte < size; byte++) expected[to + byte] = source[from + byte];
    }
  }
  assert.ok(Buffer.compare(engine.u8(pointer, expected.length), expected) === 0, `${name} differs`);
}

/** Shapes about the panel of 8 rows and the piece of a mebibyte: below, at, above, and rows longer than a piece. */
const SHAPES: number[][] = [
  [1],
  [7],
  [64],
  [300_000],
  [1, 1],
  [8, 3],
  [9, 5],
  [3, 2, 2, 3],
  [17, 33],
  [1025, 520],
  [11, 70_001],
];

for (const dtype of DTYPES) {
  test(`${dtype}: matrices become panels and vectors float32, bit for bit, from buffers, streams and shards`, async () => {
    const pairs = SHAPES.map((shape, i) => tensorOf(`t.${i}.${shape.join('x')}`, dtype, shape, i + 1));
    const expected = pairs.map(([tensor]) => tensor);
    const written = Object.fromEntries(pairs.map(([{ name }, tensor]) => [name, tensor]));
    const bytes = writeSafetensors(written);
    const half = (odd: number) =>
      writeSafetensors(Object.fromEntries(Object.entries(written).filter((_, i) => i % 2 === odd)));
    const ways: (() => Promise<Shards>)[] = [
      () => shardsOf(bytesSource(bytes, 'model.safetensors')),
      () => shardsOf(responseSource(streamed(bytes, 65_537), 'stream')),
      () => shardsOf(bytesSource(half(0), 'one'), responseSource(streamed(half(1), 10_007), 'two')),
    ];
    for (const open of ways) {
      const engine = await Engine.create();
      const shards = await open();
      const weights = await loadWeights(shards, expected, engine);
      assert.equal(
        [...weights.keys()],
        expected.map(({ name }) => name),
      );
      assert.is(engine.heap.used, weightMemoryBytes(expected, shards.tensors));
      const readable = await shardsOf(bytesSource(bytes));
      for (const weight of weights.values())
        await checkWeight(engine, weight, written[weight.name], readable);
      engine.dispose();
    }
  });
}

test('tensors may lie unaligned, in any order, with ones between that nobody asks for', async () => {
  const pairs = [
    tensorOf('m', 'F32', [9, 5], 1),
    tensorOf('v', 'BF16', [6], 2),
    tensorOf('w', 'F16', [8, 2], 3),
  ];
  const skip: TensorToWrite = { dtype: 'U8', shape: [3], data: Uint8Array.of(1, 2, 3) };
  const order: [string, TensorToWrite][] = [
    ['x', skip],
    ['w', pairs[2][1]],
    ['y', skip],
    ['m', pairs[0][1]],
    ['v', pairs[1][1]],
  ];
  let end = 0;
  const fields = order.map(([name, { dtype, shape, data }]) => {
    const begin = end;
    end += data.length;
    return `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`;
  });
  const header = new TextEncoder().encode(`{${fields.join(',')}} `);
  const file = new Uint8Array(8 + header.length + end);
  new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true);
  file.set(header, 8);
  let at = 8 + header.length;
  for (const [, { data }] of order) {
    file.set(data as Uint8Array, at);
    at += data.length;
  }
  for (const source of [bytesSource(file, 'file'), responseSource(streamed(file, 7), 'stream')]) {
    const engine = await Engine.create();
    const weights = await loadWeights(
      await shardsOf(source),
      pairs.map(([tensor]) => tensor),
      engine,
    );
    const readable = await shardsOf(bytesSource(file));
    for (const [{ name }, written] of pairs) await checkWeight(engine, weights.get(name)!, written, readable);
    engine.dispose();
  }
});

test('progress counts every byte of the weights once, rising to the total', async () => {
  const pairs = SHAPES.map((shape, i) => tensorOf(`t${i}`, 'BF16', shape, i));
  const shards = await shardsOf(
    bytesSource(writeSafetensors(Object.fromEntries(pairs.map(([{ name }, t]) => [name, t])))),
  );
  const total = pairs.reduce((sum, [, { data }]) => sum + data.length, 0);
  const seen: number[] = [];
  const engine = await Engine.create();
  await loadWeights(
    shards,
    pairs.map(([tensor]) => tensor),
    engine,
    {
      onProgress: (progress) => {
        assert.is(progress.total, total);
        assert.ok(progress.loaded > (seen.at(-1) ?? 0));
        seen.push(progress.loaded);
      },
    },
  );
  assert.is(seen.at(-1), total);
  assert.ok(seen.length >= total / (1 << 20), 'a mebibyte passed without a word');
  engine.dispose();
});

/** 48 MB of BF16: a few dozen milliseconds of packing, from memory, so that only the loader itself can give way. */
async function large(): Promise<[Shards, ExpectedTensor[]]> {
  const [tensor, written] = tensorOf('large', 'BF16', [12_000, 2000], 5);
  return [await shardsOf(bytesSource(writeSafetensors({ large: written }), 'large.safetensors')), [tensor]];
}

test('a long load gives the event loop its turns, and an abort there ends it and frees the memory', async () => {
  const [shards, expected] = await large();
  const engine = await Engine.create();
  const turns: number[] = [];
  const yieldTurn: LoadOptions['yieldTurn'] = () => {
    turns.push(performance.now());
    return new Promise((resolve) => setImmediate(resolve));
  };
  const started = performance.now();
  await loadWeights(shards, expected, engine, { yieldTurn });
  assert.ok(turns.length >= Math.floor((performance.now() - started) / 40), `${turns.length} turns`);
  assert.ok(turns.length > 0, 'no turn at all');

  const used = engine.heap.used;
  const controller = new AbortController();
  const reason = new Error('the user left');
  setImmediate(() => controller.abort(reason));
  const error = await loadWeights(shards, expected, engine, { signal: controller.signal }).catch(
    (caught) => caught,
  );
  assert.is(error, reason);
  assert.is(engine.heap.used, used);
  engine.dispose();
});

test('disposing of the engine ends a load with DisposedError', async () => {
  const [shards, expected] = await large();
  const engine = await Engine.create();
  setImmediate(() => engine.dispose());
  const error = await loadWeights(shards, expected, engine).catch((caught) => caught);
  assert.ok(error instanceof DisposedError, String(error));
});

test('weights that do not fit are refused with the numbers before anything is read', async () => {
  const [tensor, written] = tensorOf('large', 'F32', [1000, 1000], 5);
  const source = bytesSource(writeSafetensors({ large: written }), 'large.safetensors');
  const shards = await shardsOf(source);
  let reads = 0;
  source.read = async () => {
    reads++;
  };
  const engine = await Engine.create({ maximumBytes: 4 << 20 });
  await rejects(() => loadWeights(shards, [tensor], engine), MemoryError, {
    what: 'not enough memory',
    where: 'weights',
    expected: `at most ${4 << 20} bytes`,
    got: `${4_000_000 + 3 * (1 << 20)} bytes more`,
  });
  assert.is(reads, 0);
  assert.is(engine.heap.used, 0);
  engine.dispose();
});

test('a stream that ends early or goes on is an error with the byte, and the memory is free again', async () => {
  const [tensor, written] = tensorOf('a.weight', 'F16', [16, 100], 5);
  const bytes = writeSafetensors({ 'a.weight': written });
  const engine = await Engine.create();
  const load = async (body: Uint8Array) =>
    loadWeights(await shardsOf(responseSource(streamed(body, 999), 's')), [tensor], engine);
  await rejects(() => load(bytes.slice(0, -5)), CheckpointError, {
    what: 'the file ends early',
    where: `s, byte ${bytes.length - 3200}`,
    expected: '3200 bytes',
    got: '3195 bytes',
  });
  assert.is(engine.heap.used, 0);
  const longer = new Uint8Array(bytes.length + 1);
  longer.set(bytes);
  await rejects(() => load(longer), CheckpointError, {
    what: 'bytes after the last tensor',
    where: `s, byte ${bytes.length}`,
    expected: `a file of ${bytes.length} bytes`,
    got: 'more',
  });
  assert.is(engine.heap.used, 0);
  assert.is((await load(bytes)).size, 1);
  engine.dispose();
});

test('a piece that cannot be read ends loading in the error, also one whose length is no number, which was read again for ever', async () => {
  const dtypes = uniformDtypes('no dtype' as PanelDtype);
  const error = await loadModel(await openCheckpoint(shapes), { dtypes }).catch((reason: unknown) => reason);
  assert.instance(error, TypeError);
});

test.run();
