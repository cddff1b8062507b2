import type { Axis } from './call.js';
import type { Engine } from './engine.js';
import type { Kernels } from './kernels.js';
import { quantizedRowBytes } from './quantized-rows.js';
import type { Steps } from './steps.js';
import type { Tensor } from './tensor.js';
import { isQuantized, type PanelDtype, panelBytes, type QuantizedDtype, type Weight } from './weight.js';

/** Multiply-adds in one kernel call at most: 6 to 12 ms, so that a run can pause between calls. */
const STEP_MACS = 2e8;
/** Rows of a product taken at once: their activations stay in the second-level cache while the weights stream by. */
const STEP_ROWS = 120;
/** Values of an elementwise step: about a millisecond. */
const STEP_VALUES = 1 << 17;
/** The same for quantised products. */
const STEP_QUANTIZED_ROWS = 128;
/** Query rows of one attention step. */
const STEP_QUERIES = 32;
/** Parts a thread should get of a call that is split, so that none waits long for the last; and what a part is at least. */
const PARTS_PER_THREAD = 4;
const LEAST_PART_MACS = 1 << 16;
const LEAST_PART_VALUES = 1 << 12;

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
    const [out] = yield* this.linears(x, [{ weight, bias }]);
    return out;
  }

  /** Products of the same x [M, K] with several weights; x is quantised once for those that need it. */
  *linears(x: Tensor, linears: readonly Linear[]): Steps<Tensor[]> {
    const { engine } = this;
    const outs = linears.map(({ weight: { N, K } }) => engine.tensor(x.size / K, N));
    const mark = engine.activations.mark();
    const quantized = new Map<QuantizedDtype, number>();
    for (const [i, { weight, bias }] of linears.entries()) {
      const { dtype } = weight;
      if (outs[i].size === 0) continue;
      if (!isQuantized(dtype)) yield* this.#product(outs[i], x, weight, bias);
      else {
        const rows = quantized.get(dtype) ?? this.#quantize(x, weight.K, dtype);
        quantized.set(dtype, rows);
        yield* this.#quantizedProduct(outs[i], rows, weight, bias);
      }
    }
    engine.activations.release(mark);
    return outs;
  }

  #product(out: Tensor, x: Tensor, weight: Weight, bias?: Weight | null): Steps<void> {
    const { N, K, dtype } = weight;
    const M = out.rows;
    const [rowStep, panelStep] = this.#productSteps(M, STEP_ROWS, Math.ceil(N / 8), 8 * K);
    const moves = [0, 4, 2, panelBytes(dtype, K) / 8];
    if (bias) moves.push(3, 4);
    return this.engine.steps({
      kernel: GEMM[dtype],
      args: [out.pointer, x.pointer, weight.pointer, bias ? bias.pointer : 0, M, N, K, K, K, N, 0],
      axes: [
        { size: 5, units: N, step: 8 * panelStep, moves },
        { size: 4, units: M, step: rowStep, moves: [0, 4 * N, 1, 4 * K] },
      ],
    });
  }

  /** Rows of K values for products with weights of this dtype: their pointer. */
  #quantize(x: Tensor, K: number, dtype: QuantizedDtype): number {
    const M = x.size / K;
    const bytes = quantizedRowBytes(K, this.engine.relaxed);
    const rows = this.engine.activations.allocate(M * bytes);
    this.engine.call({
      kernel: dtype === 'I8' ? 'q_rows_i8w' : 'q_rows_i4w',
      args: [rows, x.pointer, M, K, K],
      axes: [this.#axis(2, M, K, [0, bytes, 1, 4 * K])],
    });
    return rows;
  }

  #quantizedProduct(out: Tensor, rows: number, weight: Weight, bias?: Weight | null): Steps<void> {
    const { N, K, dtype } = weight;
    const M = out.rows;
    const [rowStep, panelStep] = this.#productSteps(M, STEP_QUANTIZED_ROWS, Math.ceil(N / 8), 8 * K);
    const moves = [0, 4, 2, panelBytes(dtype, K) / 8];
    if (bias) moves.push(3, 4);
    const rowBytes = quantizedRowBytes(K, this.engine.relaxed);
    return this.engine.steps({
      kernel: GEMM[dtype],
      args: [out.pointer, rows, weight.pointer, bias ? bias.pointer : 0, M, N, K, N],
      axes: [
        { size: 5, units: N, step: 8 * panelStep, moves },
        { size: 4, units: M, step: rowStep, moves: [0, 4 * N, 1, rowBytes] },
      ],
    });
  }

  /** Rows `ids` of a matrix → [count, K]. The ids are int32 in wasm memory, each known to be in range. */
  gather(weight: Weight, ids: number, count: number, out?: Tensor): Tensor {
    const { K } = weight;
    out ??= this.engine.tensor(count, K);
    this.engine.call({
      kernel: GATHER[weight.dtype],
      args: [out.pointer, weight.pointer, ids, count, K],
      axes: [this.#axis(3, count, K, [0, 4 * K, 2, 4])],
    });
    return out;
  }

  /** out[to[i]] = x[from[i]], i < count; the lists are int32 in wasm memory, 0 stands for 0, 1, 2 … */
  copyRows(out: Tensor, to: number, x: Tensor, from: number, count: number): void {
    const args = [out.pointer, to, x.pointer, from, count, x.columns];
    this.engine.call({ kernel: 'f32_copy_rows', args });
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
    const { rows, columns } = x;
    const out = this.engine.tensor(rows, columns);
    this.engine.call({
      kernel: 'f32_layer_norm',
      args: [out.pointer, x.pointer, weight.pointer, bias.pointer, rows, columns, eps],
      axes: [this.#axis(4, rows, columns, [0, 4 * columns, 1, 4 * columns])],
    });
    return out;
  }

  rmsNorm(x: Tensor, weight: Weight, eps: number): Tensor {
    const { rows, columns } = x;
    const out = this.engine.tensor(rows, columns);
    this.engine.call({
      kernel: 'f32_rms_norm',
      args: [out.pointer, x.pointer, weight.pointer, rows, columns, eps],
      axes: [this.#axis(3, rows, columns, [0, 4 * columns, 1, 4 * columns])],
    });
    return out;
  }

  /** In place: x += y. */
  add(x: Tensor, y: Tensor): void {
    this.#pairwise('f32_add', x, y);
  }

  /** In place: x *= y. */
  multiply(x: Tensor, y: Tensor): void {
    this.#pairwise('f32_mul', x, y);
  }

  /** In place. */
  *activation(name: Activation, x: Tensor): Steps<void> {
    yield* this.engine.steps({
      kernel: `f32_${name}`,
      args: [x.pointer, x.pointer, x.size],
      axes: [this.#axis(2, x.size, 1, [0, 4, 1, 4])],
    });
  }

  /** Tables [positions, dim] of the cosines and sines of rotary angles; positions int32, frequencies [dim / 2]. */
  ropeTables(
    positions: number,
    count: number,
    frequencies: number,
    dim: number,
  ): { cos: Tensor; sin: Tensor } {
    const cos = this.engine.tensor(count, dim);
    const sin = this.engine.tensor(count, dim);
    this.engine.call({
      kernel: 'f32_rope_table',
      args: [cos.pointer, sin.pointer, positions, frequencies, count, dim],
      axes: [this.#axis(4, count, dim, [0, 4 * dim, 1, 4 * dim, 2, 4])],
    });
    return { cos, sin };
  }

  /** In place: rotates the heads of x [tokens, heads·dim] by tables [tokens, dim]. */
  rope(x: Tensor, cos: Tensor, sin: Tensor, dim: number): void {
    const { rows, columns } = x;
    this.engine.call({
      kernel: 'f32_rope',
      args: [x.pointer, cos.pointer, sin.pointer, rows, columns / dim, dim, columns],
      axes: [this.#axis(3, rows, columns, [0, 4 * columns, 1, 4 * dim, 2, 4 * dim])],
    });
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
    shape: AttentionShape,
    probs?: Probabilities,
    out = this.engine.tensor(q.rows, q.columns),
  ): Steps<Tensor> {
    const { activations } = this.engine;
    const { keys, kvHeads, headDim, causalStart, scale, pageCount } = shape;
    const width = q.columns;
    const group = width / headDim / kvHeads;
    // A single row sees the same keys with all heads of a group: they are taken as the rows of one product.
    const isGrouped = q.rows === 1 && !probs;
    const seen = isGrouped && causalStart >= 0 ? Math.min(keys, causalStart + 1) : keys;
    const rows = isGrouped ? group : q.rows;
    const step = Math.min(rows, STEP_QUERIES);
    const ld = isGrouped ? headDim : width;
    const scratchBytes = 4 * step * Math.ceil(Math.max(keys, 1) / 128) * 128;
    const mark = activations.mark();
    const scratch = activations.allocate(scratchBytes * (probs ? 1 : this.engine.threads));
    const start = isGrouped ? -1 : causalStart;
    const call = {
      kernel: 'f32_attention' as const,
      args: [out.pointer, q.pointer, pages, scratch, rows, seen, start, headDim, ld, ld, scale],
      scratch: { arg: 3, bytes: scratchBytes },
    };
    if (probs) yield* this.#watchedAttention(call.args, shape, q, group, probs);
    else {
      const moves = [0, 4 * ld, 1, 4 * ld];
      if (start >= 0) moves.push(6, 1);
      const axes: Axis[] = [{ size: 4, units: rows, step, moves }];
      const head = 4 * headDim;
      if (!isGrouped) axes.push({ size: -1, units: group, step: 1, moves: [0, head, 1, head] });
      const groupBytes = group * head;
      axes.push({
        size: -1,
        units: kvHeads,
        step: 1,
        moves: [0, groupBytes, 1, groupBytes, 2, 4 * pageCount],
      });
      yield* this.engine.steps({ ...call, axes });
    }
    activations.release(mark);
    return out;
  }

  /** Head by head and strip by strip, each looked at before the next one overwrites it. */
  *#watchedAttention(
    args: readonly number[],
    { keys, kvHeads, headDim, causalStart, pageCount }: AttentionShape,
    q: Tensor,
    group: number,
    probs: Probabilities,
  ): Steps<void> {
    for (let head = 0; head < kvHeads * group; head++) {
      for (let row = 0; row < q.rows; row += STEP_QUERIES) {
        const rows = Math.min(STEP_QUERIES, q.rows - row);
        const offset = 4 * (row * q.columns + head * headDim);
        const start = causalStart < 0 ? -1 : causalStart + row;
        const visible = start < 0 ? keys : Math.min(keys, start + rows);
        const part = args.slice();
        part[0] += offset;
        part[1] += offset;
        part[2] += 4 * pageCount * Math.floor(head / group);
        part[4] = rows;
        part[5] = visible;
        part[6] = start;
        this.engine.call({ kernel: 'f32_attention', args: part });
        yield* this.engine.drain();
        probs(head, row, rows, args[3], Math.ceil(visible / 128) * 128);
        yield;
      }
    }
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
    const first = engine.activations.allocate(kvHeads * pageCount * bytes);
    const pages = engine.uploadInt32(
      Array.from({ length: kvHeads * pageCount }, (_, i) => first + i * bytes),
    );
    this.writeKeys(k, v, { pages, pageCount, kvHeads, headDim, start, count, indices, at: 0 });
    return { pages, pageCount };
  }

  /** Keys and values of some rows [rows, kvHeads·headDim] to the key indices at, at + 1, … of each head's pages. */
  writeKeys(
    k: Tensor,
    v: Tensor,
    { pages, pageCount, kvHeads, headDim, start, count, indices, at }: KeyRows,
  ): void {
    const { columns } = k;
    const offset = 4 * start * columns;
    const head = 4 * headDim;
    this.engine.call({
      kernel: 'f32_kv_write',
      args: [pages, k.pointer + offset, v.pointer + offset, indices, count, at, headDim, columns, columns],
      axes: [{ size: -1, units: kvHeads, step: 1, moves: [0, 4 * pageCount, 1, head, 2, head] }],
    });
  }

  /** Patches of an image [channels, height, width], each a row of channels·patch² values. */
  patchify(out: Tensor, pixels: Tensor, patch: number): void {
    const [channels, height, width] = pixels.shape;
    const args = [out.pointer, pixels.pointer, channels, height, width, patch];
    this.engine.call({ kernel: 'f32_patchify', args });
  }

  /** x [side², D] → out [(side / scale)², D·scale²]. */
  pixelShuffle(out: Tensor, x: Tensor, side: number, scale: number): void {
    this.engine.call({ kernel: 'f32_pixel_shuffle', args: [out.pointer, x.pointer, side, x.columns, scale] });
  }

  #pairwise(kernel: 'f32_add' | 'f32_mul', x: Tensor, y: Tensor): void {
    this.engine.call({
      kernel,
      args: [x.pointer, x.pointer, y.pointer, x.size],
      axes: [this.#axis(3, x.size, 1, [0, 4, 1, 4, 2, 4])],
    });
  }

  /** Rows and panels of one part of a product. @param panelMacs multiply-adds of one row with one panel */
  #productSteps(rows: number, mostRows: number, panels: number, panelMacs: number): [number, number] {
    const { threads } = this.engine;
    const rowStep = Math.min(rows, mostRows);
    let panelStep = Math.max(1, Math.floor(STEP_MACS / (rowStep * panelMacs)));
    if (threads > 1) {
      const wanted = Math.ceil((PARTS_PER_THREAD * threads) / Math.ceil(rows / rowStep));
      const least = Math.ceil(LEAST_PART_MACS / (rowStep * panelMacs));
      panelStep = Math.min(panelStep, Math.max(least, Math.ceil(panels / wanted)));
    }
    return [rowStep, Math.min(panels, panelStep)];
  }

  /** An axis of `units` units of `values` values each, split into steps that are neither long nor tiny. */
  #axis(size: number, units: number, values: number, moves: number[]): Axis {
    const { threads } = this.engine;
    let step = Math.max(1, Math.floor(STEP_VALUES / values));
    if (threads > 1) {
      const least = Math.ceil(LEAST_PART_VALUES / values);
      step = Math.min(step, Math.max(least, Math.ceil(units / (PARTS_PER_THREAD * threads))));
    }
    if (values === 1) step = Math.ceil(step / 16) * 16;
    return { size, units, step: Math.min(Math.max(units, 1), step), moves };
  }
}

/** One of several products with the same left side. */
export interface Linear {
  readonly weight: Weight;
  readonly bias?: Weight | null;
}

const GEMM: Readonly<Record<PanelDtype, keyof Kernels>> = {
  F32: 'f32_f32w_gemm',
  BF16: 'f32_bf16w_gemm',
  F16: 'f32_f16w_gemm',
  I8: 'f32_i8w_gemm',
  I4: 'f32_i4w_gemm',
};
const GATHER: Readonly<Record<PanelDtype, keyof Kernels>> = {
  F32: 'f32_f32w_gather',
  BF16: 'f32_bf16w_gather',
  F16: 'f32_f16w_gather',
  I8: 'f32_i8w_gather',
  I4: 'f32_i4w_gather',
};

/** Gets strips of probabilities as an attention makes them. */
type Probabilities = (head: number, firstRow: number, count: number, pointer: number, ld: number) => void;

export interface AttentionShape {
  keys: number;
  kvHeads: number;
  headDim: number;
  causalStart: number;
  scale: number;
  pageCount: number;
}

/** Rows of keys and values, and where they go. */
export interface KeyRows {
  /** Pointer to the page lists: `pageCount` addresses for each head. */
  pages: number;
  pageCount: number;
  kvHeads: number;
  headDim: number;
  /** The first row. */
  start: number;
  count: number;
  /** Pointer to int32 rows, counted from `start`; 0: all of them. */
  indices: number;
  /** Key index of the first. */
  at: number;
}

/** Keys in one page of the attention kernels. */
export const PAGE_KEYS = 128;

/** Bytes of one page: K and V of 128 keys for one key/value head (see Kernels.f32_kv_write). */
export function pageBytes(headDim: number): number {
  return 4 * PAGE_KEYS * (headDim + Math.ceil(headDim / 8) * 8);
}
