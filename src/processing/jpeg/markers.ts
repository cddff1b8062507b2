/**
 * The marker segments of a JPEG file (ITU-T T.81, annex B): sizes, component layout, tables, Exif and where each scan's
 * entropy-coded data lies. Nothing is decoded here; a file that ends before its end-of-image marker is refused.
 */
import { ImageError } from '../../errors.js';

export interface JpegComponent {
  id: number;
  /** Sampling factors, 1 to 4. */
  h: number;
  v: number;
  quantisation: number;
}

export interface JpegFrame {
  /** Offset of the frame header, for messages. */
  offset: number;
  /** The SOF marker's low nibble: 0 and 1 sequential, 2 progressive, others arithmetic, lossless or hierarchical. */
  kind: number;
  precision: number;
  width: number;
  height: number;
  components: JpegComponent[];
}

export interface JpegSegment {
  marker: number;
  /** First byte after the length field. */
  start: number;
  end: number;
}

export interface JpegFile {
  bytes: Uint8Array;
  frame: JpegFrame;
  segments: JpegSegment[];
  /** The colour transform that an Adobe APP14 segment names: 0 none, 1 YCbCr, 2 YCCK; undefined without one. */
  adobeTransform: number | undefined;
  /** Has a JFIF APP0 segment. */
  jfif: boolean;
  /** TIFF structure of the Exif APP1 segment. */
  exif: Uint8Array | undefined;
  /** XMP packet of an APP1 segment. */
  xmp: Uint8Array | undefined;
}

export const MARKER = {
  SOI: 0xd8,
  EOI: 0xd9,
  SOS: 0xda,
  DHT: 0xc4,
  DQT: 0xdb,
  DRI: 0xdd,
  APP0: 0xe0,
  APP1: 0xe1,
};
const APP14 = 0xee;

/** Reads up to and with the frame header: enough for the size, cheap on any file. */
export function readJpegFrame(bytes: Uint8Array): JpegFrame {
  for (const segment of segmentsOf(bytes)) {
    if (isFrame(segment.marker)) return parseFrame(bytes, segment);
  }
  throw damaged('no frame header', bytes.length, 'an SOF marker', 'none before the end');
}

/** Walks the whole file. Throws ImageError with the byte offset where it is malformed or ends too early. */
export function readJpegFile(bytes: Uint8Array): JpegFile {
  const segments = [...segmentsOf(bytes)];
  const frames = segments.filter(({ marker }) => isFrame(marker));
  if (frames.length !== 1) {
    throw damaged('not exactly one frame', frames[1]?.start ?? bytes.length, '1', String(frames.length));
  }
  if (!segments.some(({ marker }) => marker === MARKER.SOS)) {
    throw damaged('no scan', bytes.length, 'an SOS marker', 'none before the end of image');
  }
  const frame = parseFrame(bytes, frames[0]);
  checkPlausible(bytes, frame);
  const payload = (marker: number, signature: string) =>
    segments
      .filter((segment) => segment.marker === marker && startsWith(bytes, segment, signature))
      .map(({ start, end }) => bytes.subarray(start + signature.length, end))[0];
  const adobe = payload(APP14, 'Adobe');
  return {
    bytes,
    frame,
    segments,
    adobeTransform: adobe !== undefined && adobe.length >= 7 ? adobe[6] : undefined,
    jfif: payload(MARKER.APP0, 'JFIF\0') !== undefined,
    exif: payload(MARKER.APP1, 'Exif\0\0'),
    xmp: payload(MARKER.APP1, 'http://ns.adobe.com/xap/1.0/\0'),
  };
}

/** A Huffman code has at least one bit: a file too short for the blocks it claims is refused before memory is taken. */
function checkPlausible(bytes: Uint8Array, { kind, width, height, components }: JpegFrame): void {
  if (kind > 2) return;
  const maxH = Math.max(...components.map(({ h }) => h));
  const maxV = Math.max(...components.map(({ v }) => v));
  const blocks = components.reduce(
    (sum, { h, v }) => sum + Math.ceil((width * h) / (8 * maxH)) * Math.ceil((height * v) / (8 * maxV)),
    0,
  );
  if (bytes.length * 8 >= blocks) return;
  const least = Math.ceil(blocks / 8);
  throw damaged(
    'truncated file',
    bytes.length,
    `at least ${least} bytes for ${width}×${height}`,
    String(bytes.length),
  );
}

function* segmentsOf(bytes: Uint8Array): Generator<JpegSegment> {
  let at = 2;
  for (;;) {
    at = nextMarker(bytes, at);
    const marker = bytes[at - 1];
    if (marker === MARKER.EOI) return;
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) continue;
    if (at + 2 > bytes.length) throw truncated(bytes);
    const length = (bytes[at] << 8) | bytes[at + 1];
    if (length < 2) throw damaged('segment too short', at, 'a length of at least 2', String(length));
    if (at + length > bytes.length) throw truncated(bytes);
    yield { marker, start: at + 2, end: at + length };
    at += length;
    if (marker === MARKER.SOS) at = endOfScan(bytes, at);
  }
}

/** The offset just after the next marker's code, over fill bytes and (as libjpeg does) over stray ones. */
function nextMarker(bytes: Uint8Array, from: number): number {
  let at = bytes.indexOf(0xff, from);
  while (at >= 0) {
    while (bytes[at] === 0xff) at++;
    if (at >= bytes.length) break;
    if (bytes[at] !== 0) return at + 1;
    at = bytes.indexOf(0xff, at);
  }
  throw truncated(bytes);
}

/** The offset of the first marker after entropy-coded data (restart markers and stuffed zeros belong to the data). */
export function endOfScan(bytes: Uint8Array, from: number): number {
  let at = bytes.indexOf(0xff, from);
  while (at >= 0 && at + 1 < bytes.length) {
    const next = bytes[at + 1];
    if (next !== 0 && next !== 0xff && !(next >= 0xd0 && next <= 0xd7)) return at;
    at = bytes.indexOf(0xff, at + 1);
  }
  throw truncated(bytes);
}

function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== MARKER.DHT && marker !== 0xc8 && marker !== 0xcc;
}

function parseFrame(bytes: Uint8Array, { marker, start, end }: JpegSegment): JpegFrame {
  const count = bytes[start + 5];
  if (end - start < 6 || end - start !== 6 + 3 * count) {
    throw damaged('frame header of the wrong length', start, `${6 + 3 * count} bytes`, String(end - start));
  }
  const components: JpegComponent[] = [];
  for (let at = start + 6; at < end; at += 3) {
    const component = {
      id: bytes[at],
      h: bytes[at + 1] >> 4,
      v: bytes[at + 1] & 15,
      quantisation: bytes[at + 2],
    };
    if (component.h < 1 || component.h > 4 || component.v < 1 || component.v > 4) {
      throw damaged('sampling factor out of range', at + 1, '1 to 4', `${component.h}×${component.v}`);
    }
    components.push(component);
  }
  const frame = {
    offset: start,
    kind: marker & 15,
    precision: bytes[start],
    height: (bytes[start + 1] << 8) | bytes[start + 2],
    width: (bytes[start + 3] << 8) | bytes[start + 4],
    components,
  };
  if (frame.width === 0 || frame.height === 0) {
    throw damaged('empty picture', start + 1, 'a size of at least 1×1', `${frame.width}×${frame.height}`);
  }
  return frame;
}

function startsWith(bytes: Uint8Array, { start, end }: JpegSegment, signature: string): boolean {
  if (end - start < signature.length) return false;
  for (let i = 0; i < signature.length; i++) if (bytes[start + i] !== signature.charCodeAt(i)) return false;
  return true;
}

function truncated(bytes: Uint8Array): ImageError {
  return damaged('truncated file', bytes.length, 'an end-of-image marker', 'end of file');
}

export function damaged(what: string, offset: number, expected: string, got: string): ImageError {
  return new ImageError({ what: `JPEG: ${what}`, where: `byte ${offset}`, expected, got });
}
