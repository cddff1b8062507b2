import type { Ops } from '../runtime/ops.js';
import type { Prepared } from '../runtime/prepared.js';
import type { Tensor } from '../runtime/tensor.js';
import type { Weight } from '../runtime/weight.js';

/**
 * A transformer's residual stream: the hidden states, and a place for a branch that begins with their norm and ends with what
 * is added to them. The addition is left to the next norm, which reads the hidden states anyway: the same bits with a pass
 * over memory, and a kernel call, less.
 */
export class ResidualStream {
  readonly #ops: Ops;
  /** [rows, hidden_size], without what is still to be added. */
  readonly hidden: Tensor;
  /** [rows, hidden_size], in the scope that the stream was made in. */
  readonly branch: Tensor;
  #isPending = false;

  /** @param hidden [rows, hidden_size], changed in place */
  constructor(ops: Ops, hidden: Tensor) {
    this.#ops = ops;
    this.hidden = hidden;
    this.branch = ops.engine.tensor(hidden.rows, hidden.columns);
  }

  /**
   * The norm of the hidden states, with the branch added to these when it is computed: before anything else is done here. Its
   * values go to the branch's place.
   */
  layerNorm({ weight, bias }: { weight: Weight; bias: Weight }, eps: number): Prepared {
    return this.#ops.layerNorm(this.branch, this.hidden, weight, bias, eps, this.#pending());
  }

  /** The same. */
  rmsNorm(weight: Weight, eps: number): Prepared {
    return this.#ops.rmsNorm(this.branch, this.hidden, weight, eps, this.#pending());
  }

  /** The branch now holds what is to be added. */
  add(): void {
    this.#isPending = true;
  }

  /** Adds what is still to be added, and gives the hidden states. */
  settled(): Tensor {
    const branch = this.#pending();
    if (branch) this.#ops.add(this.hidden, branch);
    return this.hidden;
  }

  #pending(): Tensor | undefined {
    const isPending = this.#isPending;
    this.#isPending = false;
    return isPending ? this.branch : undefined;
  }
}
