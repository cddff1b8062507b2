import { CheckpointError, checkSignal, MemoryError } from '../errors.js';
import { type Dtype, decode, type TensorValues } from './dtypes.js';
import { parseHeader, type SafetensorsHeader, type TensorInfo } from './safetensors-header.js';
import type { ByteSource } from './source.js';

export type { TensorInfo } from './safetensors-header.js';

/** The format's own limit for the header. */
const MAX_HEADER_BYTES = 100_000_000;
/** A stream of unknown size may lie about its header: memory is taken only as the bytes arrive. */
const HEADER_PIECE_BYTES = 1 << 20;

export interface TensorData {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** F16 and BF16 widened to float32 (exact); BOOL as bytes. */
  readonly data: TensorValues;
}

/**
 * Reads and checks the header of a safetensors file; no tensor is read yet.
 * @throws CheckpointError for anything that the format forbids; the source is closed then.
 */
export async function openSafetensors(source: ByteSource, signal?: AbortSignal): Promise<SafetensorsFile> {
  try {
    const length = await readHeaderLength(source, signal);
    const bytes = await readHeaderBytes(source, length, signal);
    return new SafetensorsFile(source, parseHeader(source.name, bytes, source.size));
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** An open safetensors file. */
export class SafetensorsFile {
  readonly source: ByteSource;
  /** The header's `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
  /** By name, in file order. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Bytes in the file. */
  readonly bytes: number;

  constructor(source: ByteSource, header: SafetensorsHeader) {
    this.source = source;
    this.metadata = header.metadata;
    this.tensors = header.tensors;
    this.bytes = header.fileBytes;
  }

  get name(): string {
    return this.source.name;
  }

  /** @throws CheckpointError if the file has no tensor of this name. */
  info(name: string): TensorInfo {
    const info = this.tensors.get(name);
    if (info) return info;
    throw new CheckpointError({
      what: 'tensor missing from the file',
      where: `${this.name}, tensor ${name}`,
      expected: 'a tensor of this name',
      got: `${this.tensors.size} tensors of other names`,
    });
  }

  /**
   * A tensor's values, in its own dtype (F16 and BF16 as float32).
   * @throws CheckpointError for a name that is not there, a dtype without a JavaScript form, a truncated file
   * @throws MemoryError if it does not fit
   */
  async readTensor(name: string, signal?: AbortSignal): Promise<TensorData> {
    const info = this.info(name);
    const bytes = allocateBytes(info.end - info.begin, `${this.name}, tensor ${name}`);
    await this.source.read(info.begin, bytes, signal);
    const data = decode(info.dtype, bytes);
    if (data === undefined) throw this.#dtypeError(info, 'a dtype that can be read as numbers');
    return { name, dtype: info.dtype, shape: info.shape, data };
  }

  /** A floating-point tensor as float32; F64 is rounded, F16 and BF16 are exact. */
  async readFloat32(name: string, signal?: AbortSignal): Promise<Float32Array> {
    const { data } = await this.readTensor(name, signal);
    if (data instanceof Float32Array) return data;
    if (data instanceof Float64Array) return Float32Array.from(data);
    throw this.#dtypeError(this.info(name), 'F64, F32, F16 or BF16');
  }

  /** A floating-point tensor as float64 (exact). */
  async readFloat64(name: string, signal?: AbortSignal): Promise<Float64Array> {
    const { data } = await this.readTensor(name, signal);
    if (data instanceof Float64Array) return data;
    if (data instanceof Float32Array) return Float64Array.from(data);
    throw this.#dtypeError(this.info(name), 'F64, F32, F16 or BF16');
  }

  /** An integer or boolean tensor as numbers. @throws CheckpointError for values beyond 2^53 too. */
  async readIntegers(name: string, signal?: AbortSignal): Promise<number[]> {
    const { data } = await this.readTensor(name, signal);
    if (data instanceof Float32Array || data instanceof Float64Array) {
      throw this.#dtypeError(this.info(name), 'an integer dtype or BOOL');
    }
    const values = Array.from(data as ArrayLike<number | bigint>, Number);
    const wrong = values.findIndex((value) => !Number.isSafeInteger(value));
    if (wrong < 0) return values;
    throw new CheckpointError({
      what: 'an integer is out of range',
      where: `${this.name}, tensor ${name}, element ${wrong}`,
      expected: 'at most 2^53 - 1 either way',
      got: String(data[wrong]),
    });
  }

  close(): Promise<void> {
    return this.source.close();
  }

  #dtypeError(info: TensorInfo, expected: string): CheckpointError {
    return new CheckpointError({
      what: 'wrong dtype',
      where: `${this.name}, tensor ${info.name}`,
      expected,
      got: info.dtype,
    });
  }
}

async function readHeaderLength(source: ByteSource, signal?: AbortSignal): Promise<number> {
  const bytes = new Uint8Array(8);
  await source.read(0, bytes, signal);
  const length = new DataView(bytes.buffer).getBigUint64(0, true);
  const limit = source.size === null ? MAX_HEADER_BYTES : Math.min(MAX_HEADER_BYTES, source.size - 8);
  if (length <= BigInt(limit)) return Number(length);
  throw new CheckpointError({
    what: limit < MAX_HEADER_BYTES ? 'the header is longer than the file' : 'the header is too long',
    where: `${source.name}, byte 0`,
    expected: `a header of at most ${limit} bytes`,
    got: `${length}`,
  });
}

async function readHeaderBytes(
  source: ByteSource,
  length: number,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  if (source.size !== null) {
    const bytes = allocateBytes(length, `${source.name}, header`);
    await source.read(8, bytes, signal);
    return bytes;
  }
  const pieces: Uint8Array[] = [];
  for (let done = 0; done < length; done += HEADER_PIECE_BYTES) {
    const piece = new Uint8Array(Math.min(HEADER_PIECE_BYTES, length - done));
    await source.read(8 + done, piece, signal);
    pieces.push(piece);
  }
  checkSignal(signal);
  const bytes = allocateBytes(length, `${source.name}, header`);
  pieces.forEach((piece, index) => {
    bytes.set(piece, index * HEADER_PIECE_BYTES);
  });
  return bytes;
}

function allocateBytes(bytes: number, where: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(bytes);
  } catch (cause) {
    throw new MemoryError({
      what: 'not enough memory',
      where,
      expected: `${bytes} bytes`,
      got: 'none',
      cause,
    });
  }
}
