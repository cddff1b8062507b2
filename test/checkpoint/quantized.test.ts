/** Quantising while reading, and reading what is quantised already, beside the quantiser in plain TypeScript. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { toBfloat16, toFloat16 } from '../../src/checkpoint/dtypes.js';
import { loadWeights, weightMemoryBytes } from '../../src/checkpoint/load.js';
import { checkTensors, type ExpectedTensor } from '../../src/checkpoint/manifest.js';
import { joinScales } from '../../src/checkpoint/quantized.js';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import { type TensorToWrite, writeSafetensors } from '../../src/checkpoint/safetensors-writer.js';
import type { Shards } from '../../src/checkpoint/shards.js';
import { type ByteSource, bytesSource } from '../../src/checkpoint/source.js';
import { responseSource } from '../../src/checkpoint/stream.js';
import { CheckpointError } from '../../src/errors.js';
import { Engine } from '../../src/runtime/engine.js';
import { type QuantizedDtype, weightBytes } from '../../src/runtime/weight.js';
import { fileBytes, type QuantisedRow, quantiseRow } from '../kernels/quantised.js';
import { randomIntegers, rejects, streamed } from './helpers.js';

const DTYPES = ['F32', 'F16', 'BF16'] as const;
const QUANTIZED = ['I8', 'I4'] as const;
const BITS = { I8: 8, I4: 4 } as const;

/** About the panel of 8, the blocks, the piece of a mebibyte, and rows longer than a piece. */
const SHAPES: [number, number][] = [
  [1, 1],
  [8, 32],
  [8, 64],
  [9, 33],
  [17, 95],
  [340, 800],
  [3, 70_001],
];

function expectedOf([N, K]: [number, number]): ExpectedTensor {
  return { name: `t.${N}x${K}.weight`, shape: [N, K], dtypes: DTYPES, layout: 'panel', N, K };
}

/** Values between −1 and 1 that every float dtype holds exactly. */
function valuesOf({ N, K }: ExpectedTensor): Float32Array {
  const random = randomIntegers(N * 31 + K);
  return Float32Array.from({ length: N * K }, () => ((random() % 255) - 127) / 128);
}

async function shardsOf(...sources: ByteSource[]): Promise<Shards> {
  const files = await Promise.all(sources.map((source) => openSafetensors(source)));
  const all = files.flatMap((file) => [...file.tensors.values()].map((info) => ({ ...info, file })));
  return { files, tensors: new Map(all.map((tensor) => [tensor.name, tensor])) };
}

/** The plain quantiser's rows of `valuesOf`, made once: it takes its time. */
const quantised = new Map<string, QuantisedRow[]>();

function rowsOf(dtype: QuantizedDtype, tensor: ExpectedTensor): QuantisedRow[] {
  const { name, N, K } = tensor;
  const key = `${dtype} ${name}`;
  const known = quantised.get(key);
  if (known) return known;
  const values = valuesOf(tensor);
  const rows = Array.from({ length: N }, (_, n) =>
    quantiseRow(BITS[dtype], values.subarray(n * K, (n + 1) * K)),
  );
  quantised.set(key, rows);
  return rows;
}

/** The records of src/runtime/kernels.ts, written here once more. */
function panelsOf(dtype: QuantizedDtype, { N, K }: ExpectedTensor, rows: QuantisedRow[]): Uint8Array {
  const out = new Uint8Array(weightBytes('panel', dtype, N, K));
  const [record, head, size] = dtype === 'I8' ? [528, 16, 64] : [160, 32, 32];
  const blocks = Math.ceil(K / size);
  for (let n = 0; n < Math.ceil(N / 8) * 8; n++) {
    for (let b = 0; b < blocks; b++) {
      const at = ((n >> 3) * blocks + b) * record;
      const scale = rows[n]?.scales[b] ?? 0;
      out.set([scale & 255, scale >> 8], at + 2 * (n & 7));
      const minimum = rows[n]?.minimums[b] ?? 0;
      if (dtype === 'I4') out.set([minimum & 255, minimum >> 8], at + 16 + 2 * (n & 7));
      for (let k = 0; k < size; k++) {
        const q = rows[n]?.q[size * b + k] ?? 0;
        const place = at + head + (k >> 2) * (dtype === 'I8' ? 32 : 16) + (n & 3) * 4 + (k & 3);
        if (dtype === 'I8') out[place + (n & 4) * 4] = q & 255;
        else out[place] |= q << (n & 4);
      }
    }
  }
  return out;
}

for (const dtype of QUANTIZED) {
  for (const stored of DTYPES) {
    test(`${stored} to ${dtype}: panels have the bits of the plain quantiser, from buffers and streams`, async () => {
      const expected = SHAPES.map(expectedOf);
      const written = new Map<string, TensorToWrite>(
        expected.map((tensor) => [
          tensor.name,
          { dtype: stored, shape: tensor.shape, data: valuesOf(tensor) },
        ]),
      );
      const file = writeSafetensors(written);
      const quantize = new Map(expected.map(({ name }) => [name, dtype]));
      for (const source of [bytesSource(file, 'file'), responseSource(streamed(file, 65_537), 'stream')]) {
        const engine = await Engine.create();
        const shards = await shardsOf(source);
        const weights = await loadWeights(shards, expected, engine, { quantize });
        assert.is(engine.heap.used, weightMemoryBytes(expected, shards.tensors, quantize));
        for (const tensor of expected) {
          const weight = weights.get(tensor.name)!;
          assert.is(weight.dtype, dtype);
          const want = panelsOf(dtype, tensor, rowsOf(dtype, tensor));
          const got = engine.u8(weight.pointer, want.length);
          assert.ok(Buffer.compare(got, want) === 0, `${tensor.name} differs`);
        }
        engine.dispose();
      }
    });
  }

  test(`stored ${dtype}: the same panels, in whatever order their tensors come, in one file or several`, async () => {
    const expected = SHAPES.map(expectedOf);
    const parts = expected.map((tensor) => {
      const rows = rowsOf(dtype, tensor);
      return { tensor, rows, stored: storedTensors(dtype, tensor, rows) };
    });
    const kinds = dtype === 'I8' ? ['', '_scale'] : ['', '_scale', '_min'];
    const named = kinds.map((suffix, i) =>
      parts.map(({ tensor, stored }) => [tensor.name + suffix, stored[i]!] as const),
    );
    const apart = named.map((tensors) => fileOf(tensors));
    const ways: ByteSource[][] = [
      [bytesSource(fileOf(named.flat()), 'values first')],
      [responseSource(streamed(fileOf([...named].reverse().flat()), 4099), 'values last')],
      apart.map((file, i) => bytesSource(file, `file ${i}`)),
      [...apart].reverse().map((file, i) => responseSource(streamed(file, 10_007), `stream ${i}`)),
    ];
    for (const sources of ways) {
      const engine = await Engine.create();
      // Memory that is not zero to begin with.
      const before = engine.allocateWeights(8 << 20);
      engine.u8(before, 8 << 20).fill(0xff);
      engine.heap.free(before);
      const { files, tensors } = await shardsOf(...sources);
      const joined = joinScales(expected, tensors, 'folder');
      checkTensors({ tensors: expected, ignored: new Map() }, joined, 'folder');
      const weights = await loadWeights({ files, tensors: joined }, expected, engine);
      for (const { tensor, rows } of parts) {
        const want = panelsOf(dtype, tensor, rows);
        const got = engine.u8(weights.get(tensor.name)!.pointer, want.length);
        assert.ok(Buffer.compare(got, want) === 0, `${sources[0].name}: ${tensor.name} differs`);
      }
      engine.dispose();
    }
  });
}

function storedTensors(
  dtype: QuantizedDtype,
  { N, K }: ExpectedTensor,
  rows: QuantisedRow[],
): TensorToWrite[] {
  const bytes = rows.map((row) => fileBytes(BITS[dtype], row, K));
  const data = Uint8Array.from(Buffer.concat(bytes));
  const perBlock = (kind: 'scales' | 'minimums'): TensorToWrite => ({
    dtype: 'BF16',
    shape: [N, rows[0]!.scales.length],
    data: Uint8Array.from(Buffer.concat(rows.map((row) => new Uint8Array(row[kind].slice().buffer)))),
  });
  const values: TensorToWrite = {
    dtype: dtype === 'I8' ? 'I8' : 'U8',
    shape: [N, data.length / N],
    data,
  };
  return dtype === 'I8' ? [values, perBlock('scales')] : [values, perBlock('scales'), perBlock('minimums')];
}

/** A safetensors file with its tensors in this order. */
function fileOf(tensors: (readonly [string, TensorToWrite])[]): Uint8Array<ArrayBuffer> {
  let end = 0;
  const fields = tensors.map(([name, { dtype, shape, data }]) => {
    const begin = end;
    end += data.length;
    return `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`;
  });
  const header = new TextEncoder().encode(`{${fields.join(',')}}`);
  const file = new Uint8Array(8 + header.length + end);
  new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true);
  file.set(header, 8);
  let at = 8 + header.length;
  for (const [, { data }] of tensors) {
    file.set(data as Uint8Array, at);
    at += data.length;
  }
  return file;
}

test('a value that has no place among the integers is an error with its row and column, and frees the memory', async () => {
  const tensor = expectedOf([20, 70]);
  const engine = await Engine.create();
  for (const [dtype, stored, bad, encode] of [
    ['I8', 'BF16', Number.NaN, toBfloat16],
    ['I4', 'F16', Number.POSITIVE_INFINITY, toFloat16],
  ] as const) {
    const values = Uint16Array.from(valuesOf(tensor), encode);
    values[17 * 70 + 69] = encode(bad);
    const data = new Uint8Array(values.buffer);
    const shards = await shardsOf(
      bytesSource(writeSafetensors({ [tensor.name]: { dtype: stored, shape: [20, 70], data } }), 'file'),
    );
    const quantize = new Map([[tensor.name, dtype]]);
    await rejects(() => loadWeights(shards, [tensor], engine, { quantize }), CheckpointError, {
      what: `cannot be quantised to ${dtype}`,
      where: `file, tensor ${tensor.name}, row 17, column 69`,
      expected: 'finite',
      got: 'another',
    });
    assert.is(engine.heap.used, 0);
  }
  engine.dispose();
});

test('stored values of −128, scales and minimums that are not finite are errors with their places', async () => {
  const tensor = expectedOf([20, 70]);
  const engine = await Engine.create();
  const load = async (spoil: (...parts: Uint8Array[]) => void, dtype: QuantizedDtype = 'I8') => {
    const parts = storedTensors(dtype, tensor, rowsOf(dtype, tensor));
    spoil(...parts.map(({ data }) => data as Uint8Array));
    const suffixes = ['', '_scale', '_min'];
    const file = fileOf(parts.map((part, i) => [tensor.name + suffixes[i], part] as const).reverse());
    const { files, tensors } = await shardsOf(bytesSource(file, 'file'));
    return loadWeights({ files, tensors: joinScales([tensor], tensors, 'folder') }, [tensor], engine);
  };
  const least = (values: Uint8Array) => {
    values[9 * 70 + 40] = 0x80;
  };
  await rejects(() => load(least), CheckpointError, {
    what: 'out of range',
    where: `file, tensor ${tensor.name}, row 9, column 40`,
    expected: '−127 … 127',
    got: '−128',
  });
  /** The last block of row 11; rows of 70 have `blocks`. */
  const infinite =
    (blocks: number) =>
    (...parts: Uint8Array[]) =>
      parts.at(-1)!.set([0x80, 0x7f], 2 * (12 * blocks - 1));
  await rejects(() => load(infinite(2)), CheckpointError, {
    what: 'a scale is not finite',
    where: `file, tensor ${tensor.name}_scale, row 11, column 1`,
    expected: 'finite',
    got: 'another',
  });
  await rejects(() => load(infinite(3), 'I4'), CheckpointError, {
    what: 'a minimum is not finite',
    where: `file, tensor ${tensor.name}_min, row 11, column 2`,
    expected: 'finite',
    got: 'another',
  });
  assert.is(engine.heap.used, 0);
  engine.dispose();
});

test('scales or minimums that are missing, and tensors of another shape or dtype, are named before anything is read', async () => {
  const tensor = expectedOf([10, 70]);
  const bytes = (count: number) => new Uint8Array(count);
  const good: Record<string, TensorToWrite> = {
    [tensor.name]: { dtype: 'U8', shape: [10, 35], data: bytes(350) },
    [`${tensor.name}_scale`]: { dtype: 'BF16', shape: [10, 3], data: bytes(60) },
    [`${tensor.name}_min`]: { dtype: 'BF16', shape: [10, 3], data: bytes(60) },
  };
  const join = async (change: Record<string, TensorToWrite | undefined>) => {
    const all = Object.entries({ ...good, ...change }).filter(([, value]) => value);
    const { tensors } = await shardsOf(bytesSource(fileOf(all as [string, TensorToWrite][]), 'file'));
    return joinScales([tensor], tensors, 'folder');
  };
  assert.is((await join({})).size, 1);
  const scale = `${tensor.name}_scale`;
  const minimum = `${tensor.name}_min`;
  const cases: [Record<string, TensorToWrite | undefined>, object][] = [
    [
      { [scale]: undefined },
      { what: 'scales', where: `folder, tensor ${scale}`, expected: 'BF16 [10, 3]', got: 'no such tensor' },
    ],
    [
      { [scale]: { dtype: 'BF16', shape: [10, 2], data: bytes(40) } },
      { what: 'another shape', where: `file, tensor ${scale}`, expected: '[10, 3]', got: '[10, 2]' },
    ],
    [
      { [minimum]: undefined },
      {
        what: 'minimums',
        where: `folder, tensor ${minimum}`,
        expected: 'BF16 [10, 3]',
        got: 'no such tensor',
      },
    ],
    [
      { [minimum]: { dtype: 'BF16', shape: [10, 4], data: bytes(80) } },
      { what: 'another shape', where: `file, tensor ${minimum}`, expected: '[10, 3]', got: '[10, 4]' },
    ],
    [
      { [scale]: { dtype: 'F32', shape: [10, 3], data: bytes(120) } },
      { what: 'another dtype', where: `file, tensor ${scale}`, expected: 'BF16', got: 'F32' },
    ],
    [
      { [tensor.name]: { dtype: 'I8', shape: [10, 35], data: bytes(350) } },
      { what: 'another shape', where: `file, tensor ${tensor.name}`, expected: '[10, 70]', got: '[10, 35]' },
    ],
    [
      { [tensor.name]: { dtype: 'F16', shape: [10, 70], data: bytes(1400) } },
      { what: 'another dtype', where: `file, tensor ${tensor.name}`, expected: 'I8 or U8', got: 'F16' },
    ],
  ];
  for (const [change, details] of cases) {
    await rejects(() => join(change), CheckpointError, details as Parameters<typeof rejects>[2]);
  }
});

test('what is read goes straight into wasm memory: no buffer of its own in JavaScript', async () => {
  const expected = SHAPES.map(expectedOf);
  const written = new Map<string, TensorToWrite>(
    expected.map((tensor) => [tensor.name, { dtype: 'F32', shape: tensor.shape, data: valuesOf(tensor) }]),
  );
  const source = bytesSource(writeSafetensors(written), 'file');
  const shards = await shardsOf(source);
  const engine = await Engine.create();
  const read = source.read.bind(source);
  let [reads, outside] = [0, 0];
  source.read = (offset, into, signal) => {
    reads++;
    if (into.buffer !== engine.u8(0, 0).buffer) outside++;
    return read(offset, into, signal);
  };
  await loadWeights(shards, expected, engine);
  assert.ok(reads >= 3, `${reads} reads`);
  assert.is(outside, 0);
  engine.dispose();
});

test('memory that grows under a read loses nothing: the piece is read again', async () => {
  const tensor = expectedOf([700, 800]);
  const values = valuesOf(tensor);
  const file = writeSafetensors({ [tensor.name]: { dtype: 'F32', shape: tensor.shape, data: values } });
  const engine = await Engine.create();
  const source = bytesSource(file, 'file');
  const shards = await shardsOf(source);
  const read = source.read.bind(source);
  let grown = 0;
  source.read = async (offset, into, signal) => {
    // As another computation on this engine may do between the request and the bytes.
    if (grown++ < 2) engine.heap.allocate(16 << 20, 'growing');
    await read(offset, into, signal);
  };
  const weights = await loadWeights(shards, [tensor], engine);
  const { pointer, N, K } = weights.get(tensor.name)!;
  const panels = engine.f32(pointer, Math.ceil(N / 8) * 8 * K);
  for (let n = 0; n < N; n++) {
    for (let k = 0; k < K; k++) {
      if (panels[((n >> 3) * K + k) * 8 + (n & 7)] !== values[n * K + k]) assert.unreachable(`[${n}][${k}]`);
    }
  }
  assert.ok(grown > 2);
  engine.dispose();
});

test.run();
