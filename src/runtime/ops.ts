import type { Engine } from './engine.js';
import type { Gemm } from './kernels.js';
import type { Steps } from './steps.js';
import type { Tensor } from './tensor.js';
import type { Weight } from './weight.js';

/** Multiply-adds in one kernel call at most: 6 to 12 ms, so that a run can pause between calls. */
const STEP_MACS = 2e8;
/** Rows of a product taken at once: their activations stay in the second-level cache while the weights stream by. */
const STEP_ROWS = 120;
/** Values of an elementwise step: about a millisecond. */
const STEP_VALUES = 1 << 17;
/** Query rows of one attention step. */
const STEP_QUERIES = 32;

export type Activation = 'gelu_tanh' | 'gelu_erf' | 'gelu_quick' | 'relu' | 'selu' | 'silu';

/**
 * The operations of the model over tensors and weights. They know nothing of a model. Results are new tensors among
 * the activations unless an argument `out` is given; the slow ones are Steps and pause between kernel calls.
 */
export class Ops {
  readonly engine: Engine;

  constructor(engine: Engine) {
    this.engine = engine;
  }

  /** x [M, K] · weightᵀ (+ bias) → [M, N]. */
  *linear(x: Tensor, weight: Weight, bias?: Weight | null): Steps<Tensor> {
    const { N, K } = weight;
    const M = x.size / K;
    const out = this.engine.tensor(M, N);
    const gemm = this.#gemm(weight);
    const panelBytes = K * 8 * (weight.dtype === 'F32' ? 4 : 2);
    const rowStep = Math.min(M, STEP_ROWS);
    const columnStep = Math.max(8, Math.floor(STEP_MACS / (rowStep * K) / 8) * 8);
    for (let row = 0; row < M; row += rowStep) {
      const rows = Math.min(rowStep, M - row);
      for (let column = 0; column < N; column += columnStep) {
        const columns = Math.min(columnStep, N - column);
        gemm(
          out.pointer + 4 * (row * N + column),
          x.pointer + 4 * row * K,
          weight.pointer + (column / 8) * panelBytes,
          bias ? bias.pointer + 4 * column : 0,
          rows,
          columns,
          K,
          K,
          K,
          N,
          0,
        );
        yield;
      }
    }
    return out;
  }

  /** Rows `ids` of a matrix → [count, K]. The ids are int32 in wasm memory, each known to be in range. */
  gather(weight: Weight, ids: number, count: number, out?: Tensor): Tensor {
    const { kernels } = this.engine;
    out ??= this.engine.tensor(count, weight.K);
    const gather = {
      F32: kernels.f32_f32w_gather,
      BF16: kernels.f32_bf16w_gather,
      F16: kernels.f32_f16w_gather,
    }[weight.dtype];
    gather(out.pointer, weight.pointer, ids, count, weight.K);
    return out;
  }

  /** out = x, values of the same number. */
  copy(out: Tensor, x: Tensor): void {
    const { engine } = this;
    engine.u8(out.pointer, 4 * x.size).set(engine.u8(x.pointer, 4 * x.size));
  }

  /** The keyed 128-bit digest of memory (SipHash-2-4), in hexadecimal. The key is 16 bytes. */
  digest(pointer: number, bytes: number, key: Uint8Array): string {
    const { activations, kernels } = this.engine;
    const mark = activations.mark();
    const scratch = activations.allocate(32);
    this.engine.u8(scratch, 16).set(key);
    kernels.u128_siphash(scratch + 16, pointer, bytes, scratch);
    const words = Array.from(this.engine.u32(scratch + 16, 4));
    activations.release(mark);
    return words.map((word) => word.toString(16).padStart(8, '0')).join('');
  }

  layerNorm(x: Tensor, weight: Weight, bias: Weight, eps: number): Tensor {
    const out = this.engine.tensor(x.rows, x.columns);
    const { f32_layer_norm } = this.engine.kernels;
    f32_layer_norm(out.pointer, x.pointer, weight.pointer, bias.pointer, x.rows, x.columns, eps);
    return out;
  }

  rmsNorm(x: Tensor, weight: Weight, eps: number): Tensor {
    const out = this.engine.tensor(x.rows, x.columns);
    this.engine.kernels.f32_rms_norm(out.pointer, x.pointer, weight.pointer, x.rows, x.columns, eps);
    return out;
  }

  /** In place: x += y. */
  add(x: Tensor, y: Tensor): void {
    this.engine.kernels.f32_add(x.pointer, x.pointer, y.pointer, x.size);
  }

  /** In place: x *= y. */
  multiply(x: Tensor, y: Tensor): void {
    this.engine.kernels.f32_mul(x.pointer, x.pointer, y.pointer, x.size);
  }

  /** In place. */
  *activation(name: Activation, x: Tensor): Steps<void> {
    const kernel = this.engine.kernels[`f32_${name}`];
    for (let start = 0; start < x.size; start += STEP_VALUES) {
      const pointer = x.pointer + 4 * start;
      kernel(pointer, pointer, Math.min(STEP_VALUES, x.size - start));
      yield;
    }
  }

  /** In place: rotates the heads of x [tokens, heads·dim] by tables [tokens, dim]. */
  rope(x: Tensor, cos: Tensor, sin: Tensor, dim: number): void {
    const heads = x.columns / dim;
    this.engine.kernels.f32_rope(x.pointer, cos.pointer, sin.pointer, x.rows, heads, dim, x.columns);
  }

  /**
   * Attention of one sequence: q [rows, heads·headDim] over keys that lie in pages.
   * @param pages pointer to the page lists: `pageCount` addresses for each key/value head
   * @param causalStart key index of the first row for a causal run, −1 for one that sees every key
   * @param probs called with each head's strip of probabilities [count, keys] at row stride `ld`, where asked for
   */
  *attention(
    q: Tensor,
    pages: number,
    { keys, kvHeads, headDim, causalStart, scale, pageCount }: AttentionShape,
    probs?: (head: number, firstRow: number, count: number, pointer: number, ld: number) => void,
    out = this.engine.tensor(q.rows, q.columns),
  ): Steps<Tensor> {
    const { activations, kernels } = this.engine;
    const heads = q.columns / headDim;
    const width = q.columns;
    const ld = Math.ceil(Math.max(keys, 1) / 128) * 128;
    const mark = activations.mark();
    const scratch = activations.allocate(4 * STEP_QUERIES * ld);
    for (let head = 0; head < heads; head++) {
      const list = pages + 4 * pageCount * Math.floor((head * kvHeads) / heads);
      for (let row = 0; row < q.rows; row += STEP_QUERIES) {
        const rows = Math.min(STEP_QUERIES, q.rows - row);
        const offset = 4 * (row * width + head * headDim);
        const start = causalStart < 0 ? -1 : causalStart + row;
        const visible = start < 0 ? keys : Math.min(keys, start + rows);
        kernels.f32_attention(
          out.pointer + offset,
          q.pointer + offset,
          list,
          scratch,
          rows,
          visible,
          start,
          headDim,
          width,
          width,
          scale,
        );
        probs?.(head, row, rows, scratch, Math.ceil(visible / 128) * 128);
        yield;
      }
    }
    activations.release(mark);
    return out;
  }

  /**
   * Keys and values [rows, kvHeads·headDim] in pages among the activations, for an attention without a cache: `count`
   * rows from `start`, or those that `indices` (int32, counted from `start`) names.
   */
  packKeys(
    k: Tensor,
    v: Tensor,
    start: number,
    count: number,
    kvHeads: number,
    headDim: number,
    indices = 0,
  ): { pages: number; pageCount: number } {
    const { engine } = this;
    const pageCount = Math.ceil(count / PAGE_KEYS);
    const bytes = pageBytes(headDim);
    const pages = engine.activations.allocate(4 * kvHeads * pageCount);
    const first = engine.activations.allocate(kvHeads * pageCount * bytes);
    const list = engine.u32(pages, kvHeads * pageCount);
    for (let i = 0; i < list.length; i++) list[i] = first + i * bytes;
    const { f32_kv_write } = engine.kernels;
    for (let head = 0; head < kvHeads; head++) {
      const offset = 4 * (start * k.columns + head * headDim);
      const target = pages + 4 * head * pageCount;
      const { columns } = k;
      f32_kv_write(
        target,
        k.pointer + offset,
        v.pointer + offset,
        indices,
        count,
        0,
        headDim,
        columns,
        columns,
      );
    }
    return { pages, pageCount };
  }

  #gemm(weight: Weight): Gemm {
    const { kernels } = this.engine;
    if (weight.dtype === 'F32') return kernels.f32_f32w_gemm;
    return weight.dtype === 'BF16' ? kernels.f32_bf16w_gemm : kernels.f32_f16w_gemm;
  }
}

export interface AttentionShape {
  keys: number;
  kvHeads: number;
  headDim: number;
  causalStart: number;
  scale: number;
  pageCount: number;
}

/** Keys in one page of the attention kernels. */
export const PAGE_KEYS = 128;

/** Bytes of one page: K and V of 128 keys for one key/value head (see Kernels.f32_kv_write). */
export function pageBytes(headDim: number): number {
  return 4 * PAGE_KEYS * (headDim + Math.ceil(headDim / 8) * 8);
}
