import { InputError } from '../errors.js';
import type { HostData } from '../runtime/tensor.js';

/** Tensors of integers, whatever the dtype that they come in. */
const INTEGERS = ['input_ids', 'position_ids', 'cache_position', 'labels'];
/** Tensors of real numbers. */
const NUMBERS = ['pixel_values', 'inputs_embeds', 'image_hidden_states'];
/** Tensors of which only zero and not zero count. */
const MASKS = ['attention_mask', 'pixel_attention_mask', 'patch_attention_mask'];

/**
 * Checks that each tensor among a forward's arguments is one: `dims`, and as many values in a typed array.
 * @throws InputError naming the argument, with expected and got
 */
export function checkTensors(args: object): void {
  const given = args as Readonly<Record<string, unknown>>;
  for (const name of [...INTEGERS, ...NUMBERS, ...MASKS]) {
    if (given[name] === undefined) continue;
    const data = checkTensor(name, given[name]);
    if (INTEGERS.includes(name)) checkIntegers(name, data);
    else if (NUMBERS.includes(name) && isBigInts(data)) {
      throw wrong(name, 'floating-point values', data.constructor.name);
    }
  }
}

type TypedArray = HostData | BigUint64Array | Uint8ClampedArray;

function checkTensor(name: string, value: unknown): TypedArray {
  const { dims, data } = (typeof value === 'object' ? value : {}) as { dims?: unknown; data?: unknown };
  if (!Array.isArray(dims) || !ArrayBuffer.isView(data) || data instanceof DataView) {
    throw wrong(name, '{ dims: number[], data: a typed array }', show(value));
  }
  const size = dims.reduce((product: number, n) => product * n, 1);
  const values = data as TypedArray;
  if (dims.every((n) => Number.isInteger(n) && n >= 0) && values.length === size) return values;
  throw wrong(name, `${size} values for [${dims}]`, `${values.length}`);
}

function checkIntegers(name: string, data: TypedArray): void {
  // Other arrays hold nothing else.
  if (!(data instanceof Float32Array || data instanceof Float64Array)) return;
  const bad = data.findIndex((value) => !Number.isInteger(value));
  if (bad >= 0) throw wrong(`${name}, index ${bad}`, 'an integer', `${data[bad]}`);
}

function isBigInts(data: TypedArray): boolean {
  return data instanceof BigInt64Array || data instanceof BigUint64Array;
}

function wrong(where: string, expected: string, got: string): InputError {
  return new InputError({ what: 'wrong tensor', where, expected, got });
}

function show(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  if (typeof value !== 'object' || value === null) return String(value);
  const { dims, data } = value as { dims?: unknown; data?: object };
  return `{ dims: ${JSON.stringify(dims)}, data: ${data?.constructor?.name ?? data} }`;
}
