import { InputError } from '../errors.js';
import type { Engine } from '../runtime/engine.js';
import type { Steps } from '../runtime/steps.js';
import {
  panelBytes,
  QUANT_BLOCK,
  QUANT_RECORD_BYTES,
  type QuantizedDtype,
  type Weight,
} from '../runtime/weight.js';

/** Panels worked on between two pauses. */
const STEP_PANELS = 32;

/** Rows of a quantised matrix as a file holds them: see src/checkpoint/quantized.ts. */
export interface StoredRows {
  readonly values: Uint8Array<ArrayBuffer>;
  readonly scales: Uint8Array<ArrayBuffer>;
}

function sizes({ dtype, K }: Weight) {
  const blocks = Math.ceil(K / QUANT_BLOCK);
  return {
    blocks,
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

/** Rows first … first + count − 1 (first a multiple of 8). @throws MemoryError */
export function storedRows(engine: Engine, weight: Weight, first: number, count: number): StoredRows {
  const { panel, values, scales } = sizes(weight);
  const { i8_unpack_rows, i4_unpack_rows } = engine.kernels;
  const unpack = weight.dtype === 'I8' ? i8_unpack_rows : i4_unpack_rows;
  return scratch(engine, count * (values + scales), (toScales) => {
    // The scales first: they are the ones that need their alignment.
    const toValues = toScales + count * scales;
    for (let at = 0; at < count; at += 8) {
      const from = weight.pointer + ((first + at) / 8) * panel;
      unpack(toValues + at * values, toScales + at * scales, from, Math.min(8, count - at), weight.K);
    }
    return {
      values: engine.u8(toValues, count * values).slice() as Uint8Array<ArrayBuffer>,
      scales: engine.u8(toScales, count * scales).slice() as Uint8Array<ArrayBuffer>,
    };
  });
}

/** Rows first … first + count − 1 of the scales alone (first a multiple of 8). */
export function storedScales(engine: Engine, weight: Weight, first: number, count: number) {
  const { panel, scales, blocks } = sizes(weight);
  const record = QUANT_RECORD_BYTES[weight.dtype as QuantizedDtype];
  return scratch(engine, count * scales, (to) => {
    for (let at = 0; at < count; at += 8) {
      const from = weight.pointer + ((first + at) / 8) * panel;
      const rows = Math.min(8, count - at);
      engine.kernels.panel8_take_scales(to + at * scales, from, rows, blocks, record);
    }
    return engine.u8(to, count * scales).slice() as Uint8Array<ArrayBuffer>;
  });
}

/** All values of a quantised matrix, row-major: scale · q, exact. */
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
  const expected = 'a finite value of magnitude below 2^127';
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
  const { panel, values, scales } = sizes(out);
  const rows = Math.min(8, out.N - first);
  const old = Math.max(0, Math.min(rows, weight.N - first));
  const { i8_unpack_rows, i4_unpack_rows, i8_repack, i4_repack } = engine.kernels;
  const unpack = dtype === 'I8' ? i8_unpack_rows : i4_unpack_rows;
  const repack = dtype === 'I8' ? i8_repack : i4_repack;
  const target = out.pointer + (first / 8) * panel;
  scratch(engine, 8 * (values + scales), (toScales) => {
    const toValues = toScales + 8 * scales;
    if (old > 0) unpack(toValues, toScales, weight.pointer + (first / 8) * panel, old, K);
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
      unpack(toValues + old * values, toScales + old * scales, target, rows - old, K);
    }
    repack(target, toValues, toScales, rows, K);
  });
}
