/** Rows moved about: gathered, scattered, or copied as they stand. */

/** out[to[i]] = src[from[i]] for rows of `columns` values; a list that is 0 counts 0, 1, 2 … */
export function f32_copy_rows(out: usize, to: usize, src: usize, from: usize, count: usize, columns: usize): void {
  const bytes = columns << 2;
  for (let i: usize = 0; i < count; i++) {
    const target = to ? <usize>load<u32>(to + (i << 2)) : i;
    const source = from ? <usize>load<u32>(from + (i << 2)) : i;
    memory.copy(out + target * bytes, src + source * bytes, bytes);
  }
}
