import { InputError } from '../errors.js';
import { PROCESSOR_EXTRAS } from '../generation/generate.js';
import { KVCache } from '../model/cache.js';
import type { ForwardInputs } from '../model/forward.js';
import type { LogitsToKeep } from '../model/head.js';
import type { HostTensor } from '../runtime/tensor.js';
import { checkTensors } from './tensor-arguments.js';

const SWITCHES = ['use_cache', 'output_attentions', 'output_hidden_states', 'return_dict'] as const;

/** Arguments of each `forward`, by name. */
export const VISION_ARGUMENTS = [
  'pixel_values',
  'patch_attention_mask',
  'output_attentions',
  'output_hidden_states',
  'return_dict',
  'position_dtype',
  'signal',
] as const;

export const MODEL_ARGUMENTS = [
  'input_ids',
  'attention_mask',
  'position_ids',
  'past_key_values',
  'inputs_embeds',
  'pixel_values',
  'pixel_attention_mask',
  'image_hidden_states',
  'use_cache',
  'output_attentions',
  'output_hidden_states',
  'return_dict',
  'cache_position',
  'position_dtype',
  'tap',
  'signal',
] as const;

export const CAUSAL_ARGUMENTS = [...MODEL_ARGUMENTS, 'labels', 'logits_to_keep'] as const;

/**
 * A forward's arguments without those that are null or undefined, which Python's None would be.
 * @throws InputError for a name that is none of `names`, a switch that is neither true nor false, a tensor that is none
 */
export function givenArguments<T extends object>(args: T, names: readonly string[]): T {
  const given = Object.entries(args).filter(
    ([name, value]) => value !== undefined && value !== null && !PROCESSOR_EXTRAS.includes(name),
  );
  for (const [name, value] of given) {
    if (!names.includes(name)) throw wrong('no such argument', name, names.join(', '), name);
    const isSwitch = (SWITCHES as readonly string[]).includes(name);
    if (isSwitch && typeof value !== 'boolean')
      throw wrong('wrong value', name, 'true or false', show(value));
    if (name === 'past_key_values' && !(value instanceof KVCache)) {
      throw wrong('only a cache is allowed', name, 'past_key_values of an earlier call', show(value));
    }
    if (name === 'tap' && typeof value !== 'function') {
      throw wrong('wrong value', name, 'a function', show(value));
    }
  }
  const out = Object.fromEntries(given) as T;
  checkTensors(out);
  return out;
}

/**
 * The cache keeps no keys of pads, so a mask must repeat what it said of the columns before.
 * @throws InputError where the reference would look at keys that are not there, or leave out some that are
 */
export function checkPastMask({
  past_key_values: cache,
  attention_mask,
  input_ids,
  inputs_embeds,
}: ForwardInputs) {
  const [batch, sequence] = (input_ids ?? inputs_embeds)?.dims ?? [];
  if (!cache || cache.seen === 0 || sequence === undefined) return;
  const { seen } = cache;
  const rows = Array.from({ length: Math.min(batch, cache.batch) }, (_, row) => row);
  if (!attention_mask) {
    const padded = rows.find((row) => cache.length(row) < seen);
    if (padded === undefined) return;
    const got = `none, and ${seen - cache.length(padded)} pads in the cache`;
    throw wrong('the cache has pads', 'attention_mask', `[${batch}, ${seen + sequence}]`, got);
  }
  const columns = seen + sequence;
  if (String(attention_mask.dims) !== String([batch, columns])) {
    const expected = `[${batch}, ${columns}]: the columns of the cache and of the tokens`;
    throw wrong('shape does not fit the cache', 'attention_mask', expected, `[${attention_mask.dims}]`);
  }
  for (const row of rows) checkPastRow(cache, row, attention_mask, columns);
}

function checkPastRow(cache: KVCache, row: number, mask: HostTensor, columns: number): void {
  const keys = new Set(cache.columns(row));
  for (let column = 0; column < cache.seen; column++) {
    const isKey = Number(mask.data[row * columns + column]) !== 0;
    if (isKey === keys.has(column)) continue;
    const where = `attention_mask, row ${row}, column ${column}`;
    throw wrong('the mask of a cached column changes', where, isKey ? '0' : 'not 0', isKey ? 'not 0' : '0');
  }
}

/**
 * The columns to keep: 0 keeps all, n the last n, −n those from column n on (as Python's slice(−n) does), a list its own.
 * @throws InputError unless it is an integer, or integers in one dimension
 */
export function readLogitsToKeep(
  keep: LogitsToKeep | HostTensor | undefined,
  sequence: number,
): LogitsToKeep | undefined {
  const where = 'logits_to_keep';
  if (keep === undefined) return undefined;
  if (typeof keep === 'number' || typeof keep === 'bigint') {
    const count = Number(keep);
    if (!Number.isInteger(count))
      throw wrong('wrong value', where, 'an integer, or a list of them', `${keep}`);
    return count >= 0 ? count : Array.from({ length: Math.max(0, sequence + count) }, (_, i) => i - count);
  }
  const isTensor = typeof keep === 'object' && 'dims' in keep;
  if (isTensor && keep.dims.length > 1) throw wrong('wrong shape', where, '[kept]', `[${keep.dims}]`);
  const indices = isTensor ? keep.data : (keep as ArrayLike<number | bigint>);
  // A tensor without dimensions is a number.
  if (isTensor && keep.dims.length === 0) return readLogitsToKeep(Number(indices[0]), sequence);
  const list = typeof keep === 'object' ? Array.from(indices, Number) : [Number.NaN];
  const bad = list.findIndex((index) => !Number.isInteger(index));
  if (bad < 0) return list;
  const got = typeof keep === 'object' ? show(indices[bad]) : show(keep);
  throw wrong('wrong value', where, 'an integer, or a list of them', got);
}

function wrong(what: string, where: string, expected: string, got: string): InputError {
  return new InputError({ what, where, expected, got });
}

function show(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  return value.constructor?.name ?? 'an object';
}
