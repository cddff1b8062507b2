import { CheckpointError, ConfigError } from '../errors.js';
import { type LoraConfig, parseAdapterConfig } from './adapter-config.js';
import { byPattern, targetTest } from './adapter-targets.js';
import type { CheckpointFolder } from './folder.js';
import type { ExpectedTensor, TensorExpectation } from './manifest.js';
import type { CheckpointTensor } from './shards.js';

export const ADAPTER_CONFIG = 'adapter_config.json';
const ADAPTER_WEIGHTS = 'adapter_model.safetensors';
/** The names of peft's wrapper and of the model in it. */
const WRAPPER = 'base_model.model.';
const FLOATS = ['F32', 'F16', 'BF16'];

/** What an adapter does to one tensor of the base: another one in its place, a product of low rank added, or both. */
export interface TensorChange {
  replacement?: CheckpointTensor;
  lora?: LowRank;
}

/** The change scaling·B·A of one tensor. */
export interface LowRank {
  /** A [r, K] and B [N, r]; of an embedding [r, N] and [K, r], and the change is the transposed product. */
  readonly a: CheckpointTensor;
  readonly b: CheckpointTensor;
  readonly rank: number;
  readonly scaling: number;
  readonly kind: ModuleKind;
}

export type ModuleKind = 'linear' | 'convolution' | 'embedding';

/** A LoRA adapter, its header read. */
export interface Adapter {
  readonly config: LoraConfig;
  /** The config file's name, for messages. */
  readonly configFile: string;
  /** The weights file's name, for messages. */
  readonly weightsFile: string;
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  close(): Promise<void>;
}

/**
 * Opens a PEFT folder: adapter_config.json and adapter_model.safetensors.
 * @throws CheckpointError for missing or malformed files; ConfigError for adapters that are not implemented.
 */
export async function openAdapter(folder: CheckpointFolder): Promise<Adapter> {
  const configFile = `${folder.name}/${ADAPTER_CONFIG}`;
  const config = parseAdapterConfig(await folder.json(ADAPTER_CONFIG), configFile);
  const file = await folder.safetensors(ADAPTER_WEIGHTS);
  const tensors = new Map([...file.tensors].map(([name, info]) => [name, { ...info, file }]));
  return { config, configFile, weightsFile: file.name, tensors, close: () => file.close() };
}

/**
 * What the adapter does to each tensor of the whole model's state dict. Every tensor that the config asks for must be
 * there with its shape, and no other.
 * @throws CheckpointError naming the adapter's tensor; ConfigError where the config names no module of the model
 */
export function adapterChanges(adapter: Adapter, expected: TensorExpectation): Map<string, TensorChange> {
  const { config, configFile: file } = adapter;
  const rest = new RestOfAdapter(adapter);
  const isTarget = targetTest(config, file);
  const changes = new Map<string, TensorChange>();
  const change = (name: string) => changes.get(name) ?? changes.set(name, {}).get(name)!;
  for (const tensor of expected.tensors) {
    const path = modulePath(tensor.name);
    const ownPath = rest.ownPath(path);
    const kind = moduleKind(tensor);
    if (config.modules_to_save.some((name) => isWithin(ownPath, name))) {
      const tied = expected.ignored.has('lm_head.weight') && /embed_tokens$/.test(path);
      if (tied) throw tiedError(file, ownPath);
      change(tensor.name).replacement = rest.replacement(tensor) ?? rest.missing(tensor.name, tensor.shape);
    } else if (kind && isTarget(ownPath, kind === 'linear')) {
      change(tensor.name).lora = lowRank(rest, tensor, kind, config, file);
    }
  }
  // Biases that were trained along, and embeddings that peft saves of its own accord.
  for (const tensor of expected.tensors) {
    const isBias = config.bias !== 'none' && tensor.name.endsWith('.bias');
    if (!isBias && !/(embed_tokens|lm_head)\.weight$/.test(tensor.name)) continue;
    const replacement = rest.replacement(tensor);
    if (replacement) change(tensor.name).replacement = replacement;
  }
  rest.checkEmpty();
  if (![...changes.values()].some(({ lora }) => lora)) {
    const got = JSON.stringify(config.target_modules);
    const where = `${file}: target_modules`;
    throw new ConfigError({ what: 'no module is meant', where, expected: 'modules of the model', got });
  }
  return changes;
}

function lowRank(
  rest: RestOfAdapter,
  { name, shape }: ExpectedTensor,
  kind: ModuleKind,
  config: LoraConfig,
  file: string,
): LowRank {
  const path = modulePath(name);
  const own = rest.ownPath(path);
  const rank = byPattern(config.rank_pattern, own, config.r, { file, field: 'rank_pattern' });
  const alpha = byPattern(config.alpha_pattern, own, config.lora_alpha, { file, field: 'alpha_pattern' });
  const scaling = alpha / (config.use_rslora ? Math.sqrt(rank) : rank);
  const [N, ...inner] = shape;
  if (kind === 'embedding') {
    const a = rest.take(path, 'lora_embedding_A', '', [rank, N]);
    return { a, b: rest.take(path, 'lora_embedding_B', '', [inner[0], rank]), rank, scaling, kind };
  }
  const a = rest.take(path, 'lora_A', '.weight', [rank, ...inner]);
  const ones = inner.slice(1).map(() => 1);
  return { a, b: rest.take(path, 'lora_B', '.weight', [N, rank, ...ones]), rank, scaling, kind };
}

/** The adapter's tensors that no one has asked for yet. */
class RestOfAdapter {
  readonly #file: string;
  readonly #tensors: Map<string, CheckpointTensor>;
  /** What the whole model's names have before those of the model that was trained: "model." for SmolVLMModel's. */
  readonly #outer: string;

  constructor({ tensors, weightsFile }: Adapter) {
    this.#file = weightsFile;
    this.#tensors = new Map(tensors);
    const inner = /^base_model\.model\.(vision_model|connector|text_model)\./;
    this.#outer = [...tensors.keys()].some((name) => inner.test(name)) ? 'model.' : '';
  }

  /** A module's path, or a tensor's name, in the model that was trained. */
  ownPath(path: string): string {
    return path.startsWith(this.#outer) ? path.slice(this.#outer.length) : path;
  }

  /** `<path>.lora_A.weight`, or with the adapter's name in it: `<path>.lora_A.default.weight`. */
  take(path: string, part: string, end: string, shape: readonly number[]): CheckpointTensor {
    const plain = `${WRAPPER}${this.ownPath(path)}.${part}`;
    const named = (name: string) => {
      if (!name.startsWith(`${plain}.`) || !name.endsWith(end)) return false;
      const between = name.slice(plain.length + 1, name.length - end.length);
      return between !== '' && !between.includes('.');
    };
    const name = this.#tensors.has(plain + end) ? plain + end : [...this.#tensors.keys()].find(named);
    return this.#checked(name, plain + end, shape);
  }

  /** What stands in for a tensor of the base: under its own name or within one of peft's wrappers. */
  replacement({ name, shape }: ExpectedTensor): CheckpointTensor | undefined {
    const own = this.ownPath(name);
    const dot = own.lastIndexOf('.');
    const [path, last] = [own.slice(0, dot), own.slice(dot + 1)];
    const names = [own, `${path}.base_layer.${last}`, `${path}.modules_to_save.${last}`];
    names.push(`${path}.modules_to_save.default.${last}`);
    const found = names.map((each) => WRAPPER + each).find((each) => this.#tensors.has(each));
    return found === undefined ? undefined : this.#checked(found, found, shape);
  }

  missing(name: string, shape: readonly number[]): never {
    this.#checked(undefined, WRAPPER + this.ownPath(name), shape);
    throw new Error('unreachable');
  }

  checkEmpty(): void {
    const [first] = this.#tensors;
    if (!first) return;
    const [name, { dtype, shape }] = first;
    const more = this.#tensors.size > 1 ? `; ${this.#tensors.size - 1} more such tensors` : '';
    throw new CheckpointError({
      what: 'adapter tensor that the config and the model do not ask for',
      where: `${this.#file}, tensor ${name}`,
      expected: 'only tensors of the modules that the config names',
      got: `${dtype} [${shape.join(', ')}]${more}`,
    });
  }

  #checked(name: string | undefined, wanted: string, shape: readonly number[]): CheckpointTensor {
    const where = `${this.#file}, tensor ${name ?? wanted}`;
    const expected = `[${shape.join(', ')}]`;
    if (name === undefined) {
      throw new CheckpointError({ what: 'adapter tensor missing', where, expected, got: 'no such tensor' });
    }
    const tensor = this.#tensors.get(name)!;
    this.#tensors.delete(name);
    if (tensor.shape.length !== shape.length || shape.some((size, i) => size !== tensor.shape[i])) {
      const got = `[${tensor.shape.join(', ')}]`;
      throw new CheckpointError({ what: 'adapter tensor has another shape', where, expected, got });
    }
    if (FLOATS.includes(tensor.dtype)) return tensor;
    const what = 'adapter tensor has another dtype';
    throw new CheckpointError({ what, where, expected: FLOATS.join(', '), got: tensor.dtype });
  }
}

function modulePath(tensor: string): string {
  return tensor.slice(0, tensor.lastIndexOf('.'));
}

/** What kind of module a matrix belongs to; undefined for norms and biases, which no adapter changes by a product. */
function moduleKind({ name, shape }: ExpectedTensor): ModuleKind | undefined {
  if (!name.endsWith('.weight') || shape.length < 2) return undefined;
  if (shape.length > 2) return 'convolution';
  return /(embed_tokens|position_embedding)\.weight$/.test(name) ? 'embedding' : 'linear';
}

/** Whether the path or one of its parents ends in the name, as modules_to_save means it. */
function isWithin(path: string, name: string): boolean {
  const parts = path.split('.');
  return parts.some((_, i) =>
    parts
      .slice(0, i + 1)
      .join('.')
      .endsWith(name),
  );
}

function tiedError(file: string, path: string): ConfigError {
  return new ConfigError({
    what: 'an adapter that unties lm_head from the embedding is not implemented',
    where: `${file}: modules_to_save`,
    expected: 'modules other than a tied embedding',
    got: path,
  });
}
