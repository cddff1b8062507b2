import { DTYPE_BYTES, decode } from '../checkpoint/dtypes.js';
import type { PretrainedConfig } from '../configuration/pretrained-config.js';
import { openTarget, type SaveTarget, type TargetFolder } from '../configuration/save-target.js';
import { InputError } from '../errors.js';
import { type Level, ownName } from '../model/levels.js';
import { rowBytes } from '../model/weight-values.js';
import type { Engine } from '../runtime/engine.js';
import { turn } from '../runtime/steps.js';
import type { Weight, WeightDtype } from '../runtime/weight.js';

export interface SaveOptions {
  /** Bytes of a file at most, as a number or like "5GB", "200MB", "1GiB" (a larger tensor has a file to itself). Default: 5GB. */
  max_shard_size?: number | string;
  /** Only true, which is the default: pickled weights are not written. */
  safe_serialization?: true;
  signal?: AbortSignal;
}

interface Saved {
  className: string;
  config: PretrainedConfig;
  dtype: string;
  engine: Engine;
  level: Level;
  named: ReadonlyMap<string, Weight>;
  /** Whether narrower weights are written as float32. */
  widen: boolean;
}

/** A tensor of a file to be written. */
interface Entry {
  name: string;
  weight: Weight;
  dtype: WeightDtype;
  bytes: number;
}

/** Rows written at once: about a mebibyte. */
const PIECE_BYTES = 1 << 20;

export async function saveModel(target: SaveTarget, options: SaveOptions, saved: Saved): Promise<void> {
  const { max_shard_size = '5GB', safe_serialization = true, signal } = options;
  if (safe_serialization !== true) {
    const got = String(safe_serialization);
    throw new InputError({
      what: 'only safetensors are written',
      where: 'safe_serialization',
      expected: 'true',
      got,
    });
  }
  const limit = parseSize(max_shard_size);
  const folder = await openTarget(target);
  await folder.write('config.json', new TextEncoder().encode(configText(saved)));
  const shards = splitShards(entries(saved), limit);
  const files = shards.map((_, i) => shardName(i, shards.length));
  for (const [i, shard] of shards.entries()) await writeShard(folder, files[i], shard, saved.engine, signal);
  if (shards.length > 1) await writeIndex(folder, files, shards);
}

/** The config with the class and the dtype that the file holds, as the reference's save_pretrained sets them. */
function configText({ config, className, dtype }: Saved): string {
  const Config = config.constructor as unknown as { new (dict: object): PretrainedConfig };
  const copy = new Config(config.to_dict());
  copy.architectures = [className];
  copy.dtype = dtype;
  return copy.to_json_string();
}

function entries({ named, level, widen }: Saved): Entry[] {
  return [...named].map(([name, weight]) => {
    const dtype = widen ? 'F32' : weight.dtype;
    return { name: ownName(level, name), weight, dtype, bytes: weight.N * weight.K * DTYPE_BYTES[dtype] };
  });
}

/** Tensors in the state dict's order, a new file whenever the next one would not fit. */
function splitShards(all: Entry[], limit: number): Entry[][] {
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
    total_parameters: all.reduce((sum, { weight }) => sum + weight.N * weight.K, 0),
    total_size: all.reduce((sum, { bytes }) => sum + bytes, 0),
  };
  const weight_map = Object.fromEntries(all.map(({ name, file }) => [name, file]));
  const text = `${JSON.stringify({ metadata, weight_map }, null, 2)}\n`;
  await folder.write('model.safetensors.index.json', new TextEncoder().encode(text));
}

/** One safetensors file, written piece by piece in the order of the format's own writer. */
async function writeShard(
  folder: TargetFolder,
  name: string,
  shard: Entry[],
  engine: Engine,
  signal?: AbortSignal,
): Promise<void> {
  const order = [...shard].sort(
    (a, b) => DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype] || (a.name < b.name ? -1 : 1),
  );
  const header = headerOf(order);
  const file = await folder.open(name, header.length + order.reduce((sum, { bytes }) => sum + bytes, 0));
  try {
    await file.write(header);
    for (const { weight, dtype } of order) {
      const rows = Math.max(1, Math.floor(PIECE_BYTES / (4 * weight.K)));
      for (let first = 0; first < weight.N; first += rows) {
        signal?.throwIfAborted();
        void engine.kernels; // DisposedError if the model went meanwhile.
        const piece = rowBytes(engine, weight, first, Math.min(rows, weight.N - first));
        await file.write(dtype === weight.dtype ? piece : widened(weight.dtype, piece));
        await turn();
      }
    }
  } finally {
    await file.close();
  }
}

function headerOf(order: Entry[]): Uint8Array<ArrayBuffer> {
  let end = 0;
  const fields = order.map(({ name, weight, dtype, bytes }) => {
    const value = { dtype, shape: weight.shape, data_offsets: [end, end + bytes] };
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

function widened(dtype: WeightDtype, piece: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array((decode(dtype, piece) as Float32Array<ArrayBuffer>).buffer);
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

function parseSize(size: number | string): number {
  const [, digits, unit] = /^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$/.exec(String(size)) ?? [];
  const bytes = Math.floor(Number(digits) * (UNITS[(unit || 'B').toUpperCase()] ?? Number.NaN));
  if (bytes > 0) return bytes;
  const expected = 'a number of bytes above 0, or one with KB, MB, GB, KiB, MiB or GiB';
  throw new InputError({ what: 'wrong value', where: 'max_shard_size', expected, got: String(size) });
}
