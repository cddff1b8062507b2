import manifest from '../../weights-manifest.json' with { type: 'json' };
import { CheckpointError } from '../errors.js';
import type { WeightDtype } from '../runtime/weight.js';
import { type ConfigValues, evaluate, holds } from './expression.js';

/** One line of the manifest's template. */
interface TensorTemplate {
  readonly name: string;
  readonly shape?: readonly string[];
  readonly layout?: string;
  readonly repeat?: string;
  readonly when?: string;
}

/** A tensor that a checkpoint must hold by its config. */
export interface ExpectedTensor {
  /** State-dict name. */
  readonly name: string;
  /** The checkpoint's shape. */
  readonly shape: readonly number[];
  readonly dtypes: readonly WeightDtype[];
  /** How it is kept in memory: see Weight. */
  readonly layout: 'panel' | 'vector';
  /** Rows of the matrix (outputs), or the vector's length. */
  readonly N: number;
  /** Columns of the matrix: all but the first dimension, flattened; 1 for a vector. */
  readonly K: number;
}

/** What must be known of a checkpoint's tensor to check it. */
export interface ActualTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly file: { readonly name: string };
  /** Of a quantised matrix: `joinScales` has checked all its tensors. */
  readonly scale?: unknown;
}

export interface TensorExpectation {
  readonly tensors: readonly ExpectedTensor[];
  /** Tensors that may be there and are not used (a tied lm_head, say), with the shape they must have, if any. */
  readonly ignored: ReadonlyMap<string, readonly number[] | undefined>;
}

/** A published checkpoint: its repository, files with sizes in bytes (null: not known), and dimensions. */
export interface KnownModel {
  readonly repository: string;
  /** The commit that `sha256` is of; null where it is not known. */
  readonly revision: string | null;
  /** Of weights at that commit: the hub must list them so, sizes of `files` included. */
  readonly sha256?: Readonly<Record<string, string>>;
  readonly files: Readonly<Record<string, number | null>>;
  readonly config: ConfigValues;
}

/** The published checkpoints that weights-manifest.json lists. */
export function knownModels(): readonly KnownModel[] {
  return manifest.models as unknown as KnownModel[];
}

/**
 * Every tensor of a checkpoint with this config, by weights-manifest.json, in the order of the reference's state dict.
 * @param config a SmolVLMConfig with its defaults filled in
 */
export function expectedTensors(config: object): TensorExpectation {
  const values = config as ConfigValues;
  const dtypes = manifest.dtypes as WeightDtype[];
  const tensors = expand(manifest.tensors, values).map(({ name, shape, layout }): ExpectedTensor => {
    const [N, ...inner] = shape!;
    const K = inner.reduce((product, size) => product * size, 1);
    return { name, shape: shape!, dtypes, layout: layout === 'vector' ? 'vector' : 'panel', N, K };
  });
  const ignored = new Map(expand(manifest.ignored, values).map(({ name, shape }) => [name, shape]));
  return { tensors, ignored };
}

/** The templates that apply, layer by layer: lines that repeat over the same count stay together. */
function expand(templates: readonly TensorTemplate[], config: ConfigValues) {
  const out: { name: string; shape: number[] | undefined; layout: string | undefined }[] = [];
  for (let first = 0; first < templates.length; ) {
    const { repeat } = templates[first];
    let end = first + 1;
    while (repeat !== undefined && templates[end]?.repeat === repeat) end++;
    const block = templates.slice(first, end).filter(({ when }) => holds(when, config));
    const count = repeat === undefined ? 1 : evaluate(repeat, config);
    for (let layer = 0; layer < count; layer++) {
      for (const { name, shape, layout } of block) {
        out.push({
          name: name.replace('{layer}', String(layer)),
          shape: shape?.map((expression) => evaluate(expression, config)),
          layout,
        });
      }
    }
    first = end;
  }
  return out;
}

/**
 * Checks a checkpoint's tensors against the config's.
 * @param folder the checkpoint's name, for messages
 * @throws CheckpointError naming the first tensor that is missing, mis-shaped, of another dtype or not foreseen, its
 * file, expected and got, and how many more there are.
 */
export function checkTensors(
  { tensors, ignored }: TensorExpectation,
  actual: ReadonlyMap<string, ActualTensor>,
  folder: string,
): void {
  const missing = tensors.filter(({ name }) => !actual.has(name));
  const known = new Set(tensors.map(({ name }) => name));
  const extra = [...actual.keys()].filter((name) => !known.has(name) && !ignored.has(name));
  if (missing.length > 0) {
    const [{ name, shape, dtypes }] = missing;
    throw new CheckpointError({
      what: 'tensor missing from the checkpoint',
      where: `${folder}, tensor ${name}`,
      expected: `${dtypes.join(', ')} ${show(shape)}`,
      got: `no such tensor${others(missing.length - 1, 'missing')}${others(extra.length, 'not in the config', extra)}`,
    });
  }
  for (const { name, shape, dtypes } of tensors) {
    const tensor = actual.get(name)!;
    if (tensor.scale) continue;
    checkShape(name, shape, tensor);
    if (dtypes.includes(tensor.dtype as WeightDtype)) continue;
    throw new CheckpointError({
      what: 'tensor has another dtype',
      where: `${tensor.file.name}, tensor ${name}`,
      expected: dtypes.join(', '),
      got: tensor.dtype,
    });
  }
  for (const [name, shape] of ignored) {
    const tensor = actual.get(name);
    if (shape && tensor) checkShape(name, shape, tensor);
  }
  if (extra.length > 0) {
    const { file, dtype, shape } = actual.get(extra[0])!;
    throw new CheckpointError({
      what: 'tensor that the config does not ask for',
      where: `${file.name}, tensor ${extra[0]}`,
      expected: `only the ${tensors.length} tensors of the config`,
      got: `${dtype} ${show(shape)}${others(extra.length - 1, 'more', extra.slice(1))}`,
    });
  }
}

function checkShape(name: string, shape: readonly number[], { shape: got, file }: ActualTensor): void {
  if (shape.length === got.length && shape.every((size, i) => size === got[i])) return;
  throw new CheckpointError({
    what: 'tensor has another shape',
    where: `${file.name}, tensor ${name}`,
    expected: show(shape),
    got: show(got),
  });
}

function show(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

function others(count: number, what: string, names: readonly string[] = []): string {
  if (count <= 0) return '';
  const some = names.length > 0 ? `: ${names.slice(0, 3).join(', ')}${count > 3 ? ', …' : ''}` : '';
  return `; ${count} ${what === 'more' ? 'more' : `more ${what}`}${some}`;
}
