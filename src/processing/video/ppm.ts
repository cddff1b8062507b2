/** A stream of PPM pictures, as ffmpeg writes them: each says its own size, so a rotated video needs no special care. */
import { ImageError } from '../../errors.js';
import { type Planes, planesOfInterleaved } from '../fast/planes.js';
import { paced } from '../paced.js';

const MAX_HEADER = 64;

/** Throws ImageError for anything that is no 8-bit PPM, breaks off, or has more than `maxPixels` pixels. */
export async function* readPpmStream(
  chunks: AsyncIterable<Uint8Array>,
  maxPixels: number,
  where: string,
  signal?: AbortSignal,
): AsyncGenerator<Planes> {
  let header = '';
  let size: { width: number; height: number } | undefined;
  let pixels = new Uint8Array(0);
  let filled = 0;
  for await (const chunk of chunks) {
    let at = 0;
    while (at < chunk.length) {
      if (size === undefined) {
        header += String.fromCharCode(chunk[at++]);
        const match = /^P6\s+(\d+)\s+(\d+)\s+255\s$/.exec(header);
        if (match === null) {
          if (header.length <= MAX_HEADER) continue;
          throw new ImageError({
            what: 'no PPM picture',
            where,
            expected: 'P6 … 255',
            got: JSON.stringify(header),
          });
        }
        size = { width: Number(match[1]), height: Number(match[2]) };
        if (size.width * size.height > maxPixels) {
          throw new ImageError({
            what: 'video: too many pixels',
            where,
            expected: `at most ${maxPixels} pixels a frame`,
            got: `${size.width}×${size.height}`,
          });
        }
        pixels = new Uint8Array(size.width * size.height * 3);
        filled = 0;
      }
      const part = chunk.subarray(at, at + pixels.length - filled);
      pixels.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled === pixels.length) {
        yield await paced(planesOfInterleaved(pixels, size.height, size.width, 3), signal);
        size = undefined;
        header = '';
      }
    }
  }
  if (size === undefined && header === '') return;
  throw new ImageError({
    what: 'video breaks off within a frame',
    where,
    expected: `${pixels.length} bytes`,
    got: `${filled}`,
  });
}
