import type { Engine } from '../runtime/engine.js';
import { PAGE_KEYS, readPage } from '../runtime/pages.js';
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
  { kvHeads, headDim, kv_cache_dtype = 'float32' }: CacheShape,
  seen: number,
  rows: { columns: readonly number[]; addresses: (head: number) => readonly number[] }[],
): CacheLayer {
  const dims = [rows.length, kvHeads, seen, headDim];
  const keys = new Float32Array(rows.length * kvHeads * seen * headDim);
  const values = new Float32Array(keys.length);
  for (const [row, { columns, addresses }] of rows.entries()) {
    for (let head = 0; head < kvHeads; head++) {
      const pages = addresses(head).map((pointer) => readPage(engine, pointer, headDim, kv_cache_dtype));
      for (const [key, column] of columns.entries()) {
        const { k, v } = pages[Math.floor(key / PAGE_KEYS)];
        const base = ((row * kvHeads + head) * seen + column) * headDim;
        for (let d = 0; d < headDim; d++) {
          keys[base + d] = k(key % PAGE_KEYS, d);
          values[base + d] = v(key % PAGE_KEYS, d);
        }
      }
    }
  }
  return { keys: { dims, data: keys }, values: { dims, data: values } };
}
