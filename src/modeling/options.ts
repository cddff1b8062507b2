import type { CheckpointLocation } from '../checkpoint/folder.js';
import { type HubOptions, splitHubOptions } from '../checkpoint/hub/options.js';
import { InputError } from '../errors.js';
import type { CacheDtype } from '../model/cache.js';
import type { PositionDtype } from '../model/config.js';
import type { LoadOptions } from '../model/load.js';
import {
  type DTypeOption,
  dtypeName,
  FLOAT_NAMES,
  isFloatName,
  type PartDTypes,
  readDtype,
} from './dtype-names.js';

export type { DTypeName, DTypeOption, PartDTypes } from './dtype-names.js';

/** Where the model runs: one place here, the CPU by way of WebAssembly. */
export type DeviceOption = 'auto' | 'cpu' | 'wasm';

const CACHE_DTYPES: readonly CacheDtype[] = ['float32', 'bfloat16', 'int8'];
const DEVICES = ['auto', 'cpu', 'wasm'];
const ATTENTIONS = ['eager', 'sdpa', 'flash_attention_2', 'flash_attention_3', 'flex_attention'] as const;

/** Options of the reference that mean little or nothing here, accepted so that its code carries over. */
export interface PlacementOptions {
  /**
   * The dtype of the weights. `auto` (the default): as they are stored, where that fits in memory with room for a run; else
   * the widest of `bfloat16`, `int8` and `int4` that does (`model.dtypes` says which it was). `float32`: the same values
   * (kept as they are stored, widened when saved). `float16` and `bfloat16`: rounded to nearest while they are read, as the
   * reference does. These three are also the dtype of the vision position ids, and the arithmetic is float32 whatever it is.
   *
   * `int8` and `int4`: matrices are quantised while they are read, in blocks of 64 and of 32 inputs with a scale for each output, and
   * multiplied as integers. Norms, biases, patch and position embeddings stay as they are stored. `int4` leaves head and
   * token embedding at 8 bits.
   *
   * An object gives each part its own: `{ vision: 'int8', text: 'int4', head: 'int8', embeddings: 'bfloat16' }`; a part left
   * out is as it is stored. A head that is tied to the embeddings is one tensor with them, in one dtype.
   */
  dtype?: 'auto' | DTypeOption | PartDTypes | null;
  /** The older name of `dtype`, which wins where both are given. */
  torch_dtype?: 'auto' | DTypeOption | PartDTypes | null;
  /** `auto`, `cpu` or `wasm` (also under the key ''): they all mean the CPU by way of WebAssembly. */
  device_map?: DeviceOption | Readonly<Record<string, DeviceOption>> | null;
  device?: DeviceOption | null;
  /** There is one attention here, with eager's arithmetic; it gives attentions under each of these names. */
  attn_implementation?: (typeof ATTENTIONS)[number] | null;
  /** The dtype of the vision position ids' arithmetic, where it is not the weights'. */
  position_dtype?: PositionDtype;
}

/** Options of `from_pretrained`. */
export interface PretrainedOptions
  extends PlacementOptions,
    HubOptions,
    Omit<LoadOptions, 'dtypes' | 'positionDtype' | 'adapter' | 'threads'> {
  /**
   * Threads that compute; any number gives the same bits. Default: `auto`, but 1 for models of less than 8 million weights,
   * which more would make slower. `auto`: as many as the host runs at once, where it
   * shares memory between threads and starts workers (Node, Deno, Bun, cross-origin isolated pages); elsewhere (edge
   * functions, other pages, with `module`) 1. With more than 1 they are workers, started by the first run and ended by
   * `dispose()`, and the caller's thread stays free; with 1 it computes. `model.threads` says how many there are.
   */
  threads?: number | 'auto' | null;
  /**
   * A PEFT folder (adapter_config.json and adapter_model.safetensors) whose LoRA adapter is merged into the weights while
   * they are read, as peft's merge_and_unload does: its path, a repository (its `main`), its URL, or its files by name. With `dtype` the base is rounded
   * first and the merged weights are kept in that dtype (quantised after the merge); otherwise in the one that they are stored in.
   */
  adapter?: CheckpointLocation;
}

/** Options of new models with random weights. */
export interface InitOptions extends PretrainedOptions {
  /** An integer; the same one gives the same weights on every platform. Default: 0. */
  seed?: number;
}

/** @throws InputError naming the option whose value means nothing here */
export function readOptions(options: PretrainedOptions): Omit<LoadOptions, 'adapter'> {
  const {
    adapter: _,
    dtype,
    torch_dtype,
    device_map,
    device,
    attn_implementation,
    position_dtype,
    threads,
    ...load
  } = options;
  const [{ signal, progress_callback }, own] = splitHubOptions(load);
  checkDevice('device_map', device_map);
  checkDevice('device', device);
  oneOf('attn_implementation', attn_implementation, ATTENTIONS);
  oneOf('low_memory', options.low_memory, [true, false]);
  oneOf('position_dtype', position_dtype, FLOAT_NAMES);
  oneOf('kv_cache_dtype', options.kv_cache_dtype, CACHE_DTYPES);
  const { name, dtypes } = readDtype(dtype ?? torch_dtype);
  const positionDtype = position_dtype ?? (isFloatName(name) ? name : undefined);
  return { ...own, signal, progress_callback, threads: threads ?? 'by size', dtypes, positionDtype };
}

/** What `.to(…)` was given: a device, a dtype, or both in an object. @throws InputError */
export function readTarget(target: unknown, more: unknown): PositionDtype | undefined {
  const isName = (value: unknown): value is string => typeof value === 'string';
  const parts = [target, more].flatMap((part) => {
    if (part === undefined || part === null) return [];
    if (isName(part)) return DEVICES.includes(part) ? [{ device: part }] : [{ dtype: part }];
    return [part as { device?: unknown; dtype?: unknown }];
  });
  let dtype: PositionDtype | undefined;
  for (const part of parts) {
    const unknown = Object.keys(part).find((key) => key !== 'device' && key !== 'dtype');
    if (unknown !== undefined) throw refused('to', 'device and dtype', unknown);
    checkDevice('to', part.device);
    const name = dtypeName(part.dtype);
    if (name && !isFloatName(name)) {
      const expected = `a new model: from_pretrained with dtype: '${name}' quantises while it reads`;
      throw new InputError({ what: 'weights in memory are not quantised', where: 'to', expected, got: name });
    }
    dtype = name ?? dtype;
  }
  return dtype;
}

function checkDevice(where: string, value: unknown): void {
  const devices = typeof value === 'object' && value !== null ? Object.values(value) : [value];
  for (const device of devices) oneOf(where, device, DEVICES);
}

function oneOf(
  where: string,
  value: unknown,
  choices: readonly (string | boolean)[],
  got: unknown = value,
): void {
  if (value === undefined || value === null || choices.includes(value as string | boolean)) return;
  throw refused(where, `one of ${choices.join(', ')}`, got);
}

function refused(where: string, expected: string, got: unknown): InputError {
  const shown = JSON.stringify(got) ?? String(got);
  return new InputError({ what: 'wrong value', where, expected, got: shown });
}
