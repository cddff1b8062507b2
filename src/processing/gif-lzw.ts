/** The LZW decompression of GIF. */
import { ImageError } from '../errors.js';

interface Compressed {
  width: number;
  height: number;
  minCodeSize: number;
  blocks: readonly Uint8Array[];
}

/**
 * Palette indices, width · height of them; what the data lacks stays 0, what it has too much is left. Throws ImageError
 * for a code that means nothing.
 */
export function gifPixels({ width, height, minCodeSize, blocks }: Compressed, where: string): Uint8Array {
  const out = new Uint8Array(width * height);
  const clear = 1 << minCodeSize;
  const end = clear + 1;
  // Each code is another one and a byte after it.
  const prefixes = new Int16Array(4096);
  const suffixes = new Uint8Array(4096);
  const lengths = new Uint16Array(4096).fill(1, 0, clear);
  for (let code = 0; code < clear && code < 256; code++) suffixes[code] = code;
  let size = minCodeSize + 1;
  let next = end + 1;
  let previous = -1;
  let bits = 0;
  let buffer = 0;
  let to = 0;

  /** Writes a code's string and returns its first byte. */
  const write = (code: number): number => {
    let at = to + lengths[code];
    to = Math.min(at, out.length);
    while (code >= clear) {
      if (--at < out.length) out[at] = suffixes[code];
      code = prefixes[code];
    }
    if (--at < out.length) out[at] = suffixes[code];
    return suffixes[code];
  };

  for (const block of blocks) {
    for (const byte of block) {
      buffer |= byte << bits;
      bits += 8;
      while (bits >= size) {
        const code = buffer & ((1 << size) - 1);
        buffer >>>= size;
        bits -= size;
        if (code === end) return out;
        if (code === clear) {
          size = minCodeSize + 1;
          next = end + 1;
          previous = -1;
          continue;
        }
        if (code > next || (code === next && previous < 0) || (previous < 0 && code > end)) {
          throw new ImageError({
            what: 'GIF: damaged LZW data',
            where: `${where}, pixel ${to}`,
            expected: `a code up to ${next}`,
            got: String(code),
          });
        }
        let first: number;
        if (code < next) {
          first = write(code);
        } else {
          // The one code that is used before it is known: the previous string and its own first byte.
          first = firstByte(previous, clear, prefixes);
          if (next < 4096) {
            prefixes[next] = previous;
            suffixes[next] = first;
            lengths[next] = lengths[previous] + 1;
          }
          write(code);
        }
        if (previous >= 0 && next < 4096) {
          prefixes[next] = previous;
          suffixes[next] = first;
          lengths[next] = lengths[previous] + 1;
          next++;
          if (next === 1 << size && size < 12) size++;
        }
        previous = code;
        if (to >= out.length) return out;
      }
    }
  }
  return out;
}

function firstByte(code: number, clear: number, prefixes: Int16Array): number {
  while (code >= clear) code = prefixes[code];
  return code;
}
