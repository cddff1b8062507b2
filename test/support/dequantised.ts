/** Weights rounded in place to what a quantised format would hold, for float runs that show the rounding's effect alone. */
import type { Engine } from '../../src/runtime/engine.js';
import type { Steps } from '../../src/runtime/steps.js';
import { panelBytes, type Weight } from '../../src/runtime/weight.js';

export type QuantisedBits = 8 | 4;

/** Rows [count][K] of a matrix to what is left of them. */
export type RowRounding = (rows: Float32Array, K: number) => Float32Array;

/**
 * Rounds every float32 matrix for which `roundingOf` gives a rounding, 8 rows at a time; vectors keep their values.
 * @throws Error for a matrix that is not stored in float32: it could not hold the results
 */
export function* roundWeights(
  engine: Engine,
  named: ReadonlyMap<string, Weight>,
  roundingOf: (weight: Weight) => RowRounding | undefined,
): Steps<void> {
  const done = new Set<number>();
  for (const weight of named.values()) {
    const { layout, dtype, name, N, K, pointer } = weight;
    const rounding = layout === 'panel' && !done.has(pointer) ? roundingOf(weight) : undefined;
    if (!rounding) continue;
    if (dtype !== 'F32') throw new Error(`${name} is stored in ${dtype}, expected F32`);
    done.add(pointer);
    for (let row = 0; row < N; row += 8) {
      const mark = engine.activations.mark();
      const count = Math.min(8, N - row);
      const rows = engine.tensor(count, K);
      const ids = engine.uploadInt32(Array.from({ length: count }, (_, i) => row + i));
      engine.kernels.f32_f32w_gather(rows.pointer, pointer, ids, count, K);
      engine.f32(rows.pointer, count * K).set(rounding(engine.download(rows), K));
      engine.kernels.panel8_pack_32(pointer + 4 * row * K, rows.pointer, count, K, K);
      engine.activations.release(mark);
      yield;
    }
  }
}

/** What the packing kernels make of weights, dequantised; at most 8 rows at a time. */
export function quantisedRounding(engine: Engine, bits: QuantisedBits): RowRounding {
  return (rows, K) => {
    const { kernels } = engine;
    const mark = engine.activations.mark();
    const count = rows.length / K;
    const source = engine.upload(rows, [count, K]);
    const panel = engine.activations.allocate(panelBytes(bits === 8 ? 'I8' : 'I4', K));
    const pack = bits === 8 ? kernels.i8_f32_pack : kernels.i4_f32_pack;
    const place = pack(panel, source.pointer, count, K, K);
    if (place >= 0) throw new Error(`row ${Math.floor(place / K)}, column ${place % K} is not finite`);
    const ids = engine.uploadInt32(Int32Array.from({ length: count }, (_, row) => row));
    const gather = bits === 8 ? kernels.f32_i8w_gather : kernels.f32_i4w_gather;
    gather(source.pointer, panel, ids, count, K);
    const out = engine.download(source);
    engine.activations.release(mark);
    return out;
  };
}
