import { ConfigError } from '../errors.js';

/** adapter_config.json of a LoRA adapter (peft's LoraConfig), as far as merging depends on it. */
export interface LoraConfig {
  readonly r: number;
  readonly lora_alpha: number;
  readonly use_rslora: boolean;
  /** Names and ends of names, a regular expression for the whole name, or "all-linear". */
  readonly target_modules: readonly string[] | string;
  readonly exclude_modules: readonly string[] | string;
  readonly layers_to_transform: readonly number[];
  readonly layers_pattern: readonly string[];
  readonly rank_pattern: Readonly<Record<string, number>>;
  readonly alpha_pattern: Readonly<Record<string, number>>;
  readonly bias: 'none' | 'all' | 'lora_only';
  readonly modules_to_save: readonly string[];
}

/** Fields that change the result in ways that are not implemented, unless they are absent, null, false or empty. */
const REFUSED = [
  'use_dora',
  'use_qalora',
  'lora_bias',
  'layer_replication',
  'megatron_config',
  'target_parameters',
  'trainable_token_indices',
  'alora_invocation_tokens',
];

/** Ways of starting the training that leave the base as it is; others (pissa, olora, corda, loftq) change it. */
const INITS: readonly unknown[] = [undefined, null, true, false, 'gaussian', 'eva', 'orthogonal'];

/**
 * Reads adapter_config.json's content. `fan_in_fan_out` counts for nothing, since none of the layers is a Conv1D: peft
 * sets it to false for the others.
 * @throws ConfigError naming the field, with expected and got: also for other peft types and what is not implemented.
 */
export function parseAdapterConfig(json: unknown, file: string): LoraConfig {
  const fields = new AdapterFields(json, file);
  if (fields.value('peft_type') !== 'LORA') throw fields.error('peft_type', 'LORA', 'not a LoRA adapter');
  for (const field of REFUSED) {
    if (isEmpty(fields.value(field))) continue;
    throw fields.error(field, 'absent, null or false', 'adapter feature is not implemented');
  }
  if (!INITS.includes(fields.value('init_lora_weights'))) {
    const what = 'an adapter whose start changed the base is not implemented';
    throw fields.error('init_lora_weights', 'true, false, gaussian, eva or orthogonal', what);
  }
  const target_modules = fields.names('target_modules');
  if (target_modules.length === 0) throw fields.error('target_modules', 'names or a regular expression');
  const bias = fields.value('bias') ?? 'none';
  if (bias !== 'none' && bias !== 'all' && bias !== 'lora_only') {
    throw fields.error('bias', 'none, all or lora_only');
  }
  return {
    r: fields.rank(),
    lora_alpha: fields.number('lora_alpha', 8),
    use_rslora: fields.boolean('use_rslora'),
    target_modules,
    exclude_modules: fields.names('exclude_modules'),
    layers_to_transform: fields.integers('layers_to_transform'),
    layers_pattern: fields.list('layers_pattern'),
    rank_pattern: fields.numbers('rank_pattern', isRank, 'ranks'),
    alpha_pattern: fields.numbers('alpha_pattern', Number.isFinite, 'numbers'),
    bias,
    modules_to_save: fields.list('modules_to_save'),
  };
}

class AdapterFields {
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #file: string;

  constructor(json: unknown, file: string) {
    this.#file = file;
    if (!isObject(json)) {
      const got = show(json);
      throw new ConfigError({ what: 'not an object', where: file, expected: 'a JSON object', got });
    }
    this.#object = json;
  }

  value(field: string): unknown {
    return Object.hasOwn(this.#object, field) ? (this.#object[field] ?? undefined) : undefined;
  }

  rank(): number {
    const value = this.value('r') ?? 8;
    if (isRank(value)) return value;
    throw this.error('r', 'an integer of at least 1');
  }

  number(field: string, fallback: number): number {
    const value = this.value(field) ?? fallback;
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    throw this.error(field, 'a number');
  }

  boolean(field: string): boolean {
    const value = this.value(field) ?? false;
    if (typeof value === 'boolean') return value;
    throw this.error(field, 'true or false');
  }

  /** Strings, or one string that means something else than a list of one. */
  names(field: string): readonly string[] | string {
    const value = this.value(field) ?? [];
    if (typeof value === 'string' || isStrings(value)) return value;
    throw this.error(field, 'a string or an array of strings');
  }

  list(field: string): readonly string[] {
    const names = this.names(field);
    if (typeof names !== 'string') return names;
    return names === '' ? [] : [names];
  }

  integers(field: string): readonly number[] {
    const value = this.value(field) ?? [];
    const list = Array.isArray(value) ? value : [value];
    if (list.every((item) => Number.isInteger(item))) return list;
    throw this.error(field, 'an integer or an array of integers');
  }

  numbers(
    field: string,
    isValid: (value: unknown) => boolean,
    kind: string,
  ): Readonly<Record<string, number>> {
    const value = this.value(field) ?? {};
    if (isObject(value) && Object.values(value).every(isValid)) return value as Record<string, number>;
    throw this.error(field, `an object of ${kind} by module name`);
  }

  error(field: string, expected: string, what = 'adapter field is invalid'): ConfigError {
    const got = Object.hasOwn(this.#object, field) ? show(this.#object[field]) : 'nothing';
    return new ConfigError({ what, where: `${this.#file}: ${field}`, expected, got });
  }
}

function isRank(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1;
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === false) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
