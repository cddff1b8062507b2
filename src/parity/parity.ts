import { openCheckpoint } from '../checkpoint/folder.js';
import { forAdapter } from '../checkpoint/hub/options.js';
import { fileSource } from '../checkpoint/source.js';
import { checkSignal } from '../errors.js';
import type { PositionDtype } from '../model/config.js';
import { type LoadOptions, loadModel } from '../model/load.js';
import type { Model } from '../model/model.js';
import { uniformDtypes } from '../model/weight-dtypes.js';
import type { HostTensor } from '../runtime/tensor.js';
import { entryDtypes, type Golden, type GoldenEntry, openGolden } from './golden.js';
import { type GreedyVerdict, runGreedy } from './greedy.js';
import { runPlain, runTapped } from './run.js';
import { comparedRows, exceedsStrict, failed, judge, nmseBound, type TensorVerdict } from './verdict.js';

export interface ParityReport {
  /** The golden's file name, and what its metadata says. */
  readonly golden: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** What torch computed in. */
  readonly dtype: PositionDtype;
  /** NMSE that every tensor must hold. */
  readonly bound: number;
  /** Every tensor of the file: in forward order, then those that the runtime does not produce. */
  readonly tensors: readonly TensorVerdict[];
  /** Of a golden with sequences. */
  readonly greedy?: GreedyVerdict;
  /** Whether the logits have the same bits with and without taps. */
  readonly sameBits: boolean;
  /** Threads that computed, and whether with relaxed SIMD: the bits then depend on the processor. */
  readonly threads: number;
  readonly relaxed: boolean;
  readonly seconds: number;
}

export interface ParityOptions {
  /** Called with each tensor's verdict as it is reached. */
  onVerdict?: (verdict: TensorVerdict) => void;
  signal?: AbortSignal;
}

interface PathOptions {
  /** Called when the golden is open, and when the model is loaded. */
  onGolden?: (golden: Golden) => void;
  onModel?: (model: Model) => void;
  /** A PEFT folder whose LoRA adapter is merged into the checkpoint. */
  adapter?: string;
  /** Default: 1, and false. */
  threads?: LoadOptions['threads'];
  relaxed?: boolean;
}

const WEIGHT_DTYPES = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const;

/**
 * Runs a checkpoint on a golden's inputs and compares every tensor of the file.
 * @param folder the checkpoint folder's path
 * @param path the golden's path
 * @throws CheckpointError, ConfigError, InputError, MemoryError where either is unusable
 */
export async function parity(
  folder: string,
  path: string,
  options: ParityOptions & PathOptions = {},
): Promise<ParityReport> {
  const golden = await openGolden(await fileSource(path), options.signal);
  try {
    options.onGolden?.(golden);
    const checkpoint = await openCheckpoint(folder, options);
    // A run in half precision rounded its weights too.
    const dtypes = uniformDtypes(WEIGHT_DTYPES[golden.dtype]);
    const adapter =
      options.adapter === undefined ? undefined : await openCheckpoint(options.adapter, forAdapter(options));
    const loading = loadModel(checkpoint, { ...options, dtypes, adapter });
    const model = await loading.finally(() => checkpoint.close());
    try {
      options.onModel?.(model);
      return await compareGolden(model, golden, options);
    } finally {
      model.ops.engine.dispose();
    }
  } finally {
    await golden.file.close();
  }
}

/** Like `parity`, for a model and a golden that are open. */
export async function compareGolden(
  model: Model,
  golden: Golden,
  { onVerdict, signal }: ParityOptions = {},
): Promise<ParityReport> {
  const started = performance.now();
  const bound = nmseBound(golden.dtype);
  const tensors: TensorVerdict[] = [];
  const waiting = new Map(golden.entries);
  const add = (verdict: TensorVerdict) => {
    tensors.push(verdict);
    onVerdict?.(verdict);
  };
  const tapped = await runTapped(model, golden, async (name, value) => {
    checkSignal(signal);
    const entry = waiting.get(name);
    if (!entry) return;
    waiting.delete(name);
    add(await judgeEntry(golden, name, entry, value, bound));
  });
  for (const [name, entry] of waiting) {
    const { shape } = (entry.reference ?? entry.float64)!;
    add(failed(name, shape, bound, 'missing', 'the runtime produces no tensor of this name'));
  }
  const plain = await runPlain(model, golden);
  return {
    golden: golden.file.name,
    metadata: Object.fromEntries(golden.metadata),
    dtype: golden.dtype,
    bound,
    tensors,
    greedy: await runGreedy(model, golden),
    sameBits: equalBits(tapped.data, plain.data),
    threads: model.ops.engine.threads,
    relaxed: model.ops.engine.relaxed,
    seconds: (performance.now() - started) / 1000,
  };
}

async function judgeEntry(
  golden: Golden,
  name: string,
  { reference, float64 }: GoldenEntry,
  ours: HostTensor<Float32Array>,
  bound: number,
): Promise<TensorVerdict> {
  const dims = (reference ?? float64)!.shape;
  for (const info of [reference, float64]) {
    if (!info) continue;
    const allowed = entryDtypes(golden, info === float64);
    if (!allowed.includes(info.dtype)) {
      const detail = `${info.name}: expected ${allowed.join(' or ')}, got ${info.dtype}`;
      return failed(name, dims, bound, 'dtype', detail);
    }
    if (String(info.shape) !== String(ours.dims)) {
      const detail = `expected the golden's [${info.shape.join(', ')}], got [${ours.dims.join(', ')}]`;
      return failed(name, info.shape, bound, 'shape', detail);
    }
  }
  const values = {
    reference: reference && (await golden.file.readFloat32(reference.name)),
    float64: float64 && (await golden.file.readFloat64(float64.name)),
  };
  const { batch, sequence, forward, logits_to_keep } = golden.inputs;
  const columns = keptColumns(logits_to_keep, sequence);
  const masked = { batch, sequence, attention_mask: forward.attention_mask, columns };
  return judge(name, ours, values, bound, comparedRows(name, dims, masked));
}

/** The columns that logits are computed for, negative ones counted from the end. */
function keptColumns(keep: number | ArrayLike<number | bigint>, sequence: number): number[] {
  const all = Array.from({ length: sequence }, (_, column) => column);
  if (typeof keep === 'number') return all.slice(keep === 0 ? 0 : -keep);
  return Array.from(keep, (column) => (Number(column) < 0 ? Number(column) + sequence : Number(column)));
}

function equalBits(a: Float32Array, b: Float32Array): boolean {
  const bits = (values: Float32Array) => new Uint32Array(values.buffer, values.byteOffset, values.length);
  const [left, right] = [bits(a), bits(b)];
  return left.length === right.length && left.every((value, i) => value === right[i]);
}

/** What a report comes to. */
export interface ParitySummary {
  readonly holds: boolean;
  readonly compared: number;
  readonly failures: readonly TensorVerdict[];
  /** In forward order. */
  readonly firstDivergence?: TensorVerdict;
  /** Tensors with a ratio, and those over twice PyTorch's own error. */
  readonly rated: number;
  readonly overStrict: readonly TensorVerdict[];
  /** The largest NMSE against float64 (against the reference's own run where there is no float64). */
  readonly worst?: TensorVerdict;
}

/** @param strict whether more than twice PyTorch's own error fails too */
export function summarize({ tensors, greedy, sameBits }: ParityReport, strict = false): ParitySummary {
  const overStrict = tensors.filter(exceedsStrict);
  const failures = tensors.filter((tensor) => !tensor.holds || (strict && overStrict.includes(tensor)));
  const nmse = ({ float64, reference }: TensorVerdict) => (float64 ?? reference)?.nmse ?? -1;
  const compared = tensors.filter(({ float64, reference }) => float64 || reference);
  const worst = compared.reduce<TensorVerdict | undefined>(
    (most, tensor) => (most && nmse(most) >= nmse(tensor) ? most : tensor),
    undefined,
  );
  return {
    holds: failures.length === 0 && sameBits && greedy?.holds !== false,
    compared: tensors.length,
    failures,
    firstDivergence: failures[0],
    rated: tensors.filter(({ ratio }) => ratio !== undefined).length,
    overStrict,
    worst,
  };
}
