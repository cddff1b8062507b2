import { PretrainedConfig } from '../configuration/pretrained-config.js';
import type { SaveTarget } from '../configuration/save-target.js';
import { checkSignal, DisposedError, InputError } from '../errors.js';
import type { PositionDtype, SmolVLMConfig } from '../model/config.js';
import { type Level, levelConfig } from '../model/levels.js';
import { createLevel, type LevelModels, randomModel } from '../model/load.js';
import type { BaseModel, CacheOptions, VisionModel } from '../model/model.js';
import type { Part } from '../model/weight-dtypes.js';
import { narrowedWeight } from '../model/weight-values.js';
import { orAborted, type Steps } from '../runtime/steps.js';
import { isQuantized, type Weight, type WeightDtype, weightBytes } from '../runtime/weight.js';
import {
  type DTypeName,
  type DTypeOption,
  dtypeName,
  isFloatName,
  panelDtype,
  readDtype,
} from './dtype-names.js';
import { initRules } from './init-rules.js';
import { Loaded } from './load-pretrained.js';
import { type InitOptions, readOptions, readTarget } from './options.js';
import { type SaveOptions, saveModel } from './save.js';
import { dtypeOf, dtypesOfParts } from './weight-summary.js';

/** Options of calls that have no others. */
export interface Cancellable {
  /** Ends the call: it rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** The classes' names, whatever a minifier makes of them. */
const CLASS_NAMES: Readonly<Record<Level, string>> = {
  vision: 'SmolVLMVisionTransformer',
  base: 'SmolVLMModel',
  causal: 'SmolVLMForConditionalGeneration',
};

/**
 * What the three model classes share (PreTrainedModel). A new model draws its weights when they are first needed: `ready()`,
 * or any method that computes, waits for them. All calls are asynchronous, give the event loop a turn at least every 20 ms,
 * and wait for each other.
 */
export abstract class PreTrainedModel<L extends Level, C extends PretrainedConfig> {
  readonly config: C;
  /** There is no training here, so dropout never applies. */
  readonly training = false;
  #level: L;
  #options: InitOptions;
  /** The model as it is, and as it will be after the changes under way. */
  #state: LevelModels[L] | undefined;
  #latest: Promise<LevelModels[L]> | undefined;
  #dtype: DTypeName | undefined;
  /** What random weights are drawn in, before they are quantised. */
  #drawn: PositionDtype = 'float32';
  #disposed = false;

  /** @throws InputError for a config of another class, or options that mean nothing here; ConfigError for a wrong config */
  protected constructor(level: L, config: C, start: InitOptions | Loaded<L>, Config: new () => C) {
    if (!(config instanceof Config)) {
      const got = (config as object | undefined)?.constructor?.name ?? String(config);
      const expected = level === 'vision' ? 'a SmolVLMVisionConfig' : 'a SmolVLMConfig';
      throw new InputError({ what: 'wrong config', where: CLASS_NAMES[level], expected, got });
    }
    this.config = config;
    this.#level = level;
    this.#options = start instanceof Loaded ? {} : start;
    if (start instanceof Loaded) {
      this.#state = start.model;
      this.#latest = Promise.resolve(start.model);
      this.#dtype = start.dtype;
      if (isFloatName(start.dtype)) setDtype(config, start.dtype);
    } else {
      readOptions(start);
      levelConfig(level, config.to_dict(), CLASS_NAMES[level]);
      const { name } = readDtype(start.dtype ?? start.torch_dtype);
      this.#drawn = isFloatName(name) ? name : floatName(config.dtype);
      this.#dtype = name ?? this.#drawn;
    }
  }

  /**
   * Waits for the weights.
   * @throws MemoryError, with numbers, if they do not fit; ConfigError; DisposedError; AbortError
   */
  async ready({ signal }: Cancellable = {}): Promise<this> {
    await this.load(signal);
    return this;
  }

  /** The device's name, for code that passes it on. */
  get device(): 'cpu' {
    return 'cpu';
  }

  /** The weights' dtype: what was asked for; else, of a quantised model, what most values have; else the first one's. */
  get dtype(): DTypeName {
    return this.#dtype ?? dtypeOf([...(this.#state?.named.values() ?? [])]);
  }

  /** What most values of each part's weights have; of the parts that there are once `ready()` is done. */
  get dtypes(): Readonly<Partial<Record<Part, DTypeName>>> {
    return dtypesOfParts([...(this.#state?.named.values() ?? [])]);
  }

  /** Bytes of memory that the model's engine holds; 0 before its weights are there and after `dispose()`. */
  get memory(): number {
    return this.#state && !this.#disposed ? this.#state.ops.engine.bytes : 0;
  }

  /** Threads that compute (see the option); undefined before the weights are there. */
  get threads(): number | undefined {
    return this.#state?.ops.engine.threads;
  }

  /** Whether the kernels use relaxed SIMD: their bits then depend on the processor; undefined before the weights are there. */
  get relaxed(): boolean | undefined {
    return this.#state?.ops.engine.relaxed;
  }

  /** Whether layers stay in the checkpoint's files, because the memory has no room for all. */
  get low_memory(): boolean {
    return this.#state?.streams !== undefined;
  }

  /** Values of all weights, tied ones counted once. */
  async num_parameters(): Promise<number> {
    const { named } = await this.load();
    return [...named.values()].reduce((sum, { N, K }) => sum + N * K, 0);
  }

  /** Bytes that the weights take in memory, tied ones counted once; without caches and activations (see `memory`). */
  async get_memory_footprint(): Promise<number> {
    const { named } = await this.load();
    return [...named.values()].reduce(
      (sum, { layout, dtype, N, K }) => sum + weightBytes(layout, dtype, N, K),
      0,
    );
  }

  /** Models are always in evaluation mode. */
  eval(): this {
    return this;
  }

  /**
   * A device (`cpu`, `wasm` or `auto`: the same place), a dtype, or both as an object. A narrower dtype rounds the weights
   * before the next call, into memory of their own: that of the old ones comes back with the engine's, so
   * `from_pretrained`'s `dtype` is the frugal way. `float32` keeps their values.
   * @throws InputError for anything else, int8 and int4 among it; for any dtype where the weights are quantised
   */
  to(target: unknown, more?: { dtype?: DTypeOption } | DTypeOption): this {
    const dtype = readTarget(target, more);
    if (dtype === undefined) return this;
    if (this.#state?.streams) throw this.#outside('to');
    if (this.#isQuantized) {
      throw new InputError({
        what: 'quantised weights stay as they are',
        where: 'to',
        expected: `a new model: from_pretrained of the checkpoint that was quantised, with dtype: '${dtype}'`,
        got: dtype,
      });
    }
    this.#dtype = dtype;
    const rounded = this.change(function* ({ ops, config, named }) {
      const out = new Map<string, Weight>();
      for (const [name, weight] of named) {
        out.set(name, yield* narrowedWeight(ops.engine, weight, panelDtype(dtype) as WeightDtype));
      }
      return { config: { ...config, position_dtype: dtype }, named: out };
    });
    // Where there is no memory for it, later calls must not run with weights that are not what was asked for.
    this.#latest = rounded;
    return this;
  }

  /**
   * Writes config.json and model.safetensors (in shards with their index above `max_shard_size`), under the names of the
   * class's own state dict.
   * @throws InputError for options or a target of another kind; AbortError when `signal` is aborted
   */
  async save_pretrained(target: SaveTarget, options: SaveOptions = {}): Promise<void> {
    const model = await this.load(options.signal);
    if (model.streams) throw this.#outside('save_pretrained');
    await saveModel(target, options, {
      className: CLASS_NAMES[this.#level],
      config: this.config,
      dtype: this.dtype,
      engine: model.ops.engine,
      level: this.#level,
      named: model.named,
      widen: this.#dtype === 'float32',
      dtypes: this.dtypes,
    });
  }

  /** The reference's SmolVLM implements no pruning either. @throws InputError */
  prune_heads(_heads: unknown): never {
    const expected = 'no call: the reference does not implement it for this model';
    throw new InputError({ what: 'heads cannot be pruned', where: 'prune_heads', expected, got: 'one' });
  }

  /** Frees the engine with the weights. Running calls reject, later ones throw DisposedError. */
  dispose(): void {
    this.#disposed = true;
    this.#state?.ops.engine.dispose();
    void this.#state?.streams?.close();
  }

  /** The loaded model, if it is there. */
  protected get state(): LevelModels[L] | undefined {
    return this.#state;
  }

  /** The loaded model. @throws DisposedError; Error before `ready()` */
  protected get model(): LevelModels[L] {
    this.check();
    if (this.#state) return this.#state;
    throw new Error('the weights are not there yet: await ready() first');
  }

  protected check(): void {
    if (!this.#disposed) return;
    throw new DisposedError({ what: 'the model was disposed of', where: CLASS_NAMES[this.#level] });
  }

  /** The model with all changes that were asked for so far. An abort ends the wait for them, not the changes. */
  protected async load(signal?: AbortSignal): Promise<LevelModels[L]> {
    this.check();
    checkSignal(signal);
    this.#latest ??= this.#settle(this.#draw());
    const model = await orAborted(this.#latest, signal);
    this.check();
    return model;
  }

  /** A computation with the model, in a scope of its own (Engine.run). */
  protected async run<T>(
    compute: (model: LevelModels[L]) => Steps<T>,
    signal?: AbortSignal,
    options?: { whole?: boolean },
  ): Promise<T> {
    const model = await this.load(signal);
    return model.ops.engine.run(() => compute(model), signal, options);
  }

  /** Replaces weights or the config, for calls made from now on; where it fails they find the model as it was. */
  protected change(
    compute: (model: LevelModels[L]) => Steps<{ config: SmolVLMConfig; named: ReadonlyMap<string, Weight> }>,
    signal?: AbortSignal,
  ): Promise<LevelModels[L]> {
    const before = this.load();
    const level = this.#level;
    const changed = this.#settle(
      orAborted(before, signal).then(async (model) => {
        const { engine } = model.ops;
        const { config, named } = await engine.run(() => compute(model), signal);
        const { streams } = model;
        return createLevel(level, engine, config, named, { ...closeReuse(model), streams });
      }),
    );
    this.#latest = changed.catch(() => before);
    this.#latest.catch(() => {});
    return changed;
  }

  #outside(where: string): InputError {
    const expected = 'a model loaded without low_memory';
    return new InputError({ what: 'not all weights are in memory', where, expected, got: 'one with it' });
  }

  /** Whether any weight is quantised, or will be. */
  get #isQuantized(): boolean {
    if (this.#state) return [...this.#state.named.values()].some(({ dtype }) => isQuantized(dtype));
    const { dtypes = 'auto' } = readOptions(this.#options);
    return dtypes !== 'auto' && Object.values(dtypes).some(isQuantized);
  }

  /** Keeps the model that comes, unless this one was disposed of meanwhile. */
  #settle(making: Promise<LevelModels[L]>): Promise<LevelModels[L]> {
    const settled = making.then(
      (model) => {
        this.#state = model;
        if (this.#disposed) model.ops.engine.dispose();
        return model;
      },
      (error) => {
        // The next call tries again to draw the first weights.
        if (!this.#state) this.#latest = undefined;
        throw error;
      },
    );
    settled.catch(() => {});
    return settled;
  }

  #draw(): Promise<LevelModels[L]> {
    const config = levelConfig(this.#level, this.config.to_dict(), CLASS_NAMES[this.#level]);
    const options = readOptions(this.#options);
    // `to` may have asked for another dtype before they were needed.
    const drawn = isFloatName(this.#dtype) ? this.#dtype : this.#drawn;
    const rules = initRules(this.config, panelDtype(drawn) as WeightDtype, this.#options.seed ?? 0);
    const positioned = { ...config, position_dtype: options.positionDtype ?? config.position_dtype };
    return randomModel(this.#level, positioned, rules, options);
  }
}

/** The dtype of a config, float32 where it names none. */
function floatName(dtype: unknown): PositionDtype {
  const name = dtypeName(dtype);
  return isFloatName(name) ? name : 'float32';
}

/** Ends what a model kept for later calls, for its weights are being replaced; returns what the next one may keep. */
function closeReuse(model: VisionModel | BaseModel): CacheOptions {
  if (!('prefixes' in model)) return {};
  const { cacheShape, prefixes, tiles } = model;
  const { kv_cache_dtype } = cacheShape;
  const options = { kv_cache_dtype, prefix_cache_bytes: prefixes.limit, image_cache_bytes: tiles.limit };
  prefixes.close();
  tiles.close();
  return options;
}

/** The dtype that was asked for, in the config and its parts, as the reference's from_pretrained leaves them. */
function setDtype(config: PretrainedConfig, dtype: PositionDtype): void {
  config.dtype = dtype;
  for (const part of Object.values(config)) if (part instanceof PretrainedConfig) part.dtype = dtype;
}
