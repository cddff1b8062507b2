import type { CheckpointLocation } from '../checkpoint/folder.js';
import { InputError } from '../errors.js';
import type { PositionDtype } from '../model/config.js';
import type { LoadOptions } from '../model/load.js';
import type { WeightDtype } from '../runtime/weight.js';

export type DTypeName = 'float32' | 'float16' | 'bfloat16';

/** A dtype as it is asked for: with or without the "torch." that Python prints before it. */
export type DTypeOption = DTypeName | `torch.${DTypeName}`;

const WEIGHT_DTYPES: Readonly<Record<DTypeName, WeightDtype>> = {
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
};

/** Where the model runs: one place here, the CPU by way of WebAssembly. */
export type DeviceOption = 'auto' | 'cpu' | 'wasm';

const DEVICES = ['auto', 'cpu', 'wasm'];
const ATTENTIONS = ['eager', 'sdpa', 'flash_attention_2', 'flash_attention_3', 'flex_attention'] as const;

/** Options of the reference that mean little or nothing here, accepted so that its code carries over. */
export interface PlacementOptions {
  /**
   * The dtype of the weights; the arithmetic is float32 whatever it is. `auto` (the default): as they are stored.
   * `float32`: the same values (kept as they are stored, widened when saved). `float16` and `bfloat16`: rounded to nearest
   * while they are read, as the reference does. Any but `auto` is also the dtype of the vision position ids.
   */
  dtype?: 'auto' | DTypeOption | null;
  /** The older name of `dtype`, which wins where both are given. */
  torch_dtype?: 'auto' | DTypeOption | null;
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
    Omit<LoadOptions, 'weightDtype' | 'positionDtype' | 'adapter'> {
  /**
   * A PEFT folder (adapter_config.json and adapter_model.safetensors) whose LoRA adapter is merged into the weights while
   * they are read, as peft's merge_and_unload does: its path, its URL, or its files by name. With `dtype` the base is rounded
   * first and the merged weights are kept in that dtype; otherwise in the one that they are stored in.
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
    ...load
  } = options;
  checkDevice('device_map', device_map);
  checkDevice('device', device);
  oneOf('attn_implementation', attn_implementation, ATTENTIONS);
  oneOf('position_dtype', position_dtype, Object.keys(WEIGHT_DTYPES));
  const name = dtypeName(dtype ?? torch_dtype);
  return {
    ...load,
    weightDtype: name && WEIGHT_DTYPES[name],
    positionDtype: position_dtype ?? name,
  };
}

/** The dtype's plain name; undefined for auto. @throws InputError */
export function dtypeName(dtype: string | null | undefined): DTypeName | undefined {
  if (dtype === undefined || dtype === null || dtype === 'auto') return undefined;
  const name = String(dtype).replace(/^torch\./, '');
  oneOf('dtype', name, ['auto', ...Object.keys(WEIGHT_DTYPES)], dtype);
  return name as DTypeName;
}

export function weightDtype(name: DTypeName): WeightDtype {
  return WEIGHT_DTYPES[name];
}

export function nameOfDtype(dtype: WeightDtype): DTypeName {
  return (Object.keys(WEIGHT_DTYPES) as DTypeName[]).find((name) => WEIGHT_DTYPES[name] === dtype)!;
}

/** What `.to(…)` was given: a device, a dtype, or both in an object. @throws InputError */
export function readTarget(target: unknown, more: unknown): DTypeName | undefined {
  const isName = (value: unknown): value is string => typeof value === 'string';
  const parts = [target, more].flatMap((part) => {
    if (part === undefined || part === null) return [];
    if (isName(part)) return DEVICES.includes(part) ? [{ device: part }] : [{ dtype: part }];
    return [part as { device?: unknown; dtype?: unknown }];
  });
  let dtype: DTypeName | undefined;
  for (const part of parts) {
    const unknown = Object.keys(part).find((key) => key !== 'device' && key !== 'dtype');
    if (unknown !== undefined) throw refused('to', 'device and dtype', unknown);
    checkDevice('to', part.device);
    dtype = dtypeName(part.dtype as string | undefined) ?? dtype;
  }
  return dtype;
}

function checkDevice(where: string, value: unknown): void {
  const devices = typeof value === 'object' && value !== null ? Object.values(value) : [value];
  for (const device of devices) oneOf(where, device, DEVICES);
}

function oneOf(where: string, value: unknown, choices: readonly string[], got: unknown = value): void {
  if (value === undefined || value === null || choices.includes(value as string)) return;
  throw refused(where, `one of ${choices.join(', ')}`, got);
}

function refused(where: string, expected: string, got: unknown): InputError {
  const shown = JSON.stringify(got) ?? String(got);
  return new InputError({ what: 'wrong value', where, expected, got: shown });
}
