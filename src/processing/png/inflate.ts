/** Inflating with a ceiling: however small a file is, no more is unpacked than was asked for. */
import { Inflate, Unzlib } from 'fflate';
import type { Steps } from '../paced.js';
import { damaged } from './chunks.js';

/** Fed in slices, so that one step unpacks at most about a thousand times this (deflate's best ratio is 1032). */
const SLICE = 1 << 14;

/**
 * Unpacks zlib data that is spread over several pieces into `target`. Bytes beyond its length are left packed.
 * Throws ImageError with the offset in the file when the data is damaged or yields too little.
 */
export function* inflateZlib(
  pieces: { offset: number; bytes: Uint8Array }[],
  target: Uint8Array,
): Steps<void> {
  let filled = 0;
  const stream = new Unzlib((chunk) => {
    const room = target.length - filled;
    target.set(chunk.length > room ? chunk.subarray(0, room) : chunk, filled);
    filled += Math.min(chunk.length, room);
  });
  let position = pieces[0]?.offset ?? 0;
  for (const { offset, bytes } of pieces) {
    for (let at = 0; at < bytes.length && filled < target.length; at += SLICE) {
      position = offset + at;
      try {
        stream.push(bytes.subarray(at, at + SLICE), false);
      } catch (cause) {
        throw damaged('compressed pixels', position, 'zlib data', String((cause as Error).message), cause);
      }
      position = offset + Math.min(at + SLICE, bytes.length);
      yield;
    }
  }
  if (filled < target.length) {
    try {
      stream.push(new Uint8Array(0), true);
    } catch {
      // The shortage is reported below; fflate only says that its input has ended.
    }
  }
  if (filled < target.length) {
    throw damaged('truncated pixels', position, `${target.length} bytes when unpacked`, String(filled));
  }
}

/** A short text of at most `limit` bytes from zlib data; undefined if it is damaged or longer. */
export function inflateText(bytes: Uint8Array, limit: number): Uint8Array | undefined {
  const parts: Uint8Array[] = [];
  let total = 0;
  const stream = new Unzlib((chunk) => {
    total += chunk.length;
    if (total <= limit) parts.push(chunk);
  });
  try {
    for (let at = 0; at < bytes.length && total <= limit; at += SLICE) {
      stream.push(bytes.subarray(at, at + SLICE), at + SLICE >= bytes.length);
    }
  } catch {
    return undefined;
  }
  if (total > limit) return undefined;
  const out = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Raw deflate data whose unpacked size is known and trusted (a binary that was packed at build time). */
export function inflateRaw(bytes: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(size);
  let filled = 0;
  const stream = new Inflate((chunk) => {
    out.set(chunk, filled);
    filled += chunk.length;
  });
  stream.push(bytes, true);
  return out;
}
