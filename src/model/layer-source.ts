import type { Steps } from '../runtime/steps.js';

/** The layers of a tower, one after the other: in memory, or read from the checkpoint's files when their turn comes. */
export interface LayerSource<T> {
  readonly length: number;
  /** A layer's weights, which are there until the next layer is asked for. @throws CheckpointError where they are read */
  read(index: number): Steps<T>;
}

/** Layers that are all in memory. */
export class HeldLayers<T> implements LayerSource<T> {
  #layers: readonly T[];

  constructor(count: number, make: (index: number) => T) {
    this.#layers = Array.from({ length: count }, (_, index) => make(index));
  }

  get length(): number {
    return this.#layers.length;
  }

  // biome-ignore lint/correctness/useYield: it has nothing to wait for.
  *read(index: number): Steps<T> {
    return this.#layers[index];
  }
}
