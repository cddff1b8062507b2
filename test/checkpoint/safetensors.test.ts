import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import { type TensorToWrite, writeSafetensors } from '../../src/checkpoint/safetensors-writer.js';
import { bytesSource } from '../../src/checkpoint/source.js';
import { responseSource } from '../../src/checkpoint/stream.js';
import { CheckpointError, InputError } from '../../src/errors.js';
import { headerOf, rawSafetensors, rejects, streamed } from './helpers.js';

const open = (file: Uint8Array) => openSafetensors(bytesSource(file, 'x.safetensors'));

const TENSORS: Record<string, TensorToWrite> = {
  f64: { dtype: 'F64', shape: [2], data: [Math.PI, -1e300] },
  f32: { dtype: 'F32', shape: [1, 3], data: [1.5, -0, 1e-45] },
  f16: { dtype: 'F16', shape: [3], data: [1, 2 ** -24, 65504] },
  bf16: { dtype: 'BF16', shape: [2, 1], data: [1.0078125, 1e38] },
  i64: { dtype: 'I64', shape: [2], data: [2n ** 62n, -3n] },
  u64: { dtype: 'U64', shape: [1], data: [2n ** 63n] },
  i32: { dtype: 'I32', shape: [2], data: [-5, 7] },
  u32: { dtype: 'U32', shape: [1], data: [2 ** 32 - 1] },
  i16: { dtype: 'I16', shape: [1], data: [-300] },
  u16: { dtype: 'U16', shape: [1], data: [65535] },
  i8: { dtype: 'I8', shape: [1], data: [-7] },
  u8: { dtype: 'U8', shape: [3], data: [1, 2, 255] },
  bool: { dtype: 'BOOL', shape: [2, 2], data: [1, 0, 0, 1] },
  scalar: { dtype: 'F32', shape: [], data: [42] },
  empty: { dtype: 'F32', shape: [0, 5], data: [] },
  __proto__x: { dtype: 'U8', shape: [1], data: [9] },
};

test('every dtype that is written is read back, with shape and metadata', async () => {
  const file = await open(writeSafetensors(TENSORS, { format: 'pt', 'a "b"': 'ü\n' }));
  assert.equal(
    [...file.metadata],
    [
      ['format', 'pt'],
      ['a "b"', 'ü\n'],
    ],
  );
  assert.is(file.tensors.size, Object.keys(TENSORS).length);
  for (const [name, { dtype, shape, data }] of Object.entries(TENSORS)) {
    const tensor = await file.readTensor(name);
    assert.is(tensor.dtype, dtype);
    assert.equal(tensor.shape, shape);
    const expected = Array.from(data as ArrayLike<number>, (value) =>
      dtype === 'BF16' || dtype === 'F32' ? Math.fround(value) : value,
    );
    if (dtype === 'BF16') expected[1] = new Float32Array(Uint32Array.of(0x7e960000).buffer)[0];
    assert.equal(Array.from(tensor.data as ArrayLike<number>), expected, name);
  }
});

test('a stream is read like a file, its tensors in file order', async () => {
  const bytes = writeSafetensors(TENSORS);
  for (const headers of [{}, { 'Content-Length': String(bytes.length) }] as Record<string, string>[]) {
    const file = await openSafetensors(responseSource(streamed(bytes, 5, headers), 'x'));
    for (const name of file.tensors.keys())
      assert.is((await file.readTensor(name)).dtype, TENSORS[name].dtype);
    await rejects(() => file.readTensor('f64'), CheckpointError, {
      what: 'backwards',
      where: 'x',
      expected: 'an offset of',
      got: String(file.info('f64').begin),
    });
  }
});

test('float32, float64 and integer readers convert exactly, and refuse the other kind', async () => {
  const file = await open(writeSafetensors(TENSORS));
  assert.equal(await file.readFloat64('f16'), Float64Array.of(1, 2 ** -24, 65504));
  assert.equal(await file.readFloat32('f64'), Float32Array.of(Math.fround(Math.PI), -Infinity));
  assert.equal(await file.readIntegers('bool'), [1, 0, 0, 1]);
  assert.equal(await file.readIntegers('i16'), [-300]);
  await rejects(() => file.readFloat32('i64'), CheckpointError, {
    where: 'tensor i64',
    expected: 'F32',
    got: 'I64',
  });
  await rejects(() => file.readIntegers('f32'), CheckpointError, {
    where: 'tensor f32',
    expected: 'integer',
    got: 'F32',
  });
  await rejects(() => file.readIntegers('i64'), CheckpointError, {
    where: 'tensor i64, element 0',
    expected: 'at most 2^53 - 1',
    got: String(2n ** 62n),
  });
  await rejects(() => file.readTensor('none'), CheckpointError, {
    where: 'x.safetensors, tensor none',
    expected: 'a tensor of this name',
    got: `${Object.keys(TENSORS).length} tensors`,
  });
});

test('unaligned tensors, blanks round the header and unknown fields of a tensor are legal', async () => {
  const header = ` ${headerOf({ b: ['U8', [1], 0, 1], a: ['F32', [1], 1, 5] }).slice(1)}`;
  const file = await open(rawSafetensors(`{${header}  \n\t`, Uint8Array.of(7, 0, 0, 0x80, 0x3f)));
  assert.equal(await file.readFloat32('a'), Float32Array.of(1));
  assert.equal(await file.readIntegers('b'), [7]);
  const more = '{"a":{"dtype":"U8","note":{"x":[null]},"shape":[1],"data_offsets":[0,1]}}';
  assert.is((await open(rawSafetensors(more, 1))).tensors.size, 1);
  assert.is((await open(rawSafetensors('{}'))).tensors.size, 0);
});

test('a dtype of the format that has no numbers here is read past, and named when its values are asked for', async () => {
  const file = await open(rawSafetensors(headerOf({ a: ['F8_E4M3', [2], 0, 2], b: ['U8', [1], 2, 3] }), 3));
  assert.equal(await file.readIntegers('b'), [0]);
  await rejects(() => file.readTensor('a'), CheckpointError, {
    where: 'tensor a',
    expected: 'a dtype',
    got: 'F8_E4M3',
  });
});

test('writing values that do not fit their shape is an error that names the tensor', async () => {
  await rejects(() => writeSafetensors({ w: { dtype: 'F32', shape: [2, 2], data: [1, 2, 3] } }), InputError, {
    where: 'tensor w',
    expected: '4 values for [2, 2]',
    got: '3',
  });
});

test('a header of more than 100 MB is refused before memory is taken, whatever size the file claims', async () => {
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, 100_000_001n, true);
  for (const size of [2 ** 50, null]) {
    const reads: number[] = [];
    const source = {
      name: 'huge.safetensors',
      size,
      async read(_offset: number, into: Uint8Array) {
        reads.push(into.length);
        into.set(length);
      },
      async close() {},
    };
    await rejects(() => openSafetensors(source), CheckpointError, {
      what: 'the header is too long',
      where: 'huge.safetensors, byte 0',
      expected: 'at most 100000000 bytes',
      got: '100000001',
    });
    assert.equal(reads, [8]);
  }
});

test('a stream that claims a long header and ends is read piece by piece, not allocated for', async () => {
  const file = rawSafetensors('{}', 0, 99_000_000n);
  await rejects(() => openSafetensors(responseSource(streamed(file, 4), 'short')), CheckpointError, {
    what: 'the file ends early',
    where: 'short, byte 8',
    expected: `${1 << 20} bytes`,
    got: '2 bytes',
  });
});

test('truncated at every byte, a file is an error, never a success', async () => {
  const whole = writeSafetensors({
    a: { dtype: 'F32', shape: [3], data: [1, 2, 3] },
    b: { dtype: 'I8', shape: [5], data: [1, 2, 3, 4, 5] },
  });
  await open(whole);
  for (let length = 0; length < whole.length; length++) {
    const error = await open(whole.slice(0, length)).catch((caught) => caught);
    assert.ok(error instanceof CheckpointError, `${length} bytes: ${error}`);
  }
});

test.run();
