/**
 * A contiguous row-major float32 tensor in wasm memory. It is a view: it owns nothing, and is valid until the scope
 * (or the owner) that its memory came from is released.
 */
export class Tensor {
  readonly pointer: number;
  readonly shape: readonly number[];

  constructor(pointer: number, shape: readonly number[]) {
    this.pointer = pointer;
    this.shape = shape;
  }

  get size(): number {
    return this.shape.reduce((product, n) => product * n, 1);
  }

  /** The number of rows when all but the last dimension are flattened. */
  get rows(): number {
    return this.size / this.columns;
  }

  /** The last dimension. */
  get columns(): number {
    return this.shape[this.shape.length - 1];
  }

  /** `count` rows from `start`, as a matrix over the same memory. */
  slice(start: number, count: number): Tensor {
    return new Tensor(this.pointer + 4 * start * this.columns, [count, this.columns]);
  }

  reshape(shape: readonly number[]): Tensor {
    return new Tensor(this.pointer, shape);
  }
}

/** A tensor outside wasm memory, as users and files give and get them. `data.length` is the product of `dims`. */
export interface HostTensor<D extends HostData = HostData> {
  readonly dims: readonly number[];
  readonly data: D;
}

export type HostData =
  | Float32Array
  | Float64Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Int8Array
  | Int16Array
  | Uint16Array
  | Uint32Array;
