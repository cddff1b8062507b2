/** Weights rounded in place to what a quantised format would hold, for float runs that show the rounding's effect alone. */
import type { Engine } from '../../src/runtime/engine.js';
import type { Steps } from '../../src/runtime/steps.js';
import type { Weight } from '../../src/runtime/weight.js';

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

/** scale · q of the packing kernels, at most 8 rows at a time. */
export function quantisedRounding(engine: Engine, bits: QuantisedBits): RowRounding {
  return (rows, K) => {
    const { kernels } = engine;
    const mark = engine.activations.mark();
    const count = rows.length / K;
    const blocks = Math.ceil(K / 32);
    const source = engine.upload(rows, [count, K]);
    const panel = engine.activations.allocate(blocks * (bits === 8 ? 272 : 144));
    const stride = bits === 8 ? K : Math.ceil(K / 2);
    const q = engine.activations.allocate(count * stride);
    const scales = engine.activations.allocate(2 * count * blocks);
    const pack = bits === 8 ? kernels.i8_f32_pack : kernels.i4_f32_pack;
    const place = pack(panel, source.pointer, count, K, K);
    if (place >= 0) throw new Error(`row ${Math.floor(place / K)}, column ${place % K} is not finite`);
    const unpack = bits === 8 ? kernels.i8_unpack_rows : kernels.i4_unpack_rows;
    unpack(q, scales, panel, count, K);
    const levels = engine.u8(q, count * stride);
    const scaleBytes = engine.u8(scales, 2 * count * blocks);
    const words = new Uint16Array(scaleBytes.buffer, scaleBytes.byteOffset, count * blocks);
    const values = new Float32Array(Uint32Array.from(words, (word) => word << 16).buffer);
    const out = Float32Array.from(rows, (_, i) => {
      const row = Math.floor(i / K);
      const k = i % K;
      const byte = levels[row * stride + (bits === 8 ? k : k >> 1)]!;
      const level = bits === 8 ? (byte << 24) >> 24 : ((byte >> (4 * (k & 1))) & 15) - 8;
      return values[row * blocks + (k >> 5)]! * level;
    });
    engine.activations.release(mark);
    return out;
  };
}
