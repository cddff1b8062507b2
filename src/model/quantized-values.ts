import { InputError } from '../errors.js';
import type { Engine } from '../runtime/engine.js';
import type { Steps } from '../runtime/steps.js';
import {
  panelBytes,
  QUANT_RECORD_BYTES,
  QUANT_SCALE_BYTES,
  type QuantizedDtype,
  quantBlocks,
  type Weight,
} from '../runtime/weight.js';

/** Panels worked on between two pauses. */
const STEP_PANELS = 32;

function sizes({ dtype, K }: Weight) {
  const blocks = quantBlocks(dtype as QuantizedDtype, K);
  return {
    blocks,
    record: QUANT_RECORD_BYTES[dtype as QuantizedDtype],
    places: dtype === 'I8' ? [0] : [0, QUANT_SCALE_BYTES],
    panel: panelBytes(dtype, K),
    values: dtype === 'I8' ? K : Math.ceil(K / 2),
    scales: 2 * blocks,
  };
}

/** Memory for a while. @throws MemoryError */
function scratch<T>(engine: Engine, bytes: number, use: (pointer: number) => T): T {
  const pointer = engine.heap.allocate(bytes, 'quantised rows');
  try {
    return use(pointer);
  } finally {
    engine.heap.free(pointer);
  }
}

/**
 * Rows first … first + count − 1 (first a multiple of 8) of the values as a file holds them: src/checkpoint/quantized.ts.
 * @throws MemoryError
 */
export function storedValues(engine: Engine, weight: Weight, first: number, count: number) {
  const { panel, values } = sizes(weight);
  const { unpack } = rowKernels(engine, weight.dtype);
  return scratch(engine, count * values, (to) => {
    for (let at = 0; at < count; at += 8) {
      const from = weight.pointer + ((first + at) / 8) * panel;
      unpack(to + at * values, from, Math.min(8, count - at), weight.K);
    }
    return engine.u8(to, count * values).slice() as Uint8Array<ArrayBuffer>;
  });
}

/** The same rows of the scales. */
export function storedScales(engine: Engine, weight: Weight, first: number, count: number) {
  return headRows(engine, weight, 0, first, count);
}

/** The same rows of the minimums of a matrix in 4 bits. */
export function storedMinimums(engine: Engine, weight: Weight, first: number, count: number) {
  return headRows(engine, weight, QUANT_SCALE_BYTES, first, count);
}

/** Rows of what lies `place` bytes after the start of every record. */
function headRows(engine: Engine, weight: Weight, place: number, first: number, count: number) {
  const { panel, scales, blocks, record } = sizes(weight);
  return scratch(engine, count * scales, (to) => {
    for (let at = 0; at < count; at += 8) {
      const from = weight.pointer + ((first + at) / 8) * panel + place;
      engine.kernels.panel8_take_scales(to + at * scales, from, Math.min(8, count - at), blocks, record);
    }
    return engine.u8(to, count * scales).slice() as Uint8Array<ArrayBuffer>;
  });
}

function rowKernels({ kernels }: Engine, dtype: Weight['dtype']) {
  return dtype === 'I8'
    ? { unpack: kernels.i8_unpack_rows, repack: kernels.i8_repack }
    : { unpack: kernels.i4_unpack_rows, repack: kernels.i4_repack };
}

/** All values of a quantised matrix, row-major, dequantised. */
export function* dequantizedValues(engine: Engine, weight: Weight): Steps<Float32Array<ArrayBuffer>> {
  const { N, K, dtype, pointer } = weight;
  const out = new Float32Array(N * K);
  const { f32_i8w_gather, f32_i4w_gather } = engine.kernels;
  const gather = dtype === 'I8' ? f32_i8w_gather : f32_i4w_gather;
  const rows = 8 * STEP_PANELS;
  for (let first = 0; first < N; first += rows) {
    const mark = engine.activations.mark();
    const count = Math.min(rows, N - first);
    const ids = engine.uploadInt32(Int32Array.from({ length: count }, (_, i) => first + i));
    const values = engine.tensor(count, K);
    gather(values.pointer, pointer, ids, count, K);
    out.set(engine.f32(values.pointer, values.size), first * K);
    engine.activations.release(mark);
    yield;
  }
  return out;
}

/** Quantises values into all rows of a matrix. @throws InputError for one that is not finite */
export function* quantizeValues(engine: Engine, weight: Weight, values: ArrayLike<number>): Steps<void> {
  const { N, K } = weight;
  for (let first = 0; first < N; first += 8) {
    const rows = Math.min(8, N - first);
    const own = Float32Array.from({ length: rows * K }, (_, i) => Number(values[first * K + i]));
    packPanel(engine, weight, weight.pointer + (first / 8) * panelBytes(weight.dtype, K), own, first);
    if (first % (8 * STEP_PANELS) === 0) yield;
  }
}

/** One panel from rows of float32. */
function packPanel(engine: Engine, weight: Weight, out: number, rows: Float32Array, first: number): void {
  const { K, dtype, name } = weight;
  const mark = engine.activations.mark();
  const source = engine.upload(rows, [rows.length / K, K]);
  const { i8_f32_pack, i4_f32_pack } = engine.kernels;
  const bad = (dtype === 'I8' ? i8_f32_pack : i4_f32_pack)(out, source.pointer, rows.length / K, K, K);
  engine.activations.release(mark);
  if (bad < 0) return;
  const where = `${name}, row ${first + Math.floor(bad / K)}, column ${bad % K}`;
  const expected = `a finite value of magnitude below 2^${dtype === 'I4' ? 126 : 127}`;
  throw new InputError({ what: 'a value cannot be quantised', where, expected, got: String(rows[bad]) });
}

/**
 * Fills `out` with the first rows of `weight`, whose integers and scales stay, and further rows `added`, quantised.
 * @throws MemoryError, InputError
 */
export function* copyRows(
  engine: Engine,
  out: Weight,
  weight: Weight,
  added: (row: number) => ArrayLike<number>,
): Steps<void> {
  const { panel } = sizes(out);
  for (let first = 0; first < out.N; first += 8) {
    const target = out.pointer + (first / 8) * panel;
    const source = weight.pointer + (first / 8) * panel;
    if (first + 8 <= Math.min(weight.N, out.N)) engine.u8(target, panel).set(engine.u8(source, panel));
    else mixPanel(engine, out, weight, first, added);
    if (first % (8 * STEP_PANELS) === 0) yield;
  }
}

/** A panel of which some rows are old, some are new, and some are beyond the end. */
function mixPanel(
  engine: Engine,
  out: Weight,
  weight: Weight,
  first: number,
  added: (row: number) => ArrayLike<number>,
): void {
  const { K, dtype } = out;
  const { panel, values, scales, blocks, record, places } = sizes(out);
  const rows = Math.min(8, out.N - first);
  const old = Math.max(0, Math.min(rows, weight.N - first));
  const { unpack, repack } = rowKernels(engine, dtype);
  const { panel8_take_scales, panel8_put_scales } = engine.kernels;
  const target = out.pointer + (first / 8) * panel;
  // For each place of the head its scales or minimums, then the values.
  scratch(engine, 8 * (values + places.length * scales), (heads) => {
    const toValues = heads + places.length * 8 * scales;
    const take = (row: number, from: number, count: number) => {
      places.forEach((place, i) => {
        panel8_take_scales(heads + (8 * i + row) * scales, from + place, count, blocks, record);
      });
      unpack(toValues + row * values, from, count, K);
    };
    if (old > 0) take(0, weight.pointer + (first / 8) * panel, old);
    if (rows > old) {
      const fresh = new Float32Array((rows - old) * K);
      for (let r = old; r < rows; r++) {
        const row = added(first + r);
        fresh.set(
          Float32Array.from({ length: K }, (_, k) => Number(row[k])),
          (r - old) * K,
        );
      }
      packPanel(engine, out, target, fresh, first + old);
      take(old, target, rows - old);
    }
    places.forEach((place, i) => {
      panel8_put_scales(target + place, heads + 8 * i * scales, rows, blocks, record);
    });
    repack(target, toValues, rows, K);
  });
}
