/** The configurations that are measured (bench/configurations.json): options of `from_pretrained` as data. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { InputError, MemoryError } from '../src/errors.js';
import { type PretrainedOptions, SmolVLMForConditionalGeneration } from '../src/modeling.js';
import { root } from '../test/support/paths.js';
import type { Arithmetic } from './ceilings.js';

export interface Configuration {
  readonly dtype: 'float32' | 'bfloat16' | 'float16' | 'int8' | 'int4';
  readonly threads: number;
  readonly relaxed?: boolean;
  readonly kv_cache_dtype?: 'float32' | 'bfloat16' | 'int8';
  readonly low_memory?: boolean;
  /** Whether `npm run bench` measures it without being asked to. */
  readonly default?: boolean;
  /** What it should reach, in the unit of the part. */
  readonly aim?: number;
}

export type ConfiguredPart = 'layers' | 'model' | 'decode' | 'context' | 'memory' | 'load';

/** What a choice on the command line leaves of the configurations. */
export interface Choice {
  readonly dtype?: string;
  readonly threads?: number;
  readonly relaxed?: boolean;
}

export function configurations(part: ConfiguredPart, choice: Choice): Configuration[] {
  const all: Configuration[] = JSON.parse(readFileSync(join(root, 'bench/configurations.json'), 'utf8'))[
    part
  ];
  const isChosen = (key: keyof Choice, of: Configuration) =>
    choice[key] === undefined || (of[key] ?? false) === choice[key];
  const isOpen = choice.dtype === undefined && choice.threads === undefined && choice.relaxed === undefined;
  return all.filter(
    (one) =>
      (one.default || !isOpen) &&
      isChosen('dtype', one) &&
      isChosen('threads', one) &&
      isChosen('relaxed', one),
  );
}

export function configurationName({
  dtype,
  threads,
  relaxed,
  kv_cache_dtype,
  low_memory,
}: Configuration): string {
  const words = [dtype, `${threads} thread${threads === 1 ? '' : 's'}`];
  if (relaxed) words.push('relaxed SIMD');
  if (kv_cache_dtype) words.push(`KV cache ${kv_cache_dtype}`);
  if (low_memory) words.push('low_memory');
  return words.join(', ');
}

/** Bytes of a weight's value in memory; scales of quantised blocks come on top. */
export const WEIGHT_BYTES: Readonly<Record<Configuration['dtype'], number>> = {
  float32: 4,
  bfloat16: 2,
  float16: 2,
  int8: 1,
  int4: 0.5,
};

/** The same of a key or value in the cache. */
export const CACHE_BYTES: Readonly<Record<NonNullable<Configuration['kv_cache_dtype']>, number>> = {
  float32: 4,
  bfloat16: 2,
  int8: 1,
};

/** The arithmetic that bounds products of many rows. */
export function arithmeticOf({ dtype, relaxed }: Configuration): Arithmetic {
  const isInteger = dtype === 'int8' || dtype === 'int4';
  if (isInteger) return relaxed ? 'dot_i7' : 'dot_i16';
  return relaxed ? 'fused_multiply_add' : 'multiply_add';
}

/** A configuration that this version, this host or this size cannot have: reported, and the run goes on. */
export class Unsupported extends Error {}

/** The same prompt and tile come again and again: what was computed may not be used once more. */
const NOTHING_KEPT: PretrainedOptions = { prefix_cache_bytes: 0, image_cache_bytes: 0 };

/**
 * A checkpoint's model in a configuration.
 * @throws Unsupported, with the reason
 */
export async function openModel(
  folder: string,
  configuration: Configuration,
  more: PretrainedOptions = NOTHING_KEPT,
): Promise<SmolVLMForConditionalGeneration> {
  const { dtype, threads, relaxed, kv_cache_dtype, low_memory } = configuration;
  const options = { dtype, threads, relaxed, kv_cache_dtype, low_memory, ...more } as PretrainedOptions;
  for (const key of Object.keys(options) as (keyof typeof options)[]) {
    if (options[key] === undefined) delete options[key];
  }
  let model: SmolVLMForConditionalGeneration;
  try {
    model = await SmolVLMForConditionalGeneration.from_pretrained(folder, options);
  } catch (error) {
    if (error instanceof InputError) throw new Unsupported(`not supported: ${error.message}`);
    if (error instanceof MemoryError) throw new Unsupported(`does not fit: ${error.message}`);
    throw error;
  }
  const missing = optionsWithoutEffect(model, configuration);
  if (missing.length === 0) return model;
  model.dispose();
  throw new Unsupported(`without effect here: ${missing.join(', ')}`);
}

/** An option that is passed over in silence would measure something else: the model says what it does. */
function optionsWithoutEffect(
  model: SmolVLMForConditionalGeneration,
  configuration: Configuration,
): string[] {
  const { threads, kv_cache_dtype, low_memory } = configuration;
  const missing: string[] = [];
  if (model.threads !== threads) missing.push('threads');
  if (kv_cache_dtype && model.kv_cache_dtype !== kv_cache_dtype) missing.push('kv_cache_dtype');
  if (low_memory && !model.low_memory) missing.push('low_memory (all layers fit)');
  return missing;
}
