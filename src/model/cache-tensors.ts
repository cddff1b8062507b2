import type { Engine } from '../runtime/engine.js';
import { PAGE_KEYS } from '../runtime/ops.js';
import type { HostTensor } from '../runtime/tensor.js';
import type { CacheShape } from './cache.js';

/** One layer of a cache as the reference's DynamicLayer holds it: [B, kv_heads, S, head_dim] each; pads are 0. */
export interface CacheLayer {
  readonly keys: HostTensor<Float32Array>;
  readonly values: HostTensor<Float32Array>;
}

/**
 * Copies a layer's rotated keys and its values out of the pages.
 * @param addresses of a row's pages: for each head, page after page
 */
export function readLayer(
  engine: Engine,
  { kvHeads, headDim }: CacheShape,
  seen: number,
  rows: { columns: readonly number[]; addresses: (head: number) => readonly number[] }[],
): CacheLayer {
  const dims = [rows.length, kvHeads, seen, headDim];
  const keys = new Float32Array(rows.length * kvHeads * seen * headDim);
  const values = new Float32Array(keys.length);
  for (const [row, { columns, addresses }] of rows.entries()) {
    for (let head = 0; head < kvHeads; head++) {
      const pages = addresses(head).map((pointer) => ({
        k: engine.f32(pointer, PAGE_KEYS * headDim),
        v: engine.f32(pointer + 4 * PAGE_KEYS * headDim, PAGE_KEYS * Math.ceil(headDim / 8) * 8),
      }));
      for (const [key, column] of columns.entries()) {
        const { k, v } = pages[Math.floor(key / PAGE_KEYS)];
        const slot = key % PAGE_KEYS;
        const base = ((row * kvHeads + head) * seen + column) * headDim;
        const panel = (slot >> 3) * headDim * 8 + (slot & 7);
        for (let d = 0; d < headDim; d++) {
          keys[base + d] = k[panel + d * 8];
          values[base + d] = v[(d >> 3) * PAGE_KEYS * 8 + slot * 8 + (d & 7)];
        }
      }
    }
  }
  return { keys: { dims, data: keys }, values: { dims, data: values } };
}
