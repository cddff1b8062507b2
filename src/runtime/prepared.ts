import type { KernelCall } from './call.js';
import type { Engine } from './engine.js';
import { FUSED_MOST_K, type Kernels, ROW_FORMS, type RowForm } from './kernels.js';
import { evenAxis } from './splits.js';
import type { Steps } from './steps.js';
import type { Tensor } from './tensor.js';

/** A call that leaves a step's rows quantised. */
export interface FusedCall {
  readonly kernel: keyof Kernels;
  /** All arguments but the first, where the rows go, and the last, their form. */
  readonly args: readonly number[];
  /** The argument that counts the rows; those that move from row to row (see `Axis`), the first one left out. */
  readonly size: number;
  readonly moves: readonly number[];
}

/**
 * What a step before products gives, computed when it is known in which form it is wanted: as float32 values, or straight as
 * quantised rows, which saves a pass over memory. The products have the same bits. It is for one taker, and before the places
 * that it reads change; where nobody takes it, nothing is computed.
 */
export class Prepared {
  readonly columns: number;
  readonly rows: number;
  readonly #engine: Engine;
  readonly #out: Tensor;
  readonly #calls: readonly KernelCall[];
  readonly #fused: FusedCall | undefined;
  #made: 'nothing' | 'values' | 'rows' = 'nothing';

  /**
   * @param out where the float32 values go, [rows, columns]
   * @param calls that compute them
   * @param fused the one that quantises them, too, where there is a kernel for that
   */
  constructor(engine: Engine, out: Tensor, calls: readonly KernelCall[], fused?: FusedCall) {
    this.columns = out.columns;
    this.rows = out.rows;
    this.#engine = engine;
    this.#out = out;
    this.#calls = calls;
    this.#fused = fused;
  }

  /** The float32 values, computed at the first call. */
  *tensor(): Steps<Tensor> {
    if (this.#made === 'rows') throw new Error('a step was computed as quantised rows already');
    if (this.#made === 'nothing') {
      this.#made = 'values';
      for (const call of this.#calls) yield* this.#engine.steps(call);
    }
    return this.#out;
  }

  /** Whether `quantize` may be called: there is a kernel, it has room for a row, and the values are not there yet. */
  get isFusible(): boolean {
    return this.#made === 'nothing' && this.#fused !== undefined && this.columns <= FUSED_MOST_K;
  }

  /** The quantised rows, to `rows`, each taking `rowBytes`; the float32 values are nowhere then. */
  *quantize(form: RowForm, rows: number, rowBytes: number): Steps<void> {
    if (!this.isFusible || !this.#fused) throw new Error('this step has no quantised rows');
    this.#made = 'rows';
    const { kernel, args, size, moves } = this.#fused;
    const { threads } = this.#engine;
    yield* this.#engine.steps({
      kernel,
      args: [rows, ...args, ROW_FORMS[form]],
      axes: [evenAxis(threads, size, this.rows, this.columns, [0, rowBytes, ...moves])],
    });
  }
}
