import { CheckpointError } from '../errors.js';
import { DTYPE_BYTES, type Dtype, isDtype } from './dtypes.js';
import { JsonError, JsonNumber, parseStrictJson, type StrictJson } from './json.js';

/** A tensor as a safetensors header declares it. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Byte offsets in the file (not in its data part): the tensor is bytes begin … end − 1. */
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly metadata: ReadonlyMap<string, string>;
  /** In file order. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Bytes that the whole file has by this header. */
  readonly fileBytes: number;
}

/**
 * Checks a header as the format's own implementation does (its `Metadata::validate`), and more strictly where its
 * specification is stricter than its code: the text starts with '{' and no name occurs twice.
 * @param bytes the JSON text, `fileBytes` is the size of the whole file or null if unknown
 * @throws CheckpointError naming the file, and the tensor where there is one.
 */
export function parseHeader(file: string, bytes: Uint8Array, fileBytes: number | null): SafetensorsHeader {
  const dataStart = 8 + bytes.length;
  const fields = parseObject(file, bytes);
  const metadata = readMetadata(file, fields.get('__metadata__'));
  const tensors: TensorInfo[] = [];
  for (const [name, value] of fields) {
    if (name !== '__metadata__') tensors.push(readTensorInfo(file, name, value, dataStart));
  }
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  const end = checkCoverage(file, tensors, dataStart);
  if (fileBytes !== null && end !== fileBytes) {
    throw new CheckpointError({
      what: end < fileBytes ? 'bytes after the last tensor' : "the file ends before its tensors' data",
      where: end < fileBytes ? `${file}, byte ${end}` : `${file}, tensor ${tensors.at(-1)?.name}`,
      expected: `a file of ${end} bytes`,
      got: `${fileBytes} bytes`,
    });
  }
  return { metadata, tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])), fileBytes: end };
}

function parseObject(file: string, bytes: Uint8Array): Map<string, StrictJson> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw headerError(file, 'the header is not UTF-8', 'JSON in UTF-8', 'other bytes', cause);
  }
  if (!text.startsWith('{')) {
    const got = JSON.stringify(text.slice(0, 16));
    throw headerError(file, 'the header is no JSON object', "'{' as its first character", got);
  }
  try {
    return parseStrictJson(text) as Map<string, StrictJson>;
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    const what = `the header's ${error.what}`;
    throw headerError(`${file}, header, character ${error.position}`, what, error.expected, error.got, error);
  }
}

function readMetadata(file: string, value: StrictJson | undefined): Map<string, string> {
  if (value === undefined || value === null) return new Map();
  const valid = value instanceof Map && [...value.values()].every((entry) => typeof entry === 'string');
  if (!valid)
    throw headerError(`${file}, __metadata__`, 'metadata is no map of strings', 'strings', show(value));
  return value as Map<string, string>;
}

function readTensorInfo(file: string, name: string, value: StrictJson, dataStart: number): TensorInfo {
  const where = `${file}, tensor ${name}`;
  if (!(value instanceof Map)) {
    throw headerError(where, 'the tensor is not described by an object', 'an object', show(value));
  }
  const dtype = value.get('dtype');
  if (typeof dtype !== 'string' || !isDtype(dtype)) {
    const known = Object.keys(DTYPE_BYTES).join(', ');
    throw headerError(where, 'unknown dtype', `one of ${known}`, show(dtype));
  }
  const shape = readIntegers(where, 'shape', value.get('shape'));
  const offsets = readIntegers(where, 'data_offsets', value.get('data_offsets'));
  if (offsets.length !== 2) {
    throw headerError(where, 'data_offsets is no pair', 'two offsets', show(value.get('data_offsets')));
  }
  const [begin, end] = offsets;
  if (begin > end)
    throw headerError(where, 'data_offsets run backwards', 'begin <= end', `${begin} > ${end}`);
  const bytes = countBytes(where, dtype, shape);
  if (end - begin !== bytes) {
    const expected = `${bytes} bytes for ${dtype} [${shape.join(', ')}]`;
    throw headerError(where, 'data_offsets do not fit the shape', expected, `${end - begin} bytes`);
  }
  return { name, dtype, shape, begin: dataStart + begin, end: dataStart + end };
}

function readIntegers(where: string, field: string, value: StrictJson | undefined): number[] {
  const expected = 'an array of integers from 0 to 2^53 - 1';
  if (!Array.isArray(value)) throw headerError(where, `${field} is no array`, expected, show(value));
  return value.map((entry) => {
    const number = entry instanceof JsonNumber ? entry.unsigned : undefined;
    if (number === undefined) throw headerError(where, `${field} has a wrong entry`, expected, show(entry));
    return number;
  });
}

function countBytes(where: string, dtype: Dtype, shape: readonly number[]): number {
  let bytes: number = DTYPE_BYTES[dtype];
  for (const size of shape) {
    bytes *= size;
    if (bytes > Number.MAX_SAFE_INTEGER) {
      throw headerError(where, 'the shape overflows', 'at most 2^53 - 1 bytes', `[${shape.join(', ')}]`);
    }
  }
  return bytes;
}

/** Tensors, sorted by offset, must follow each other without a gap or an overlap. Returns the end of the last. */
function checkCoverage(file: string, tensors: readonly TensorInfo[], dataStart: number): number {
  let end = dataStart;
  let previous = 'the header';
  for (const { name, begin, end: next } of tensors) {
    if (begin !== end) {
      const what = begin < end ? `the tensor overlaps ${previous}` : 'bytes between tensors';
      const expected = `data from byte ${end - dataStart}, where ${previous} ends`;
      throw headerError(`${file}, tensor ${name}`, what, expected, `${begin - dataStart}`);
    }
    end = next;
    previous = name;
  }
  return end;
}

function headerError(where: string, what: string, expected: string, got: string, cause?: unknown) {
  return new CheckpointError({ what, where, expected, got, cause });
}

function show(value: StrictJson | undefined): string {
  if (value === undefined) return 'nothing';
  if (value instanceof JsonNumber) return value.text;
  if (value instanceof Map) return 'an object';
  if (Array.isArray(value)) {
    const shown = value.slice(0, 8).map(show).join(', ');
    return `[${shown}${value.length > 8 ? ', …' : ''}]`;
  }
  return JSON.stringify(value).slice(0, 80);
}
