import type { Engine } from '../runtime/engine.js';

/**
 * The transcendental arithmetic over scores, by the kernels: the same bits on every engine. Every call is synchronous and
 * leaves the activations as they were.
 */
export class ScoreMath {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** The index of the largest, the lowest on ties; −1 if any is NaN. */
  argmax(scores: Float32Array): number {
    return this.#with(scores, (x) => this.#engine.kernels.f32_argmax(x, scores.length));
  }

  /** An index drawn from softmax(scores) for u uniform in [0, 1); −1 for NaN, +Infinity or nothing above −Infinity. */
  sample(scores: Float32Array, u: number): number {
    return this.#with(scores, (x) => this.#engine.kernels.f32_sample(x, scores.length, u));
  }

  /** In place: scores − log Σ e^scores, rounded to float32. */
  logSoftmax(scores: Float32Array): void {
    this.#with(scores, (x) => {
      this.#engine.kernels.f32_log_softmax(x, x, scores.length);
      scores.set(this.#engine.f32(x, scores.length));
    });
  }

  /** Probabilities in float64. */
  softmax(scores: Float32Array): Float64Array {
    const { activations, kernels, heap } = this.#engine;
    return this.#with(scores, (x) => {
      const out = activations.allocate(8 * scores.length);
      kernels.f64_softmax(out, x, scores.length);
      return new Float64Array(heap.memory.buffer, out, scores.length).slice();
    });
  }

  logSumExp(scores: Float32Array): number {
    return this.#with(scores, (x) => this.#engine.kernels.f64_log_sum_exp(x, scores.length));
  }

  exp(x: number): number {
    return this.#engine.kernels.f64_exp(x);
  }

  pow(x: number, y: number): number {
    return this.#engine.kernels.f64_pow(x, y);
  }

  #with<T>(scores: Float32Array, compute: (pointer: number) => T): T {
    const { activations } = this.#engine;
    const mark = activations.mark();
    try {
      return compute(this.#engine.upload(scores, [scores.length]).pointer);
    } finally {
      activations.release(mark);
    }
  }
}
