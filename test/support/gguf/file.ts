/** GGUF version 3, the file format of llama.cpp: key-values, tensor infos, aligned tensor data. Read and written whole. */

/** The type codes of values in the header. */
const TYPES = {
  U8: 0,
  I8: 1,
  U16: 2,
  I16: 3,
  U32: 4,
  I32: 5,
  F32: 6,
  BOOL: 7,
  STRING: 8,
  ARRAY: 9,
  U64: 10,
  I64: 11,
  F64: 12,
};
const MAGIC = 0x46554747;
const ALIGNMENT = 32;

export type GgufScalar = number | bigint | boolean | string;

/** A value of the header with the type it was stored as, so that a file can be written as it was read. */
export interface GgufValue {
  readonly type: number;
  readonly value: GgufScalar | readonly GgufScalar[];
  /** An array's element type. */
  readonly element?: number;
}

export interface GgufTensor {
  readonly name: string;
  /** ggml's order: the contiguous dimension first. */
  readonly dims: readonly number[];
  /** ggml's type code: see quants.ts. */
  readonly type: number;
  readonly data: Uint8Array;
}

export interface Gguf {
  readonly values: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly GgufTensor[];
}

/**
 * @param bytesOf the bytes that a tensor of this type and many elements takes
 * @throws Error if the bytes are no GGUF of version 3
 */
export function readGguf(file: Uint8Array, bytesOf: (type: number, count: number) => number): Gguf {
  const reader = new Reader(file);
  if (reader.u32() !== MAGIC) throw new Error('not a GGUF file');
  const version = reader.u32();
  if (version !== 3) throw new Error(`GGUF version: expected 3, got ${version}`);
  const tensorCount = Number(reader.u64());
  const valueCount = Number(reader.u64());
  const values = new Map<string, GgufValue>();
  for (let i = 0; i < valueCount; i++) {
    const key = reader.string();
    const type = reader.u32();
    if (type === TYPES.ARRAY) {
      const element = reader.u32();
      const length = Number(reader.u64());
      values.set(key, { type, element, value: Array.from({ length }, () => reader.value(element)) });
    } else {
      values.set(key, { type, value: reader.value(type) });
    }
  }
  const infos = Array.from({ length: tensorCount }, () => ({
    name: reader.string(),
    dims: Array.from({ length: reader.u32() }, () => Number(reader.u64())),
    type: reader.u32(),
    offset: Number(reader.u64()),
  }));
  const alignment = Number(values.get('general.alignment')?.value ?? ALIGNMENT);
  const start = align(reader.offset, alignment);
  const tensors = infos.map(({ offset, ...tensor }) => {
    const count = tensor.dims.reduce((product, size) => product * size, 1);
    const begin = start + offset;
    return { ...tensor, data: file.subarray(begin, begin + bytesOf(tensor.type, count)) };
  });
  return { values, tensors };
}

/** The same file's parts, in the order in which they are to be written. */
export function* writeGguf({ values, tensors }: Gguf): Generator<Uint8Array> {
  const writer = new Writer();
  writer.u32(MAGIC).u32(3).u64(tensors.length).u64(values.size);
  for (const [key, { type, value, element }] of values) {
    writer.string(key).u32(type);
    if (type !== TYPES.ARRAY) {
      writer.value(type, value as GgufScalar);
      continue;
    }
    const items = value as readonly GgufScalar[];
    writer.u32(element as number).u64(items.length);
    for (const item of items) writer.value(element as number, item);
  }
  let offset = 0;
  for (const { name, dims, type, data } of tensors) {
    writer.string(name).u32(dims.length);
    for (const size of dims) writer.u64(size);
    writer.u32(type).u64(offset);
    offset = align(offset + data.length, ALIGNMENT);
  }
  const header = writer.bytes();
  yield header;
  yield padding(header.length);
  for (const { data } of tensors) {
    yield data;
    yield padding(data.length);
  }
}

const align = (offset: number, to: number) => Math.ceil(offset / to) * to;
const padding = (length: number) => new Uint8Array(align(length, ALIGNMENT) - length);

class Reader {
  offset = 0;
  readonly #file: Uint8Array;
  readonly #view: DataView;

  constructor(file: Uint8Array) {
    this.#file = file;
    this.#view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }

  string(): string {
    const length = Number(this.u64());
    const at = this.#take(length);
    return new TextDecoder().decode(this.#file.subarray(at, at + length));
  }

  value(type: number): GgufScalar {
    const view = this.#view;
    switch (type) {
      case TYPES.U8:
        return view.getUint8(this.#take(1));
      case TYPES.I8:
        return view.getInt8(this.#take(1));
      case TYPES.U16:
        return view.getUint16(this.#take(2), true);
      case TYPES.I16:
        return view.getInt16(this.#take(2), true);
      case TYPES.U32:
        return this.u32();
      case TYPES.I32:
        return view.getInt32(this.#take(4), true);
      case TYPES.F32:
        return view.getFloat32(this.#take(4), true);
      case TYPES.BOOL:
        return view.getUint8(this.#take(1)) !== 0;
      case TYPES.STRING:
        return this.string();
      case TYPES.U64:
        return this.u64();
      case TYPES.I64:
        return view.getBigInt64(this.#take(8), true);
      case TYPES.F64:
        return view.getFloat64(this.#take(8), true);
      default:
        throw new Error(`unknown type of a GGUF value: ${type}`);
    }
  }

  #take(bytes: number): number {
    const at = this.offset;
    this.offset += bytes;
    return at;
  }
}

class Writer {
  #parts: Uint8Array[] = [];

  u32(value: number): this {
    return this.#put(4, (view) => view.setUint32(0, value, true));
  }

  u64(value: number | bigint): this {
    return this.#put(8, (view) => view.setBigUint64(0, BigInt(value), true));
  }

  string(text: string): this {
    const bytes = new TextEncoder().encode(text);
    this.u64(bytes.length);
    this.#parts.push(bytes);
    return this;
  }

  value(type: number, value: GgufScalar): this {
    const number = value as number;
    switch (type) {
      case TYPES.U8:
      case TYPES.I8:
        return this.#put(1, (view) => view.setUint8(0, number));
      case TYPES.U16:
      case TYPES.I16:
        return this.#put(2, (view) => view.setUint16(0, number, true));
      case TYPES.U32:
      case TYPES.I32:
        return this.u32(number);
      case TYPES.F32:
        return this.#put(4, (view) => view.setFloat32(0, number, true));
      case TYPES.BOOL:
        return this.#put(1, (view) => view.setUint8(0, value ? 1 : 0));
      case TYPES.STRING:
        return this.string(value as string);
      case TYPES.U64:
        return this.u64(value as bigint);
      case TYPES.I64:
        return this.#put(8, (view) => view.setBigInt64(0, value as bigint, true));
      case TYPES.F64:
        return this.#put(8, (view) => view.setFloat64(0, number, true));
      default:
        throw new Error(`unknown type of a GGUF value: ${type}`);
    }
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#parts);
  }

  #put(bytes: number, set: (view: DataView) => void): this {
    const part = new Uint8Array(bytes);
    set(new DataView(part.buffer));
    this.#parts.push(part);
    return this;
  }
}
