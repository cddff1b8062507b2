/** Keys in one page of the attention kernels. */
export const PAGE_KEYS = 128;

/** Bytes of one page: K and V of 128 keys for one key/value head (see Kernels.f32_kv_write). */
export function pageBytes(headDim: number): number {
  return 4 * PAGE_KEYS * (headDim + Math.ceil(headDim / 8) * 8);
}
