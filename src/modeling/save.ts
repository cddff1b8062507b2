import { DTYPE_BYTES, decode } from '../checkpoint/dtypes.js';
import { MINIMUM_SUFFIX, SCALE_SUFFIX, STORED_DTYPE, storedShapes } from '../checkpoint/quantized.js';
import type { PretrainedConfig } from '../configuration/pretrained-config.js';
import { openTarget, type SaveTarget } from '../configuration/save-target.js';
import { checkSignal, InputError } from '../errors.js';
import { type Level, ownName } from '../model/levels.js';
import { quantizationConfig } from '../model/quantization.js';
import { storedMinimums, storedScales, storedValues } from '../model/quantized-values.js';
import { rowBytes } from '../model/weight-values.js';
import type { Engine } from '../runtime/engine.js';
import { turn } from '../runtime/steps.js';
import { isQuantized, type Weight, type WeightDtype } from '../runtime/weight.js';
import { type Entry, parseShardSize, writeTensors } from './checkpoint-files.js';

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
  /** The dtype of each part, by its name. */
  dtypes: Readonly<Record<string, string>>;
  engine: Engine;
  level: Level;
  named: ReadonlyMap<string, Weight>;
  /** Whether narrower weights are written as float32. */
  widen: boolean;
}

/** Rows written at once: about a mebibyte. */
const PIECE_BYTES = 1 << 20;

export async function saveModel(target: SaveTarget, options: SaveOptions, saved: Saved): Promise<void> {
  const { max_shard_size, safe_serialization = true, signal } = options;
  if (safe_serialization !== true) {
    const got = String(safe_serialization);
    throw new InputError({
      what: 'only safetensors are written',
      where: 'safe_serialization',
      expected: 'true',
      got,
    });
  }
  checkSignal(signal);
  const limit = parseShardSize(max_shard_size);
  const { engine, level, named, widen } = saved;
  const folder = await openTarget(target);
  const entries = [...named.values()].flatMap((weight) => {
    return entriesOf(ownName(level, weight.name), weight, engine, widen);
  });
  await folder.write('config.json', new TextEncoder().encode(configText(saved)));
  await writeTensors(folder, entries, limit, signal);
}

/** The config with the class and the dtype that the file holds, as the reference's save_pretrained sets them. */
function configText({ config, className, dtype, dtypes, named }: Saved): string {
  const Config = config.constructor as unknown as { new (dict: object): PretrainedConfig };
  const copy = new Config(config.to_dict());
  copy.architectures = [className];
  // Of a quantised model it stays what it was: the dtype of the vision position ids.
  if ([...named.values()].some((weight) => isQuantized(weight.dtype))) {
    copy.quantization_config = quantizationConfig(dtypes);
  } else copy.dtype = dtype;
  return copy.to_json_string();
}

/** The tensors that hold a weight: one, or of a quantised matrix two or three. */
function entriesOf(name: string, weight: Weight, engine: Engine, widen: boolean): Entry[] {
  return isQuantized(weight.dtype)
    ? quantizedEntries(name, weight, engine, () => weight)
    : [floatEntry(name, weight, engine, widen, () => weight)];
}

/** What is known of a weight before it is there. */
export type WeightShape = Pick<Weight, 'dtype' | 'shape' | 'N' | 'K'>;

/** @param get gives the weight when its bytes are wanted */
export function floatEntry(
  name: string,
  { dtype: stored, shape, N, K }: WeightShape,
  engine: Engine,
  widen: boolean,
  get: () => Weight | Promise<Weight>,
): Entry {
  const dtype = widen ? 'F32' : (stored as WeightDtype);
  return {
    name,
    dtype,
    shape,
    bytes: N * K * DTYPE_BYTES[dtype],
    parameters: N * K,
    async *pieces() {
      const rows = Math.max(1, Math.floor(PIECE_BYTES / (4 * K)));
      for (let first = 0; first < N; first += rows) {
        const weight = await get();
        void engine.kernels; // DisposedError if the model went meanwhile.
        const piece = rowBytes(engine, weight, first, Math.min(rows, N - first));
        yield dtype === stored ? piece : widened(stored as WeightDtype, piece);
        await turn();
      }
    },
  };
}

/** The scales, the minimums (in 4 bits) and the values of a quantised matrix. */
export function quantizedEntries(
  name: string,
  { dtype: quantized, N, K }: WeightShape,
  engine: Engine,
  get: () => Weight | Promise<Weight>,
): Entry[] {
  const dtype = quantized as 'I8' | 'I4';
  const shapes = storedShapes(dtype, N, K);
  const rows = 8 * Math.max(1, Math.floor(PIECE_BYTES / (8 * shapes.values[1])));
  async function* pieces(read: typeof storedValues) {
    for (let first = 0; first < N; first += rows) {
      const weight = await get();
      void engine.kernels;
      yield read(engine, weight, first, Math.min(rows, N - first));
      await turn();
    }
  }
  const [, blocks] = shapes.scales;
  const beside = (suffix: string, read: typeof storedValues): Entry => ({
    name: name + suffix,
    dtype: 'BF16',
    shape: shapes.scales,
    bytes: 2 * N * blocks,
    parameters: 0,
    quantized: true,
    pieces: () => pieces(read),
  });
  const values: Entry = {
    name,
    dtype: STORED_DTYPE[dtype],
    shape: shapes.values,
    bytes: N * shapes.values[1],
    parameters: N * K,
    quantized: true,
    pieces: () => pieces(storedValues),
  };
  const minimums = dtype === 'I4' ? [beside(MINIMUM_SUFFIX, storedMinimums)] : [];
  return [beside(SCALE_SUFFIX, storedScales), ...minimums, values];
}

function widened(dtype: WeightDtype, piece: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array((decode(dtype, piece) as Float32Array<ArrayBuffer>).buffer);
}
