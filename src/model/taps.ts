import type { Engine } from '../runtime/engine.js';
import type { Steps } from '../runtime/steps.js';
import type { HostTensor, Tensor } from '../runtime/tensor.js';

/** Gets every inspected intermediate, under its module's path in the reference, in forward order. */
export type TapListener = (name: string, value: HostTensor<Float32Array>) => void;

/** The rows of a step and where they belong in the whole: images come in groups, text without its pads. */
export interface TapPlace {
  /** Shape of the whole tensor, its last dimension (the columns) left out. */
  dims: readonly number[];
  /** Row of the whole for each row here: the first of consecutive ones, or a list. */
  rows: number | Int32Array;
}

/**
 * Copies intermediates out of wasm memory, and puts together what the forward pass computes in parts. Rows that no part
 * fills (pads) are 0. Copying does not touch the computation: with and without taps the results have the same bits. It waits
 * for the calls that make a tensor without keeping the caller's thread.
 */
export class Taps {
  #engine: Engine;
  #listener: TapListener;
  #parts = new Map<string, { value: HostTensor<Float32Array>; missing: number }>();

  constructor(engine: Engine, listener: TapListener) {
    this.#engine = engine;
    this.#listener = listener;
  }

  /** @param total rows that all parts together bring; the listener is called when they are there. */
  *write(name: string, tensor: Tensor, place: TapPlace, total: number): Steps<void> {
    yield* this.#engine.drain();
    const source = this.#engine.f32(tensor.pointer, tensor.size);
    const columns = tensor.size / rowCount(tensor, place);
    const part = this.#part(name, [...place.dims, columns], total);
    const { rows } = place;
    if (typeof rows === 'number') part.value.data.set(source, rows * columns);
    else
      rows.forEach((row, i) => {
        part.value.data.set(source.subarray(i * columns, (i + 1) * columns), row * columns);
      });
    this.#finish(name, part, source.length / columns);
    yield;
  }

  /**
   * Like `write`, for matrices that the reference has the other way round: each run of `rows` rows [rows, columns] becomes
   * [columns, rows] of the whole, whose shape is `dims`.
   */
  *writeTransposed(
    name: string,
    tensor: Tensor,
    { dims, firstMatrix, rows }: { dims: number[]; firstMatrix: number; rows: number },
  ): Steps<void> {
    yield* this.#engine.drain();
    const source = this.#engine.f32(tensor.pointer, tensor.size);
    const { columns } = tensor;
    const part = this.#part(name, dims, dims[0] * rows);
    for (let row = 0; row < tensor.rows; row++) {
      const matrix = firstMatrix + Math.floor(row / rows);
      const base = matrix * rows * columns + (row % rows);
      for (let column = 0; column < columns; column++) {
        part.value.data[base + column * rows] = source[row * columns + column];
      }
    }
    this.#finish(name, part, tensor.rows);
    yield;
  }

  /** A value that is whole and outside wasm memory already. */
  emit(name: string, value: HostTensor<Float32Array>): void {
    this.#listener(name, value);
  }

  #part(name: string, dims: number[], total: number) {
    let part = this.#parts.get(name);
    if (!part) {
      const size = dims.reduce((product, n) => product * n, 1);
      part = { value: { dims, data: new Float32Array(size) }, missing: total };
      this.#parts.set(name, part);
    }
    return part;
  }

  #finish(name: string, part: { value: HostTensor<Float32Array>; missing: number }, rows: number): void {
    part.missing -= rows;
    if (part.missing > 0) return;
    this.#parts.delete(name);
    this.#listener(name, part.value);
  }
}

function rowCount(tensor: Tensor, { rows }: TapPlace): number {
  return typeof rows === 'number' ? tensor.rows : rows.length;
}

/** A stage's own tap: the place is fixed, only names and tensors vary. */
export type StageTap = (name: string, tensor: Tensor) => Steps<void>;
