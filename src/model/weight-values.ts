import { decode } from '../checkpoint/dtypes.js';
import type { Engine } from '../runtime/engine.js';
import type { Steps } from '../runtime/steps.js';
import { isQuantized, type Weight, type WeightDtype, weightBytes } from '../runtime/weight.js';
import { roundedBits } from './convert-weights.js';
import { copyRows, dequantizedValues, quantizeValues } from './quantized-values.js';

/** Values copied between two pauses: a millisecond or two. */
const STEP_VALUES = 1 << 16;

/** Bits of a weight's elements, in memory as they lie there. */
function elements(engine: Engine, { layout, dtype, pointer, N, K }: Weight): Uint16Array | Uint32Array {
  const count = layout === 'vector' ? N : Math.ceil(N / 8) * 8 * K;
  const isWide = layout === 'vector' || dtype === 'F32';
  const { buffer, byteOffset } = engine.u8(pointer, 0);
  return isWide ? new Uint32Array(buffer, byteOffset, count) : new Uint16Array(buffer, byteOffset, count);
}

/** Of a weight that is not quantised. */
function floatDtype({ dtype, name }: Weight): WeightDtype {
  if (!isQuantized(dtype)) return dtype;
  throw new Error(`${name} is quantised`);
}

/** Rows first … first + count − 1 of a weight as a file has them: row-major, in the bytes of its float dtype. */
export function rowBytes(
  engine: Engine,
  weight: Weight,
  first: number,
  count: number,
): Uint8Array<ArrayBuffer> {
  const { layout, K } = weight;
  const dtype = floatDtype(weight);
  const source = elements(engine, weight);
  if (layout === 'vector') {
    const values = engine.f32(weight.pointer + 4 * first, count);
    return bytesOf(dtype === 'F32' ? values.slice() : roundedBits(values, dtype));
  }
  const out = dtype === 'F32' ? new Uint32Array(count * K) : new Uint16Array(count * K);
  for (let i = 0; i < count; i++) {
    let from = elementIndex(first + i, K);
    for (let to = i * K; to < (i + 1) * K; to++, from += 8) out[to] = source[from];
  }
  return bytesOf(out);
}

/** All values of a weight, row-major; exact: of a quantised one, scale · q. */
export function* weightValues(engine: Engine, weight: Weight): Steps<Float32Array<ArrayBuffer>> {
  if (isQuantized(weight.dtype)) return yield* dequantizedValues(engine, weight);
  const dtype = floatDtype(weight);
  const out = new Float32Array(weight.N * weight.K);
  for (const { first, count } of strips(weight)) {
    out.set(decode(dtype, rowBytes(engine, weight, first, count)) as Float32Array, first * weight.K);
    yield;
  }
  return out;
}

/** Sets all values of a weight, rounded to its dtype, or quantised. @throws InputError for one that cannot be */
export function* setWeightValues(engine: Engine, weight: Weight, values: ArrayLike<number>): Steps<void> {
  if (isQuantized(weight.dtype)) return yield* quantizeValues(engine, weight, values);
  for (const { first, count } of strips(weight)) {
    for (let row = first; row < first + count; row++) setRow(engine, weight, row, values, row * weight.K);
    yield;
  }
}

/**
 * A weight with the first `N` rows of another, and further rows `added`, in memory of its own.
 * @throws MemoryError
 */
export function* resizedWeight(
  engine: Engine,
  weight: Weight,
  N: number,
  added: (row: number) => ArrayLike<number>,
): Steps<Weight> {
  const { K, dtype, layout, shape } = weight;
  const bytes = weightBytes(layout, dtype, N, K);
  const pointer = engine.allocateWeights(bytes);
  const out: Weight = { ...weight, N, shape: [N, ...shape.slice(1)], pointer };
  let isDone = false;
  try {
    if (isQuantized(dtype)) yield* copyRows(engine, out, weight, added);
    else yield* copyFloatRows(engine, out, weight, added);
    isDone = true;
    return out;
  } finally {
    if (!isDone && !engine.disposed) engine.heap.free(pointer);
  }
}

function* copyFloatRows(
  engine: Engine,
  out: Weight,
  weight: Weight,
  added: (row: number) => ArrayLike<number>,
): Steps<void> {
  const { K, N, dtype, layout, pointer } = out;
  const bytes = weightBytes(layout, dtype, N, K);
  // The last panel is filled up with zeros.
  const panel = Math.min(bytes, weightBytes(layout, dtype, 8, K));
  engine.u8(pointer + bytes - panel, panel).fill(0);
  for (const { first, count } of strips(out)) {
    const source = elements(engine, weight);
    const target = elements(engine, out);
    for (let row = first; row < first + count; row++) {
      if (row >= weight.N) {
        setRow(engine, out, row, added(row), 0);
        continue;
      }
      const start = elementIndex(row, K);
      for (let at = start; at < start + 8 * K; at += 8) target[at] = source[at];
    }
    yield;
  }
}

/**
 * A weight with its values rounded to a narrower dtype, in memory of its own. F32 leaves every weight as it is: its values
 * are float32 already.
 * @throws MemoryError
 */
export function* narrowedWeight(engine: Engine, weight: Weight, dtype: WeightDtype): Steps<Weight> {
  const stored = floatDtype(weight);
  if (dtype === 'F32' || dtype === stored) return weight;
  const { layout, N, K } = weight;
  const pointer = engine.allocateWeights(weightBytes(layout, dtype, N, K));
  const out: Weight = { ...weight, dtype, pointer };
  const { length } = elements(engine, weight);
  for (let start = 0; start < length; start += STEP_VALUES) {
    const source = elements(engine, weight).slice(start, start + STEP_VALUES);
    const from = source instanceof Uint32Array ? 'F32' : stored;
    const bits = roundedBits(decode(from, bytesOf(source)) as Float32Array, dtype);
    const target = elements(engine, out);
    // A vector stays float32 in memory; its values are rounded.
    if (target instanceof Uint16Array) target.set(bits, start);
    else engine.f32(out.pointer, length).set(decode(dtype, bytesOf(bits)) as Float32Array, start);
    yield;
  }
  return out;
}

function setRow(engine: Engine, weight: Weight, row: number, values: ArrayLike<number>, start: number): void {
  const { layout, K, pointer } = weight;
  const dtype = floatDtype(weight);
  const own = Float32Array.from({ length: K }, (_, k) => Number(values[start + k]));
  const bits = dtype === 'F32' ? new Uint32Array(own.buffer) : roundedBits(own, dtype);
  if (layout === 'vector') {
    engine.f32(pointer + 4 * row, 1).set(decode(dtype, bytesOf(bits)) as Float32Array);
    return;
  }
  const target = elements(engine, weight);
  const at = elementIndex(row, K);
  for (let k = 0; k < K; k++) target[at + 8 * k] = bits[k];
}

/** Index of a row's first element in its panel; the others follow 8 apart. */
function elementIndex(row: number, K: number): number {
  return Math.floor(row / 8) * 8 * K + (row % 8);
}

/** Groups of rows of about STEP_VALUES values. */
function* strips({ N, K }: Weight): Generator<{ first: number; count: number }> {
  const rows = Math.max(1, Math.floor(STEP_VALUES / K));
  for (let first = 0; first < N; first += rows) yield { first, count: Math.min(rows, N - first) };
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}
