import { ConfigError } from '../errors.js';

/** No size that fits a memory of 4 GiB is larger. */
const MAX_SIZE = 2 ** 31 - 1;
const MAX_LAYERS = 4096;

/**
 * Reads the fields of one object of config.json, with defaults, and says where a wrong one is. A field set to null is
 * taken as absent only where the reference takes it so (`nullable…`); elsewhere it is an error.
 */
export class ConfigFields {
  readonly #object: Readonly<Record<string, unknown>>;
  /** "config.json: text_config." */
  readonly #prefix: string;

  /** @throws ConfigError if `value` is no object. */
  constructor(value: unknown, prefix: string) {
    this.#prefix = prefix;
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      this.#object = value as Record<string, unknown>;
      return;
    }
    const where = prefix.replace(/[:. ]+$/, '');
    throw new ConfigError({ what: 'not an object', where, expected: 'a JSON object', got: show(value) });
  }

  where(field: string): string {
    return this.#prefix + field;
  }

  /** The field's value; undefined where it is absent or null. */
  value(field: string): unknown {
    const value = Object.hasOwn(this.#object, field) ? this.#object[field] : undefined;
    return value ?? undefined;
  }

  /** Fields of the object in this field; undefined where that is absent or null. */
  object(field: string): ConfigFields | undefined {
    const value = this.value(field);
    return value === undefined ? undefined : new ConfigFields(value, `${this.#prefix}${field}.`);
  }

  /** An integer from `minimum` (1 by default: sizes and counts) to `maximum`. */
  integer(field: string, fallback: number, minimum = 1, maximum = MAX_SIZE): number {
    const value = this.#present(field, fallback);
    const valid = Number.isInteger(value) && (value as number) >= minimum && (value as number) <= maximum;
    if (valid) return value as number;
    throw this.error(field, `an integer from ${minimum} to ${maximum}`);
  }

  /** num_hidden_layers: bounded, so that a wrong one cannot make the list of tensors endless. */
  layers(fallback: number): number {
    return this.integer('num_hidden_layers', fallback, 1, MAX_LAYERS);
  }

  nullableInteger(field: string, minimum = 1): number | undefined {
    return this.value(field) === undefined ? undefined : this.integer(field, minimum, minimum);
  }

  positive(field: string, fallback: number): number {
    const value = this.#present(field, fallback);
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
    throw this.error(field, 'a number above 0');
  }

  /** true or false; null counts as false, as in the reference. */
  boolean(field: string, fallback: boolean): boolean {
    const value = Object.hasOwn(this.#object, field) ? (this.#object[field] ?? false) : fallback;
    if (typeof value === 'boolean') return value;
    throw this.error(field, 'true or false');
  }

  choice<T extends string>(field: string, fallback: T, choices: readonly T[]): T {
    const value = this.#present(field, fallback);
    if (choices.includes(value as T)) return value as T;
    throw this.error(field, `one of ${choices.join(', ')}`);
  }

  /** A token id, several, or null. */
  tokenIds(field: string, fallback: number | null): number | readonly number[] | null {
    const value = Object.hasOwn(this.#object, field) ? this.#object[field] : fallback;
    if (value === null) return null;
    const ids = Array.isArray(value) ? value : [value];
    if (ids.every((id) => Number.isSafeInteger(id))) return value as number | number[];
    throw this.error(field, 'a token id, an array of them, or null');
  }

  /** @throws ConfigError if the field asks for something: it is there and not one of `harmless`. */
  refuse(field: string, what: string, harmless: readonly unknown[] = [false]): void {
    const value = this.value(field);
    if (value === undefined || harmless.includes(value)) return;
    throw this.error(field, ['absent', ...harmless.map(show)].join(' or '), what);
  }

  error(field: string, expected: string, what = 'config field is invalid'): ConfigError {
    const got = Object.hasOwn(this.#object, field) ? show(this.#object[field]) : 'nothing';
    return new ConfigError({ what, where: this.where(field), expected, got });
  }

  #present(field: string, fallback: unknown): unknown {
    return Object.hasOwn(this.#object, field) ? this.#object[field] : fallback;
  }
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
