/** The chunks of a PNG file: header, palette, transparency, where the compressed pixels lie, orientation. */
import { ImageError } from '../../errors.js';
import { byRows, type Steps } from '../paced.js';

export interface PngHeader {
  width: number;
  height: number;
  depth: number;
  /** 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha. */
  colorType: number;
  interlaced: boolean;
}

export interface PngFile {
  header: PngHeader;
  palette: Uint8Array | undefined;
  /** The tRNS chunk: alpha per palette entry, or one colour of 16-bit samples that is transparent. */
  transparency: Uint8Array | undefined;
  /** The IDAT chunks' contents, in order, with each one's offset in the file. */
  data: { offset: number; bytes: Uint8Array }[];
  /** TIFF structure of the eXIf chunk. */
  exif: Uint8Array | undefined;
  /** Contents of tEXt, zTXt and iTXt chunks, not yet unpacked. */
  texts: { type: string; bytes: Uint8Array }[];
  end: number;
}

const DEPTHS: Record<number, number[]> = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16],
};

/** Reads the header alone (the first 33 bytes). */
export function readPngHeader(bytes: Uint8Array): PngHeader {
  if (bytes.length < 33) throw damaged('truncated file', bytes.length, 'a header of 33 bytes', 'end of file');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const type = typeAt(bytes, 12);
  if (view.getUint32(8) !== 13 || type !== 'IHDR') {
    throw damaged('first chunk', 8, 'IHDR of 13 bytes', `${JSON.stringify(type)} of ${view.getUint32(8)}`);
  }
  const header = {
    width: view.getUint32(16),
    height: view.getUint32(20),
    depth: bytes[24],
    colorType: bytes[25],
    interlaced: bytes[28] === 1,
  };
  if (header.width === 0 || header.height === 0) {
    throw damaged('empty picture', 16, 'a size of at least 1×1', `${header.width}×${header.height}`);
  }
  if (!DEPTHS[header.colorType]?.includes(header.depth)) {
    throw damaged(
      'pixel format',
      24,
      'a depth and colour type of the standard',
      `${header.depth} and ${header.colorType}`,
    );
  }
  if (bytes[26] !== 0 || bytes[27] !== 0 || bytes[28] > 1) {
    throw damaged(
      'methods',
      26,
      'compression 0, filter 0, interlace 0 or 1',
      bytes.subarray(26, 29).join(' '),
    );
  }
  return header;
}

/** Walks all chunks up to IEND or the end of the file. A chunk with a wrong checksum is an ImageError. */
export function* readPngFile(bytes: Uint8Array): Steps<PngFile> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const file: PngFile = {
    header: readPngHeader(bytes),
    palette: undefined,
    transparency: undefined,
    data: [],
    exif: undefined,
    texts: [],
    end: bytes.length,
  };
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const type = typeAt(bytes, at + 4);
    if (at + 12 + length > bytes.length) {
      // What there is of the pixels may still be all of them; the pixel decoder says so if not.
      if (type === 'IDAT') file.data.push({ offset: at + 8, bytes: bytes.subarray(at + 8) });
      break;
    }
    const content = bytes.subarray(at + 8, at + 8 + length);
    const wanted = view.getUint32(at + 8 + length);
    const sum = yield* crc32(bytes.subarray(at + 4, at + 8 + length));
    if (sum !== wanted) throw damaged(`checksum of ${JSON.stringify(type)}`, at, hex(wanted), hex(sum));
    if (type === 'PLTE') file.palette ??= content;
    else if (type === 'tRNS') file.transparency ??= content;
    else if (type === 'IDAT') file.data.push({ offset: at + 8, bytes: content });
    else if (type === 'eXIf') file.exif ??= content;
    else if (type === 'tEXt' || type === 'zTXt' || type === 'iTXt') file.texts.push({ type, bytes: content });
    else if (type === 'IEND') break;
    at += 12 + length;
  }
  return file;
}

export function damaged(
  what: string,
  offset: number,
  expected: string,
  got: string,
  cause?: unknown,
): ImageError {
  return new ImageError({ what: `PNG: ${what}`, where: `byte ${offset}`, expected, got, cause });
}

function typeAt(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + 4));
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}

const CRC_TABLE = new Uint32Array(256);
for (let n = 0; n < 256; n++) {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  CRC_TABLE[n] = c;
}

function* crc32(bytes: Uint8Array): Steps<number> {
  let c = 0xffffffff;
  yield* byRows(bytes.length, 1, (from, to) => {
    c = addToCrc(c, bytes, from, to);
  });
  return (c ^ 0xffffffff) >>> 0;
}

function addToCrc(c: number, bytes: Uint8Array, from: number, to: number): number {
  for (let i = from; i < to; i++) c = CRC_TABLE[(c ^ bytes[i]) & 0xff] ^ (c >>> 8);
  return c;
}
