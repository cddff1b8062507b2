import { InputError } from '../errors.js';
import type { BaseModel } from '../model/model.js';
import { normalValues } from '../model/random-weights.js';
import { resizedWeight, setWeightValues, weightValues } from '../model/weight-values.js';
import type { Engine } from '../runtime/engine.js';
import type { Steps } from '../runtime/steps.js';
import type { HostTensor } from '../runtime/tensor.js';
import type { Weight } from '../runtime/weight.js';

/** An embedding's values, copied out. */
export interface Embedding {
  /** [num_embeddings, embedding_dim]. */
  readonly weight: HostTensor<Float32Array>;
  readonly num_embeddings: number;
  readonly embedding_dim: number;
}

export interface ResizeOptions {
  /** Rounds the number of rows up to a multiple of this. */
  pad_to_multiple_of?: number;
  /**
   * New rows are the mean of the old ones (the reference adds noise of 1e-9 times their covariance); false: normal with
   * the text model's initializer_range. Default: true.
   */
  mean_resizing?: boolean;
  /** The seed of normal rows. Default: 0. */
  seed?: number;
  /** Ends the call: it rejects with the signal's reason. */
  signal?: AbortSignal;
}

export const EMBED_TOKENS = 'model.text_model.embed_tokens.weight';
export const LM_HEAD = 'lm_head.weight';

/** A matrix's values. */
export function* readMatrix(engine: Engine, weight: Weight): Steps<Embedding> {
  const { N, K } = weight;
  const data = yield* weightValues(engine, weight);
  return { weight: { dims: [N, K], data }, num_embeddings: N, embedding_dim: K };
}

/**
 * Sets a weight's values, rounded to its dtype.
 * @throws InputError for another shape
 */
export function* writeMatrix(
  engine: Engine,
  weight: Weight,
  value: { weight: HostTensor } | HostTensor,
): Steps<void> {
  const { dims, data } = 'weight' in value ? value.weight : value;
  const { shape, name } = weight;
  if (String(dims) !== String(shape) || data.length !== weight.N * weight.K) {
    const got = `[${dims}], ${data.length} values`;
    throw new InputError({ what: 'wrong shape', where: name, expected: `[${shape}]`, got });
  }
  yield* setWeightValues(engine, weight, data as Float32Array);
}

/**
 * The number of rows to resize to (PreTrainedModel._get_resized_embeddings).
 * @throws InputError unless both are integers above 0
 */
export function resizedCount(
  present: number,
  new_num_tokens: number | null | undefined,
  { pad_to_multiple_of: multiple }: ResizeOptions,
): number {
  const count = new_num_tokens ?? present;
  for (const [where, value] of Object.entries({ new_num_tokens: count, pad_to_multiple_of: multiple ?? 1 })) {
    if (Number.isSafeInteger(value) && value > 0) continue;
    const expected = 'an integer above 0';
    throw new InputError({ what: 'wrong value', where, expected, got: String(value) });
  }
  return multiple ? Math.ceil(count / multiple) * multiple : count;
}

/** The model's weights with token embedding and untied head of `count` rows. @throws MemoryError */
export function* resizeTokens(
  { ops, config, named }: BaseModel,
  count: number,
  deviation: number,
  { mean_resizing = true, seed = 0 }: ResizeOptions,
) {
  const out = new Map(named);
  const made: Weight[] = [];
  let isDone = false;
  try {
    for (const name of [EMBED_TOKENS, LM_HEAD]) {
      const weight = named.get(name);
      if (!weight) continue;
      const grows = count > weight.N;
      const mean = grows && mean_resizing ? yield* meanRow(ops.engine, weight) : undefined;
      const row = (index: number) => mean ?? normalValues(name, seed, index * weight.K, weight.K, deviation);
      const resized = yield* resizedWeight(ops.engine, weight, count, row);
      made.push(resized);
      out.set(name, resized);
    }
    const text_config = { ...config.text_config, vocab_size: count };
    isDone = true;
    return { config: { ...config, text_config }, named: out };
  } finally {
    if (!isDone && !ops.engine.disposed) for (const { pointer } of made) ops.engine.heap.free(pointer);
  }
}

/** The mean of all rows, summed in order in float64. */
function* meanRow(engine: Engine, weight: Weight): Steps<Float32Array> {
  const { N, K } = weight;
  const values = yield* weightValues(engine, weight);
  const sum = new Float64Array(K);
  for (let row = 0; row < N; row++) {
    for (let k = 0; k < K; k++) sum[k] += values[row * K + k];
    if (row % 256 === 0) yield;
  }
  return Float32Array.from(sum, (value) => value / N);
}
