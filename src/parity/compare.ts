/** Values of a reference entry. */
export type ReferenceValues = Float32Array | Float64Array;

/** Which rows of a tensor are compared: it is seen as rows of `length` values, row i counts if `keep[i]`. */
export interface RowFilter {
  readonly keep: ArrayLike<number>;
  readonly length: number;
}

/** How far two tensors are apart. Indices are flat, row-major. */
export interface Comparison {
  /** Σ(a − b)² / Σb² in float64; where Σb² is 0: 0 if a is 0 throughout, else Infinity. */
  readonly nmse: number;
  readonly maxAbs: number;
  /** The place of the largest difference, or of the first non-finite value. −1 where nothing was compared. */
  readonly worst: number;
  readonly ours: number;
  readonly reference: number;
  /** A value on either side is NaN or infinite; nmse and maxAbs are NaN then. */
  readonly nonFinite: boolean;
  /** max|reference| over what was compared. */
  readonly maxReference: number;
  /** Values compared. */
  readonly count: number;
}

/** Compares `a` with the reference `b`, value by value, in float64. Both have the same length. */
export function compareValues(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  rows: RowFilter = { keep: [1], length: b.length },
): Comparison {
  let error = 0;
  let power = 0;
  let maxAbs = 0;
  let maxReference = 0;
  let worst = -1;
  let count = 0;
  for (let row = 0; row < rows.keep.length; row++) {
    if (!rows.keep[row]) continue;
    const end = (row + 1) * rows.length;
    for (let i = end - rows.length; i < end; i++) {
      const difference = Math.abs(a[i] - b[i]);
      // NaN and infinities on either side make the difference NaN or infinite.
      if (!(difference < Infinity)) return notFinite(a, b, i, count);
      if (difference > maxAbs || worst < 0) {
        maxAbs = difference;
        worst = i;
      }
      error += difference * difference;
      power += b[i] * b[i];
      maxReference = Math.max(maxReference, Math.abs(b[i]));
    }
    count += rows.length;
  }
  const nmse = power > 0 ? error / power : maxAbs > 0 ? Infinity : 0;
  const [ours, reference] = worst < 0 ? [0, 0] : [a[worst], b[worst]];
  return { nmse, maxAbs, worst, ours, reference, nonFinite: false, maxReference, count };
}

function notFinite(a: ArrayLike<number>, b: ArrayLike<number>, worst: number, count: number): Comparison {
  const [ours, reference] = [a[worst], b[worst]];
  return { nmse: NaN, maxAbs: NaN, worst, ours, reference, nonFinite: true, maxReference: NaN, count };
}

/** A flat index as one per dimension. */
export function unflatten(index: number, dims: readonly number[]): number[] {
  const out = new Array<number>(dims.length);
  for (let i = dims.length - 1; i >= 0; i--) {
    out[i] = index % dims[i];
    index = Math.floor(index / dims[i]);
  }
  return out;
}
