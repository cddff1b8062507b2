import { DTYPE_BYTES, type Dtype } from '../checkpoint/dtypes.js';
import { MINIMUM_SUFFIX, SCALE_SUFFIX } from '../checkpoint/quantized.js';
import type { TargetFolder } from '../configuration/save-target.js';
import { checkSignal, InputError } from '../errors.js';

/** A tensor of a file to be written. */
export interface Entry {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly bytes: number;
  /** Values of the matrix that it stands for: 0 for scales and minimums. */
  readonly parameters: number;
  /** One of the tensors of a quantised matrix: these lie together behind all others, the values last. */
  readonly quantized?: boolean;
  /** Its bytes, in pieces that are each done with before the next is asked for. */
  pieces(): AsyncIterable<Uint8Array<ArrayBuffer>> | Iterable<Uint8Array<ArrayBuffer>>;
}

/**
 * Writes tensors in the state dict's order as model.safetensors, or in shards of `limit` bytes at most, with their index.
 * @throws AbortError when `signal` is aborted
 */
export async function writeTensors(
  folder: TargetFolder,
  entries: readonly Entry[],
  limit: number,
  signal?: AbortSignal,
): Promise<void> {
  const shards = splitShards(entries, limit);
  const files = shards.map((_, i) => shardName(i, shards.length));
  for (const [i, shard] of shards.entries()) await writeShard(folder, files[i], shard, signal);
  if (shards.length > 1) await writeIndex(folder, files, shards);
}

/** A new file whenever the next tensor would not fit. */
function splitShards(all: readonly Entry[], limit: number): Entry[][] {
  const shards: Entry[][] = [];
  let room = 0;
  for (const entry of all) {
    if (shards.length === 0 || entry.bytes > room) {
      shards.push([]);
      room = limit;
    }
    shards[shards.length - 1].push(entry);
    room -= entry.bytes;
  }
  return shards;
}

function shardName(index: number, count: number): string {
  if (count === 1) return 'model.safetensors';
  const digits = (n: number) => String(n).padStart(5, '0');
  return `model-${digits(index + 1)}-of-${digits(count)}.safetensors`;
}

async function writeIndex(folder: TargetFolder, files: string[], shards: Entry[][]): Promise<void> {
  const all = shards.flatMap((shard, i) => shard.map((entry) => ({ ...entry, file: files[i] })));
  all.sort((a, b) => (a.name < b.name ? -1 : 1));
  const metadata = {
    total_parameters: all.reduce((sum, { parameters }) => sum + parameters, 0),
    total_size: all.reduce((sum, { bytes }) => sum + bytes, 0),
  };
  const weight_map = Object.fromEntries(all.map(({ name, file }) => [name, file]));
  const text = `${JSON.stringify({ metadata, weight_map }, null, 2)}\n`;
  await folder.write('model.safetensors.index.json', new TextEncoder().encode(text));
}

/** One safetensors file, written piece by piece. */
async function writeShard(
  folder: TargetFolder,
  name: string,
  shard: readonly Entry[],
  signal?: AbortSignal,
): Promise<void> {
  const order = inFileOrder(shard);
  const header = headerOf(order);
  checkSignal(signal);
  const file = await folder.open(name, header.length + order.reduce((sum, { bytes }) => sum + bytes, 0));
  try {
    await file.write(header);
    for (const entry of order) {
      for await (const piece of entry.pieces()) {
        checkSignal(signal);
        await file.write(piece);
      }
    }
  } catch (error) {
    // A file that was left half written must not pass for one.
    await file.discard();
    throw error;
  }
  await file.close();
}

/**
 * The order of the format's own writer: falling size of the dtype, then the name. Quantised matrices, whose tensors are
 * made together, follow one by one; those of an odd number of bytes come last, so that the other scales are aligned.
 */
function inFileOrder(shard: readonly Entry[]): Entry[] {
  const plain = shard.filter(({ quantized }) => !quantized);
  plain.sort((a, b) => DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype] || (a.name < b.name ? -1 : 1));
  const groups = shard.filter(({ quantized }) => quantized);
  const odd = new Set(groups.filter(({ bytes }) => bytes % 2 === 1).map(({ name }) => name));
  const isOdd = ({ name }: Entry) => odd.has(name) || odd.has(name.replace(SUFFIX, ''));
  return [...plain, ...groups.filter((entry) => !isOdd(entry)), ...groups.filter(isOdd)];
}

const SUFFIX = new RegExp(`(${SCALE_SUFFIX}|${MINIMUM_SUFFIX})$`);

function headerOf(order: readonly Entry[]): Uint8Array<ArrayBuffer> {
  let end = 0;
  const fields = order.map(({ name, dtype, shape, bytes }) => {
    const value = { dtype, shape, data_offsets: [end, end + bytes] };
    end += bytes;
    return `${JSON.stringify(name)}:${JSON.stringify(value)}`;
  });
  const text = new TextEncoder().encode(`{"__metadata__":{"format":"pt"},${fields.join(',')}}`);
  const length = Math.ceil(text.length / 8) * 8;
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(text, 8);
  return header;
}

const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
};

/** Bytes of a `max_shard_size`. @throws InputError */
export function parseShardSize(size: number | string = '5GB'): number {
  const [, digits, unit] = /^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$/.exec(String(size)) ?? [];
  const bytes = Math.floor(Number(digits) * (UNITS[(unit || 'B').toUpperCase()] ?? Number.NaN));
  if (bytes > 0) return bytes;
  const expected = 'a number of bytes above 0, or one with KB, MB, GB, KiB, MiB or GiB';
  throw new InputError({ what: 'wrong value', where: 'max_shard_size', expected, got: String(size) });
}
