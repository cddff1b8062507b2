import { InputError } from '../errors.js';
import type { Ops } from '../runtime/ops.js';
import type { Prepared } from '../runtime/prepared.js';
import type { Steps } from '../runtime/steps.js';
import type { HostTensor, Tensor } from '../runtime/tensor.js';
import type { KVCache } from './cache.js';
import type { SmolVLMTextConfig } from './config.js';
import type { TextObservers } from './text.js';
import type { PackedTokens, TokenRun } from './tokens.js';
import type { TextLayerWeights } from './weights.js';

/** What one decoder layer works with. */
export interface LayerContext {
  ops: Ops;
  config: SmolVLMTextConfig;
  tokens: PackedTokens;
  cache: KVCache;
  index: number;
  rotary: Rotary;
  observers: TextObservers;
}

export interface Rotary {
  cos: Tensor;
  sin: Tensor;
}

/** Causal grouped-query attention over the cache (LlamaAttention): into `out` [tokens, hidden_size], where x may be. */
export function* attention(
  context: LayerContext,
  weights: TextLayerWeights,
  x: Prepared,
  path: string,
  out: Tensor,
): Steps<void> {
  const { ops, config, tokens, index, rotary, observers } = context;
  const { tap } = observers;
  const [q, k, v] = yield* ops.linears(x, [weights.q_proj, weights.k_proj, weights.v_proj]);
  if (tap) yield* tap(`${path}.q_proj`, q);
  if (tap) yield* tap(`${path}.k_proj`, k);
  if (tap) yield* tap(`${path}.v_proj`, v);
  ops.rope(q, k, rotary.cos, rotary.sin, config.head_dim);

  const mixed = ops.engine.tensor(q.rows, q.columns);
  const matrix = observers.attentions && new AttentionMatrix(context);
  for (const row of tokens.rows.keys()) yield* rowAttention(context, row, q, k, v, mixed, matrix);
  if (matrix) observers.attentions?.(index, matrix.value);
  yield* ops.linear(mixed, weights.o_proj, out);
  if (tap) yield* tap(`${path}.o_proj`, out);
  if (tap) yield* tap(path, out);
}

/** One row of the batch: its keys go into the cache, then each run of its tokens attends to what it may see. */
function* rowAttention(
  { ops, config, tokens, cache, index }: LayerContext,
  row: number,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  mixed: Tensor,
  matrix?: AttentionMatrix,
): Steps<void> {
  const { head_dim: headDim, num_key_value_heads: kvHeads } = config;
  const { runs, start, count } = tokens.rows[row];
  const past = cache.length(row);
  for (const run of runs) {
    if (run.isKey) cache.write(index, row, k, v, run.start, run.count, past + run.keysBefore);
  }
  const mark = ops.engine.activations.mark();
  const { pointer, pageCount } = cache.pages(index, row);
  const scale = 1 / Math.sqrt(headDim);
  const shape = { kvHeads, headDim, scale, pageCount, dtype: cache.dtype };
  const needsColumns = matrix !== undefined || runs.some(({ lastColumn }) => lastColumn !== undefined);
  const columns = needsColumns ? keyColumns(cache, tokens, row) : [];
  for (const run of runs) {
    const queries = q.slice(run.start, run.count);
    const out = mixed.slice(run.start, run.count);
    const limited = run.lastColumn !== undefined;
    const before = limited ? keysUpTo(columns, run.lastColumn!) : past + run.keysBefore;
    const isCausal = run.isKey && !limited;
    const collect = matrix?.collector(row, run, columns, (index) => before + (isCausal ? index + 1 : 0));
    if (isCausal) {
      const causal = { ...shape, keys: before + run.count, causalStart: before };
      yield* ops.attention(queries, pointer, causal, collect, out);
    } else if (before > 0) {
      yield* ops.attention(queries, pointer, { ...shape, keys: before, causalStart: -1 }, collect, out);
    } else if (limited && cache.seen > 0) {
      throw new InputError({
        what: 'a token would see no key',
        where: `cache_position, row ${row}`,
        expected: `at least ${columns[0]}`,
        got: `${run.lastColumn}`,
      });
    } else {
      // A pad with nothing to see: the reference's mask leaves all scores alike, so it averages every value of the row.
      const all = ops.packKeys(v, v, start, count, kvHeads, headDim);
      const even = { ...shape, ...all, keys: count, causalStart: -1, scale: 0, dtype: undefined };
      yield* ops.attention(queries, all.pages, even, undefined, out);
      matrix?.fillEven(row, run);
    }
  }
  ops.engine.activations.release(mark);
}

/** The column of each key of a row, those of this call included. */
function keyColumns(cache: KVCache, tokens: PackedTokens, row: number): number[] {
  return [...cache.columns(row), ...tokens.rows[row].keyColumns.map((column) => cache.seen + column)];
}

/** Keys whose column is at most `last`; columns rise. */
function keysUpTo(columns: readonly number[], last: number): number {
  const index = columns.findIndex((column) => column > last);
  return index < 0 ? columns.length : index;
}

/** Collects strips of probabilities into [B, heads, S, past + S]; columns of pads are 0. */
class AttentionMatrix {
  readonly value: HostTensor<Float32Array>;
  #context: LayerContext;

  constructor(context: LayerContext) {
    const { config, tokens, cache } = context;
    this.#context = context;
    const columns = cache.seen + tokens.sequence;
    const dims = [tokens.batch, config.num_attention_heads, tokens.sequence, columns];
    this.value = { dims, data: new Float32Array(dims.reduce((product, n) => product * n, 1)) };
  }

  /**
   * Takes the strips of one run of a row's tokens.
   * @param columns of the row's keys
   * @param visible how many keys the run's token of an index sees
   */
  collector(row: number, run: TokenRun, columns: readonly number[], visible: (index: number) => number) {
    const { ops } = this.#context;
    return (head: number, firstRow: number, count: number, pointer: number, ld: number) => {
      const source = ops.engine.f32(pointer, count * ld);
      for (let i = 0; i < count; i++) {
        const index = firstRow + i;
        const keys = visible(index);
        const base = this.#base(row, head, run.start + index);
        for (let key = 0; key < keys; key++) this.value.data[base + columns[key]] = source[i * ld + key];
      }
    };
  }

  fillEven(row: number, run: TokenRun): void {
    const { config } = this.#context;
    const columns = this.value.dims[3];
    for (let head = 0; head < config.num_attention_heads; head++) {
      for (let token = run.start; token < run.start + run.count; token++) {
        const base = this.#base(row, head, token);
        this.value.data.fill(1 / columns, base, base + columns);
      }
    }
  }

  #base(row: number, head: number, token: number): number {
    const { tokens } = this.#context;
    const [, heads, sequence, columns] = this.value.dims;
    return ((row * heads + head) * sequence + (tokens.places[token] % sequence)) * columns;
  }
}
