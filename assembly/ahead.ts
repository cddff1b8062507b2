/**
 * Reading ahead of the arithmetic, for attention of a token. The processor fetches ahead of a stream only within 4 KiB,
 * and the pages of a head lie far apart: without this it waits at every 4 KiB. So before each panel a few lines of the
 * next page are read, of each of its parts: many at a time are under way, the last of them during the arithmetic.
 */
import { PAGE, pageOf } from './pages';
import { tileScratch } from './scratch';

/** Most rows with which reading bounds the time, more than the arithmetic does. */
export const FEW_ROWS: usize = 4;

const LINE: usize = 64;
const HALF: usize = PAGE / 2;

/** Reads the `bytes` bytes of the first page's keys at once: nothing goes before that they could be read beside. */
// @ts-ignore: decorator
@inline
export function readFirstKeys(parts: usize, pages: usize, keys: usize, bytes: usize): void {
  if (keys >= HALF) readAhead(parts, pageOf(pages, 0), bytes / parts, bytes / parts);
}

/**
 * What is read ahead while the keys of the page of `key` are used: the next page's, after the last page the first
 * one's values, `values` bytes from its beginning. 0: nothing; a page less than half full would be read for what is not
 * there.
 */
// @ts-ignore: decorator
@inline
export function nextKeys(pages: usize, key: usize, keys: usize, values: usize): usize {
  if (key + PAGE + HALF <= keys) return pageOf(pages, key + PAGE);
  return key + PAGE >= keys && keys >= HALF ? pageOf(pages, 0) + values : 0;
}

/** The same while its values are used. */
// @ts-ignore: decorator
@inline
export function nextValues(pages: usize, key: usize, keys: usize, values: usize): usize {
  return key + PAGE + HALF <= keys ? pageOf(pages, key + PAGE) + values : 0;
}

/**
 * Reads a word of every line of `bytes` bytes at `from` and at addresses `apart` bytes further on each, in all `parts`
 * of them: 2, 4 or 8, a constant wherever this is called.
 */
// @ts-ignore: decorator
@inline
export function readAhead(parts: usize, from: usize, apart: usize, bytes: usize): void {
  let seen: u32 = 0;
  for (const end = from + bytes; from < end; from += LINE) {
    if (parts == 8) seen |= four(from, apart) | four(from + 4 * apart, apart);
    else if (parts == 4) seen |= four(from, apart);
    else seen |= two(from, apart);
  }
  // Kept where nobody reads it, or a compiler could leave the loads out.
  store<u32>(tileScratch, seen);
}

// @ts-ignore: decorator
@inline
function four(from: usize, apart: usize): u32 {
  return two(from, apart) | two(from + 2 * apart, apart);
}

// @ts-ignore: decorator
@inline
function two(from: usize, apart: usize): u32 {
  return load<u32>(from) | load<u32>(from + apart);
}
