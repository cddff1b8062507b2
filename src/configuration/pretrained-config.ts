// biome-ignore-all lint/complexity/noThisInStatic: `this` is the config class that the method is called on.
import { type CheckpointLocation, openCheckpoint } from '../checkpoint/folder.js';
import { type HubOptions, splitHubOptions } from '../checkpoint/hub/options.js';
import { ConfigError } from '../errors.js';
import { COMMON_ATTRIBUTES, REFERENCE_VERSION } from './common-attributes.js';
import { clone, differs, isObject, type JsonObject, sortedJson } from './json.js';
import { openTarget, type SaveTarget } from './save-target.js';

/** Keyword arguments of a config: the class's own, the common ones, and any others, which become attributes. */
export type ConfigArguments = Readonly<Record<string, unknown>>;

interface ConfigClass<T> {
  new (kwargs?: ConfigArguments): T;
  readonly model_type: string;
  readonly base_config_key: string;
}

/**
 * What all configs share (PretrainedConfig): attributes with the reference's defaults, any further ones as they are given,
 * and JSON both ways. Attributes may be read and set; a model's `forward` takes its defaults from them.
 */
export class PretrainedConfig {
  [attribute: string]: unknown;
  static readonly model_type: string = '';
  /** The field of a composite config that holds one of this class. */
  static readonly base_config_key: string = '';

  declare model_type: string;
  declare return_dict: boolean;
  declare output_hidden_states: boolean;
  declare output_attentions: boolean;
  declare dtype: string | null;
  declare tie_word_embeddings: boolean;
  declare architectures: string[] | null;
  declare bos_token_id: number | number[] | null;
  declare eos_token_id: number | number[] | null;
  declare pad_token_id: number | number[] | null;
  declare id2label: Record<string, string>;
  declare label2id: Record<string, number>;

  constructor(kwargs: ConfigArguments = {}) {
    const { torch_dtype, num_labels, name_or_path, transformers_version, ...rest } = kwargs;
    const { attn_implementation, _commit_hash, ...given } = rest;
    this.model_type = (this.constructor as typeof PretrainedConfig).model_type;
    Object.assign(this, clone(COMMON_ATTRIBUTES), labels(num_labels ?? 2));
    this._name_or_path = String(name_or_path ?? '');
    Object.assign(this, withoutUndefined(clone(given)));
    // The older name of `dtype`; where both are given the newer one counts.
    this.dtype = dtypeName(kwargs.dtype ?? torch_dtype ?? null);
    if (this.id2label === null) Object.assign(this, labels(num_labels ?? 2));
  }

  get num_labels(): number {
    return Object.keys(this.id2label).length;
  }

  /** Whether `forward` gives an object (else a tuple) where it is not told. */
  get use_return_dict(): boolean {
    return this.return_dict && !this.torchscript;
  }

  /** Every attribute as plain JSON values; nested configs too. */
  to_dict(): JsonObject {
    const out: JsonObject = {};
    for (const [name, value] of Object.entries(this)) {
      if (!(value instanceof PretrainedConfig)) {
        out[name] = clone(value);
        continue;
      }
      const { transformers_version: _, ...nested } = value.to_dict();
      out[name] = nested;
    }
    out.transformers_version = REFERENCE_VERSION;
    return out;
  }

  /** What differs from the common defaults, and whatever is the class's own (PretrainedConfig.to_diff_dict). */
  to_diff_dict(): JsonObject {
    const common = new PretrainedConfig().to_dict();
    const own = this.#defaults();
    const out: JsonObject = {};
    for (const [name, value] of Object.entries(this.to_dict())) {
      const nested = this[name];
      if (nested instanceof PretrainedConfig) {
        out[name] = { ...nested.#difference(common), model_type: nested.model_type };
        continue;
      }
      const isDefault = name in common && !differs(value, common[name]);
      const isOwnDefault = !(name in own) || !differs(value, own[name]);
      if (isDefault && isOwnDefault && name !== 'transformers_version') continue;
      out[name] = value;
    }
    delete out._name_or_path;
    return out;
  }

  /** Sorted, two blanks an indent, a line break at the end; by default only what `to_diff_dict` has. */
  to_json_string(use_diff = true): string {
    return sortedJson(use_diff ? this.to_diff_dict() : this.to_dict());
  }

  /**
   * A config of a dict's attributes; `overrides` then replace some of them (those of a nested config one by one).
   * @throws ConfigError if `dict` is no object, or an override names no attribute
   */
  static from_dict<T extends PretrainedConfig>(
    this: ConfigClass<T>,
    dict: unknown,
    overrides: ConfigArguments = {},
  ): T {
    if (!isObject(dict)) throw notAnObject(this.name, dict);
    const config = new this(dict);
    for (const [name, value] of Object.entries(overrides)) {
      const present: unknown = config[name];
      if (!(name in config)) {
        const expected = 'the name of an attribute';
        throw new ConfigError({ what: 'no such attribute', where: this.name, expected, got: name });
      }
      const isNested = present instanceof PretrainedConfig && isObject(value);
      const Nested = isNested ? (present.constructor as ConfigClass<PretrainedConfig>) : undefined;
      const replaced = Nested
        ? new Nested({ ...(present as PretrainedConfig).to_dict(), ...(value as object) })
        : value;
      (config as PretrainedConfig)[name] = replaced;
    }
    return config;
  }

  /**
   * Reads the config.json of a checkpoint (a repository, a folder, files); a part of a composite config is taken out of it.
   * Options beside those of the hub override attributes.
   * @throws HubError, CheckpointError, ConfigError; AbortError when `signal` is aborted
   */
  static async from_pretrained<T extends PretrainedConfig>(
    this: ConfigClass<T>,
    location: CheckpointLocation,
    options: HubOptions & { [attribute: string]: unknown } = {},
  ): Promise<T> {
    const [hub, overrides] = splitHubOptions(options);
    const folder = await openCheckpoint(location, hub);
    try {
      const part = configPart(await folder.json('config.json'), this);
      return PretrainedConfig.from_dict.call(this as ConfigClass<PretrainedConfig>, part, overrides) as T;
    } finally {
      await folder.close();
    }
  }

  /** Writes config.json into a folder, which is made where it is missing, or into a Map of files. */
  async save_pretrained(target: SaveTarget): Promise<void> {
    const folder = await openTarget(target);
    await folder.write('config.json', new TextEncoder().encode(this.to_json_string()));
  }

  /** As a part of another config: attributes that are not common ones, or differ from this class's defaults. */
  #difference(common: JsonObject): JsonObject {
    const own = this.#defaults();
    const entries = Object.entries(this.to_dict()).filter(([name, value]) => {
      return name !== 'transformers_version' && (!(name in common) || differs(value, own[name]));
    });
    return Object.fromEntries(entries);
  }

  #defaults(): JsonObject {
    return new (this.constructor as ConfigClass<PretrainedConfig>)().to_dict();
  }
}

/**
 * The part of a config.json that a class describes: its field in a composite one, or the field of its model_type.
 * @throws ConfigError if `json` is no object
 */
export function configPart(
  json: unknown,
  { base_config_key, model_type }: Pick<ConfigClass<unknown>, 'base_config_key' | 'model_type'>,
): JsonObject {
  if (!isObject(json)) throw notAnObject('config.json', json);
  if (base_config_key && isObject(json[base_config_key])) return json[base_config_key];
  if (json.model_type === model_type) return json;
  const nested = Object.values(json).find((value) => isObject(value) && value.model_type === model_type);
  return isObject(nested) ? nested : json;
}

function labels(count: unknown): Pick<PretrainedConfig, 'id2label' | 'label2id'> {
  const names = Array.from({ length: Number(count) }, (_, i) => `LABEL_${i}`);
  return {
    id2label: Object.fromEntries(names.map((name, i) => [i, name])),
    label2id: Object.fromEntries(names.map((name, i) => [name, i])),
  };
}

/** "torch.bfloat16" is what Python prints for bfloat16. */
function dtypeName(dtype: unknown): string | null {
  if (dtype === null) return null;
  if (typeof dtype === 'string') return dtype.replace(/^torch\./, '');
  const expected = 'the name of a dtype, or null';
  throw new ConfigError({ what: 'wrong value', where: 'dtype', expected, got: String(dtype) });
}

function withoutUndefined(object: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}

function notAnObject(where: string, got: unknown): ConfigError {
  return new ConfigError({
    what: 'not an object',
    where,
    expected: 'a JSON object',
    got: JSON.stringify(got),
  });
}
