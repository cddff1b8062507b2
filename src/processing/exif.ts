/** The orientation of a picture (Exif tag 0x0112) and turning pixels by it: `PIL.ImageOps.exif_transpose`. */
import { byRows, type Steps } from './paced.js';
import type { Pixels } from './resample.js';

const ORIENTATION = 0x0112;
/** Integer types of TIFF by number: bytes each, and whether signed. */
const TYPES: Record<number, { size: 1 | 2 | 4; signed: boolean }> = {
  1: { size: 1, signed: false },
  3: { size: 2, signed: false },
  4: { size: 4, signed: false },
  6: { size: 1, signed: true },
  8: { size: 2, signed: true },
  9: { size: 4, signed: true },
};

/** The orientation 1…8 in a TIFF structure; undefined if there is none or the structure is damaged. */
export function orientationOfExif(tiff: Uint8Array): number | undefined {
  // Some writers repeat the signature of the JPEG segment inside a PNG chunk.
  if (tiff.length > 6 && String.fromCharCode(...tiff.subarray(0, 6)) === 'Exif\0\0') tiff = tiff.subarray(6);
  if (tiff.length < 8) return undefined;
  const view = new DataView(tiff.buffer, tiff.byteOffset, tiff.byteLength);
  const order = view.getUint16(0);
  const little = order === 0x4949;
  if ((!little && order !== 0x4d4d) || view.getUint16(2, little) !== 42) return undefined;
  const directory = view.getUint32(4, little);
  if (directory + 2 > tiff.length) return undefined;
  const entries = view.getUint16(directory, little);
  for (let i = 0; i < entries; i++) {
    const at = directory + 2 + i * 12;
    if (at + 12 > tiff.length) return undefined;
    if (view.getUint16(at, little) !== ORIENTATION) continue;
    const type = TYPES[view.getUint16(at + 2, little)];
    if (type === undefined || view.getUint32(at + 4, little) !== 1) return undefined;
    const method = `get${type.signed ? 'Int' : 'Uint'}${type.size * 8}` as 'getUint16';
    return view[method](at + 8, little);
  }
  return undefined;
}

/** The orientation in an XMP packet, which Pillow reads when Exif has none. */
export function orientationOfXmp(packet: Uint8Array): number | undefined {
  const match = /tiff:Orientation(?:="|>)([0-9])/.exec(new TextDecoder('latin1').decode(packet));
  return match === null ? undefined : Number(match[1]);
}

/** The upright picture. 2 mirrored, 3 half turn, 4 flipped, 5 transposed, 6 to be turned right, 7 transversed, 8 left. */
export function* applyOrientation(image: Pixels, orientation: number): Steps<Pixels> {
  if (!(orientation >= 2 && orientation <= 8)) return image;
  const { data, width, height, channels } = image;
  const swapped = orientation >= 5;
  const outWidth = swapped ? height : width;
  const outHeight = swapped ? width : height;
  // Which source edges the output's top-left corner lies at: right for 2, 3, 7, 8, bottom for 3, 4, 6, 7.
  const right = [2, 3, 7, 8].includes(orientation);
  const bottom = [3, 4, 6, 7].includes(orientation);
  const stepX = (right ? -1 : 1) * channels;
  const stepY = (bottom ? -1 : 1) * width * channels;
  const origin = ((bottom ? height - 1 : 0) * width + (right ? width - 1 : 0)) * channels;
  const alongX = swapped ? stepY : stepX;
  const alongY = swapped ? stepX : stepY;
  const out = new Uint8Array(data.length);
  yield* byRows(outHeight, outWidth * channels, (first, end) => {
    let to = first * outWidth * channels;
    for (let y = first; y < end; y++) {
      for (let x = 0, from = origin + y * alongY; x < outWidth; x++, from += alongX) {
        for (let c = 0; c < channels; c++) out[to++] = data[from + c];
      }
    }
  });
  return { data: out, width: outWidth, height: outHeight, channels };
}
