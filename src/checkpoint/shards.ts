import { CheckpointError } from '../errors.js';
import { JsonError, parseStrictJson } from './json.js';
import { openSafetensors, type SafetensorsFile } from './safetensors.js';
import type { TensorInfo } from './safetensors-header.js';
import { type ByteSource, missingFile, readAll } from './source.js';

const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
const MAX_INDEX_BYTES = 100_000_000;

/** A tensor of a checkpoint and the file that holds it. */
export interface CheckpointTensor extends TensorInfo {
  readonly file: SafetensorsFile;
  /** The scales of a quantised matrix, where `joinScales` has joined them to it. */
  readonly scale?: CheckpointTensor;
  /** The minimums of one in 4 bits, likewise. */
  readonly minimum?: CheckpointTensor;
}

/** The weight files of a checkpoint, open, with all their tensors. */
export interface Shards {
  readonly files: readonly SafetensorsFile[];
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
}

type Open = (file: string) => Promise<ByteSource | undefined>;

/**
 * Opens `model.safetensors` or, where that is absent (the reference's order too), the shards of its index.
 * @param folder the checkpoint's name, for messages
 * @param prepare told of all shards before the first is opened
 * @throws CheckpointError if neither is there, a file is malformed, a shard is missing, a tensor is in two shards, or
 * the index names a tensor that its shard does not hold.
 */
export async function openShards(
  open: Open,
  folder: string,
  signal?: AbortSignal,
  prepare?: (files: readonly string[]) => Promise<void>,
): Promise<Shards> {
  const single = await open(SINGLE);
  if (single) return collect([await openSafetensors(single, signal)]);
  const index = await open(INDEX);
  if (!index) {
    throw new CheckpointError({
      what: 'no weights in the checkpoint folder',
      where: folder,
      expected: `${SINGLE} or ${INDEX}`,
      got: 'neither',
    });
  }
  const placed = await readIndex(index, signal);
  const names = [...new Set(placed.values())].sort();
  await prepare?.(names);
  const files: SafetensorsFile[] = [];
  try {
    for (const name of names) files.push(await openShard(open, name, index.name, signal));
    const shards = collect(files);
    checkIndex(index.name, placed, files);
    return shards;
  } catch (error) {
    await Promise.all(files.map((file) => file.close()));
    throw error;
  }
}

async function openShard(
  open: Open,
  name: string,
  index: string,
  signal?: AbortSignal,
): Promise<SafetensorsFile> {
  const source = await open(name);
  if (!source) throw missingFile(`shard ${name}, named by ${index}`);
  const file = await openSafetensors(source, signal);
  // Many shards would hold as many connections or handles; the first read of a tensor opens its own again.
  await source.close();
  return file;
}

/** Where the index places each tensor: tensor → shard. */
async function readIndex(source: ByteSource, signal?: AbortSignal): Promise<Map<string, string>> {
  const where = source.name;
  try {
    const value = parseStrictJson(await readText(source, signal));
    const map = value instanceof Map ? value.get('weight_map') : undefined;
    if (!(map instanceof Map) || map.size === 0) {
      throw indexError(
        where,
        'the index has no weight_map',
        'an object with tensors and their files',
        'none',
      );
    }
    for (const [tensor, shard] of map) {
      if (typeof shard === 'string' && /^[^/\\:\0]+\.safetensors$/.test(shard)) continue;
      const got = typeof shard === 'string' ? JSON.stringify(shard) : 'no string';
      throw indexError(
        `${where}, tensor ${tensor}`,
        'no file name of a shard',
        'a .safetensors file beside it',
        got,
      );
    }
    return map as Map<string, string>;
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    const place = `${where}, character ${error.position}`;
    throw indexError(place, `the index's ${error.what}`, error.expected, error.got);
  } finally {
    await source.close();
  }
}

async function readText(source: ByteSource, signal?: AbortSignal): Promise<string> {
  const bytes = await readAll(source, MAX_INDEX_BYTES, signal);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw indexError(source.name, 'the index is not UTF-8', 'JSON in UTF-8', 'other bytes');
  }
}

function collect(files: readonly SafetensorsFile[]): Shards {
  const tensors = new Map<string, CheckpointTensor>();
  for (const file of files) {
    for (const info of file.tensors.values()) {
      const other = tensors.get(info.name);
      if (other) {
        throw new CheckpointError({
          what: 'the tensor is in two shards',
          where: `tensor ${info.name}`,
          expected: `only ${other.file.name}`,
          got: `${file.name} too`,
        });
      }
      tensors.set(info.name, { ...info, file });
    }
  }
  return { files, tensors };
}

function checkIndex(index: string, placed: Map<string, string>, files: readonly SafetensorsFile[]): void {
  const names = [...new Set(placed.values())].sort();
  const byName = new Map(names.map((name, i) => [name, files[i]]));
  for (const [tensor, shard] of placed) {
    const file = byName.get(shard);
    if (file?.tensors.has(tensor)) continue;
    const holder = files.find((other) => other.tensors.has(tensor));
    const got = holder ? `it lies in ${holder.name}` : 'no shard has it';
    throw indexError(
      `${index}, tensor ${tensor}`,
      'the index does not fit its shards',
      `it in ${shard}`,
      got,
    );
  }
}

function indexError(where: string, what: string, expected: string, got: string): CheckpointError {
  return new CheckpointError({ what, where, expected, got });
}
