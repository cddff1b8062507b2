/** out[i] = row ids[i] of a quantised matrix: scale · q, exact in float32, in 4 bits + minimum, rounded once. */
import { blockOf, blocksOf, headBytes, I4, I8, recordBytes, SCALES } from './quant';
import { bf16 } from './widen';

export function f32_i8w_gather(out: usize, w: usize, ids: usize, count: usize, K: usize): void {
  gather(I8, out, w, ids, count, K);
}

export function f32_i4w_gather(out: usize, w: usize, ids: usize, count: usize, K: usize): void {
  gather(I4, out, w, ids, count, K);
}

// @ts-ignore: decorator
@inline
function gather(dtype: i32, out: usize, w: usize, ids: usize, count: usize, K: usize): void {
  const record = recordBytes(dtype);
  for (let i: usize = 0; i < count; i++) {
    const id: usize = load<u32>(ids + (i << 2));
    const output = id & 7;
    let block = w + (id >> 3) * blocksOf(dtype, K) * record;
    for (let k: usize = 0; k < K; k += blockOf(dtype), block += record) {
      const scale = bf16(block + (output << 1));
      const minimum: f32 = dtype == I4 ? bf16(block + SCALES + (output << 1)) : 0;
      let from = block + headBytes(dtype) + ((output & 3) << 2);
      if (dtype == I8) from += (output >> 2) << 4;
      for (const end = out + (min(blockOf(dtype), K - k) << 2); out < end; from += dtype == I8 ? 32 : 16) {
        let q = load<u32>(from);
        if (dtype == I4) q = (q >> ((<u32>output >> 2) << 2)) & 0x0f0f0f0f;
        for (let j = 0; j < 4 && out < end; j++, out += 4, q >>= 8) {
          const value = scale * <f32><i32><i8>q;
          store<f32>(out, dtype == I4 ? value + minimum : value);
        }
      }
    }
  }
}
