/** The fixtures of test/fixtures/processing and the formula pictures that python/processing_pictures.py makes as well. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Pixels } from '../../src/processing/resample.js';

/** The repository, seen from build/test/processing. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
export const FIXTURES = join(ROOT, 'test', 'fixtures', 'processing');

export type PictureName = [kind: 'wave' | 'noise', height: number, width: number, channels: number];

/** Interleaved uint8 pixels, the same bytes as Python's `formula`. */
export function formula([kind, height, width, channels]: PictureName): Pixels {
  const data = new Uint8Array(height * width * channels);
  let at = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < channels; c++) data[at++] = (kind === 'wave' ? wave : noise)(y, x, c);
    }
  }
  return { data, width, height, channels };
}

function wave(y: number, x: number, c: number): number {
  const value = (x * (c + 3) + y * (2 * c + 5) + ((x * y) >> 6)) >> 1;
  return (((x >> 4) + (y >> 4)) & 1) === 1 ? 255 - (value & 255) : value & 255;
}

function noise(y: number, x: number, c: number): number {
  const value = Math.imul(x, 73856093) ^ Math.imul(y, 19349663) ^ Math.imul(c, 83492791);
  return (Math.imul(value ^ (value >>> 15), 2654435761) >>> 21) & 255;
}

export function sha256(data: Uint8Array | Uint8ClampedArray | Float32Array): string {
  return createHash('sha256')
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest('hex');
}

export function fixtureBytes(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(FIXTURES, 'images', name)));
}

/** The cases of one of the committed JSON files. */
export function cases<T>(name: string): T[] {
  return (JSON.parse(readFileSync(join(FIXTURES, name), 'utf8')) as { cases: T[] }).cases;
}
