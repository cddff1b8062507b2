import { type AttentionShape, attend, type KeyRows, type Probabilities, writeKeys } from './attention.js';
import type { Axis, KernelCall } from './call.js';
import type { Engine } from './engine.js';
import type { Kernels } from './kernels.js';
import { PAGE_KEYS, type PageDtype, pageBytes } from './pages.js';
import { Prepared } from './prepared.js';
import { type Linear, products } from './products.js';
import { evenAxis } from './splits.js';
import type { Steps } from './steps.js';
import { Tensor } from './tensor.js';
import type { PanelDtype, Weight } from './weight.js';

export type { AttentionShape } from './attention.js';

export type Activation = 'gelu_tanh' | 'gelu_erf' | 'gelu_quick' | 'relu' | 'selu' | 'silu';

/**
 * The operations of the model over tensors and weights. They know nothing of a model. Results are new tensors among
 * the activations unless an argument `out` is given; the slow ones are Steps and pause between kernel calls. What
 * usually comes before products is Prepared: computed by who takes it, the products or `tensor()`.
 */
export class Ops {
  readonly engine: Engine;

  constructor(engine: Engine) {
    this.engine = engine;
  }

  /** x [M, K] · weightᵀ (+ bias) → [M, N]. */
  *linear(x: Tensor | Prepared, linear: Linear, out?: Tensor): Steps<Tensor> {
    const outs = yield* products(this.engine, x, [linear], out && [out]);
    return outs[0];
  }

  /** Products of the same x [M, K] with several weights; x is quantised once for those that need it. */
  linears(x: Tensor | Prepared, linears: readonly Linear[]): Steps<Tensor[]> {
    return products(this.engine, x, linears);
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

  /** Into `out`, which may be x. With a `branch` x first becomes x + branch, and `out` may be the branch. */
  layerNorm(out: Tensor, x: Tensor, weight: Weight, bias: Weight, eps: number, branch?: Tensor): Prepared {
    const { rows, columns } = x;
    const args = [x.pointer, weight.pointer, bias.pointer, rows, columns, eps, branch?.pointer ?? 0];
    return this.#norm('layer_norm', out, args, 4, branch ? 7 : undefined);
  }

  /** The same. */
  rmsNorm(out: Tensor, x: Tensor, weight: Weight, eps: number, branch?: Tensor): Prepared {
    const { rows, columns } = x;
    const args = [x.pointer, weight.pointer, rows, columns, eps, branch?.pointer ?? 0];
    return this.#norm('rms_norm', out, args, 3, branch ? 6 : undefined);
  }

  /** @param size the argument that counts rows @param branch the one that is a branch, `out` being argument 0 */
  #norm(
    name: 'layer_norm' | 'rms_norm',
    out: Tensor,
    args: readonly number[],
    size: number,
    branch: number | undefined,
  ): Prepared {
    const { rows, columns } = out;
    const moves = [1, 4 * columns];
    if (branch !== undefined) moves.push(branch, 4 * columns);
    const call: KernelCall = {
      kernel: `f32_${name}`,
      args: [out.pointer, ...args],
      axes: [this.#axis(size, rows, columns, [0, 4 * columns, ...moves])],
    };
    return new Prepared(this.engine, out, [call], { kernel: `q_rows_${name}`, args, size, moves });
  }

  /** In place: x += y. */
  add(x: Tensor, y: Tensor): void {
    this.engine.call(this.#pairwise('f32_add', x, y));
  }

  /** In place: x *= y. */
  multiply(x: Tensor, y: Tensor): void {
    this.engine.call(this.#pairwise('f32_mul', x, y));
  }

  /** In place. */
  activation(name: Activation, x: Tensor): Prepared {
    const call = this.#activation(name, x);
    if (name !== 'gelu_tanh') return new Prepared(this.engine, x, [call]);
    const { rows, columns } = x;
    const args = [x.pointer, rows, columns];
    const moves = [1, 4 * columns];
    return new Prepared(this.engine, x, [call], { kernel: 'q_rows_gelu_tanh', args, size: 2, moves });
  }

  #activation(name: Activation, x: Tensor): KernelCall {
    return {
      kernel: `f32_${name}`,
      args: [x.pointer, x.pointer, x.size],
      axes: [this.#axis(2, x.size, 1, [0, 4, 1, 4])],
    };
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

  /** In place: gate = activation(gate)·up. */
  gate(name: Activation, gate: Tensor, up: Tensor): Prepared {
    if (name !== 'silu') {
      const calls = [this.#activation(name, gate), this.#pairwise('f32_mul', gate, up)];
      return new Prepared(this.engine, gate, calls);
    }
    const { rows, columns } = gate;
    const args = [gate.pointer, up.pointer, rows, columns];
    const moves = [1, 4 * columns, 2, 4 * columns];
    const calls = [this.#pairwise('f32_silu_mul', gate, up)];
    return new Prepared(this.engine, gate, calls, { kernel: 'q_rows_silu_mul', args, size: 3, moves });
  }

  /** In place: rotates the heads of q and k [tokens, heads·dim] by tables [tokens, dim]. */
  rope(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, dim: number): void {
    // One token's products may lie side by side: their heads are turned in one go.
    const isOne = q.rows === 1 && k.pointer === q.pointer + 4 * q.size;
    const both = isOne ? [new Tensor(q.pointer, [1, q.size + k.size])] : [q, k];
    for (const x of both) this.#rope(x, cos, sin, dim);
  }

  #rope(x: Tensor, cos: Tensor, sin: Tensor, dim: number): void {
    const { rows, columns } = x;
    this.engine.call({
      kernel: 'f32_rope',
      args: [x.pointer, cos.pointer, sin.pointer, rows, columns / dim, dim, columns],
      axes: [this.#axis(3, rows, columns, [0, 4 * columns, 1, 4 * dim, 2, 4 * dim])],
    });
  }

  /** Attention of one sequence: see `attend`. */
  attention(
    q: Tensor,
    pages: number,
    shape: AttentionShape,
    probs?: Probabilities,
    out = this.engine.tensor(q.rows, q.columns),
  ): Steps<Tensor> {
    return attend(this.engine, q, pages, shape, probs, out);
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
    dtype: PageDtype = 'float32',
  ): { pages: number; pageCount: number } {
    const { engine } = this;
    const pageCount = Math.ceil(count / PAGE_KEYS);
    const bytes = pageBytes(headDim, dtype);
    const first = engine.activations.allocate(kvHeads * pageCount * bytes);
    const pages = engine.uploadInt32(
      Array.from({ length: kvHeads * pageCount }, (_, i) => first + i * bytes),
    );
    this.writeKeys(k, v, { pages, pageCount, dtype, kvHeads, headDim, start, count, indices, at: 0 });
    return { pages, pageCount };
  }

  /** Keys and values of some rows [rows, kvHeads·headDim] to the key indices at, at + 1, … of each head's pages. */
  writeKeys(k: Tensor, v: Tensor, rows: KeyRows): void {
    writeKeys(this.engine, k, v, rows);
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

  /** In place: x, for each value with its y. */
  #pairwise(kernel: 'f32_add' | 'f32_mul' | 'f32_silu_mul', x: Tensor, y: Tensor): KernelCall {
    return {
      kernel,
      args: [x.pointer, x.pointer, y.pointer, x.size],
      axes: [this.#axis(3, x.size, 1, [0, 4, 1, 4, 2, 4])],
    };
  }

  #axis(size: number, units: number, values: number, moves: number[]): Axis {
    return evenAxis(this.engine.threads, size, units, values, moves);
  }
}

const GATHER: Readonly<Record<PanelDtype, keyof Kernels>> = {
  F32: 'f32_f32w_gather',
  BF16: 'f32_bf16w_gather',
  F16: 'f32_f16w_gather',
  I8: 'f32_i8w_gather',
  I4: 'f32_i4w_gather',
};
