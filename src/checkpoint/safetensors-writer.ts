import { InputError } from '../errors.js';
import { DTYPE_BYTES, type Dtype, toBfloat16, toFloat16 } from './dtypes.js';

/** A tensor to be written. */
export interface TensorToWrite {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /**
   * Its values, one per element, converted to the dtype (F16 and BF16 rounded to nearest, ties to even); a Uint8Array
   * with as many bytes as the tensor takes is written as it is.
   */
  readonly data: ArrayLike<number> | ArrayLike<bigint>;
}

/**
 * A safetensors file in memory. Tensors lie by falling size of their dtype, then by name (code point order), and the
 * data starts at a multiple of 8, as the format's own writer does: every tensor is aligned to its dtype.
 * @throws InputError if a tensor's values do not fit its shape.
 */
export function writeSafetensors(
  tensors: ReadonlyMap<string, TensorToWrite> | Readonly<Record<string, TensorToWrite>>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  const entries = tensors instanceof Map ? [...tensors] : Object.entries(tensors as object);
  entries.sort(
    ([a, { dtype: left }], [b, { dtype: right }]) =>
      DTYPE_BYTES[right as Dtype] - DTYPE_BYTES[left as Dtype] || (a < b ? -1 : 1),
  );
  const header = new Map<string, unknown>();
  if (metadata) header.set('__metadata__', metadata);
  const parts: Uint8Array[] = [];
  let end = 0;
  for (const [name, tensor] of entries as [string, TensorToWrite][]) {
    const begin = end;
    const part = encode(name, tensor);
    parts.push(part);
    end += part.length;
    header.set(name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, end] });
  }
  // Not through an object: it would move names like "0" to the front and swallow "__proto__".
  const fields = [...header].map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
  return assemble(`{${fields.join(',')}}`, parts, end);
}

function assemble(header: string, parts: readonly Uint8Array[], dataBytes: number): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(header);
  const headerBytes = Math.ceil(text.length / 8) * 8;
  const file = new Uint8Array(8 + headerBytes + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(headerBytes), true);
  file.fill(0x20, 8, 8 + headerBytes);
  file.set(text, 8);
  let offset = 8 + headerBytes;
  for (const part of parts) {
    file.set(part, offset);
    offset += part.length;
  }
  return file;
}

function encode(name: string, { dtype, shape, data }: TensorToWrite): Uint8Array {
  const count = shape.reduce((product, size) => product * size, 1);
  if (data instanceof Uint8Array && data.length === count * DTYPE_BYTES[dtype]) return data;
  if (data.length !== count) {
    throw new InputError({
      what: 'the values do not fit the shape',
      where: `tensor ${name}`,
      expected: `${count} values for [${shape.join(', ')}]`,
      got: `${data.length}`,
    });
  }
  const values = valuesOf(dtype, data);
  if (values) return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  throw new InputError({
    what: 'values of this dtype cannot be written',
    where: `tensor ${name}`,
    expected: 'bytes',
    got: dtype,
  });
}

function valuesOf(dtype: Dtype, data: ArrayLike<number> | ArrayLike<bigint>) {
  const numbers = data as ArrayLike<number>;
  switch (dtype) {
    case 'F64':
      return Float64Array.from(numbers, Number);
    case 'F32':
      return Float32Array.from(numbers, Number);
    case 'F16':
      return Uint16Array.from(numbers, toFloat16);
    case 'BF16':
      return Uint16Array.from(numbers, toBfloat16);
    case 'I64':
      return BigInt64Array.from(Array.from(data as ArrayLike<bigint>, BigInt));
    case 'U64':
      return BigUint64Array.from(Array.from(data as ArrayLike<bigint>, BigInt));
    case 'I32':
      return Int32Array.from(numbers, Number);
    case 'U32':
      return Uint32Array.from(numbers, Number);
    case 'I16':
      return Int16Array.from(numbers, Number);
    case 'U16':
      return Uint16Array.from(numbers, Number);
    case 'I8':
      return Int8Array.from(numbers, Number);
    case 'U8':
      return Uint8Array.from(numbers, Number);
    case 'BOOL':
      return Uint8Array.from(numbers, (value) => (value ? 1 : 0));
    default:
      return undefined;
  }
}
