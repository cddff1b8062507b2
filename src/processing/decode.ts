/** Picture files to upright RGB pixels: what the reference's `load_image` does after it has read the bytes. */
import { checkSignal, ImageError, InputError } from '../errors.js';
import { applyOrientation, orientationOfExif, orientationOfXmp } from './exif.js';
import { detectFormat } from './formats.js';
import { decodeLibjpeg, libjpegAvailable } from './jpeg/libjpeg.js';
import { type JpegFile, readJpegFile, readJpegFrame } from './jpeg/markers.js';
import { decodeJpegScript } from './jpeg/script-decoder.js';
import { paced } from './paced.js';
import { type PngFile, readPngFile, readPngHeader } from './png/chunks.js';
import { inflateText } from './png/inflate.js';
import { decodePngPixels } from './png/pixels.js';
import type { Pixels } from './resample.js';

/** Pillow's own limit: larger pictures are refused there as decompression bombs. */
export const DEFAULT_MAX_PIXELS = 178_956_970;

export interface DecodeOptions {
  /** Pixels (width × height) that a file may claim; checked on the header before anything is decoded. */
  maxPixels?: number;
  /** For JPEG: `libjpeg` (default where WebAssembly may be compiled) or `script`; both give the same pixels. */
  decoder?: 'libjpeg' | 'script';
  /** `drop` (default) as the reference's `convert("RGB")`; `keep` gives RGBA for files with transparency. */
  alpha?: 'drop' | 'keep';
  /** Looked at before the decoding and at its pauses; libjpeg's part of a JPEG is one piece (45 ms a megapixel or so). */
  signal?: AbortSignal;
}

/** Interleaved 8-bit pixels, turned upright. */
export interface DecodedImage extends Pixels {
  data: Uint8Array;
  channels: 3 | 4;
  format: 'JPEG' | 'PNG';
  /** Pillow's mode of the opened file: L, RGB, CMYK, P, LA, RGBA, 1, I;16. */
  mode: string;
  /** The Exif orientation that was undone, 1 to 8 (1: none). */
  orientation: number;
  /** What made the pixels: `libjpeg`, `script-jpeg` or `script-png`. */
  decoder: string;
  /** The decoder's first complaint about data that it could decode nonetheless. */
  warning: string | undefined;
}

/**
 * Decodes a JPEG or PNG file. Throws ImageError, which names the format found and the byte, for anything else, for
 * damaged or truncated files and for pictures beyond `maxPixels`; the signal's reason when it is aborted.
 */
export async function decodeImage(bytes: Uint8Array, options: DecodeOptions = {}): Promise<DecodedImage> {
  if (!(bytes instanceof Uint8Array)) {
    throw new InputError({ what: 'not bytes', where: 'bytes', expected: 'a Uint8Array', got: typeof bytes });
  }
  checkSignal(options.signal);
  const format = detectFormat(bytes);
  if (format === 'JPEG') return decodeJpeg(bytes, options);
  if (format === 'PNG') return decodePng(bytes, options);
  const start = [...bytes.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  throw new ImageError({
    what: format === undefined ? 'not a picture' : `${format} pictures are not supported`,
    where: 'byte 0',
    expected: 'a JPEG or PNG signature',
    got: bytes.length === 0 ? 'an empty file' : `${format ?? 'an unknown format'} (${start})`,
  });
}

async function decodeJpeg(bytes: Uint8Array, options: DecodeOptions): Promise<DecodedImage> {
  const { width, height } = readJpegFrame(bytes);
  checkBudget('JPEG', width, height, options);
  const file = readJpegFile(bytes);
  const count = file.frame.components.length;
  const useScript = options.decoder === 'script' || needsScript(file) || !(await libjpegAvailable());
  const { signal } = options;
  const { data, warning } = useScript
    ? { data: await paced(decodeJpegScript(file), signal), warning: undefined }
    : await decodeLibjpeg(bytes, width, height, signal);
  const orientation =
    (file.exif && orientationOfExif(file.exif)) ?? (file.xmp && orientationOfXmp(file.xmp)) ?? 1;
  return upright({ data, width, height, channels: 3 }, orientation, signal, {
    format: 'JPEG',
    mode: count === 1 ? 'L' : count === 3 ? 'RGB' : 'CMYK',
    decoder: useScript ? 'script-jpeg' : 'libjpeg',
    warning,
  });
}

/**
 * What the wasm build of libjpeg does not do as Pillow's: four components (it has no conversion to RGB), and chroma
 * halved downwards only (4:4:0), which it repeats where newer ones filter.
 */
function needsScript({ frame: { components } }: JpegFile): boolean {
  const maxH = Math.max(...components.map(({ h }) => h));
  const maxV = Math.max(...components.map(({ v }) => v));
  return components.length === 4 || components.some(({ h, v }) => h === maxH && v * 2 === maxV);
}

async function decodePng(bytes: Uint8Array, options: DecodeOptions): Promise<DecodedImage> {
  const { width, height } = readPngHeader(bytes);
  checkBudget('PNG', width, height, options);
  const { signal } = options;
  const file = await paced(readPngFile(bytes), signal);
  if (file.data.length === 0) {
    throw new ImageError({
      what: 'PNG: no pixels',
      where: `byte ${bytes.length}`,
      expected: 'an IDAT chunk',
      got: 'none before the end',
    });
  }
  const { data, channels, mode } = await paced(decodePngPixels(file, options.alpha === 'keep'), signal);
  return upright({ data, width, height, channels }, orientationOfPng(file), signal, {
    format: 'PNG',
    mode,
    decoder: 'script-png',
    warning: undefined,
  });
}

async function upright(
  image: Pixels,
  orientation: number,
  signal: AbortSignal | undefined,
  rest: Pick<DecodedImage, 'format' | 'mode' | 'decoder' | 'warning'>,
): Promise<DecodedImage> {
  const turned = (await paced(applyOrientation(image, orientation), signal)) as Pick<
    DecodedImage,
    'data' | 'width' | 'height' | 'channels'
  >;
  return { ...turned, ...rest, orientation: orientation >= 2 && orientation <= 8 ? orientation : 1 };
}

function checkBudget(format: string, width: number, height: number, options: DecodeOptions): void {
  const limit = options.maxPixels ?? DEFAULT_MAX_PIXELS;
  if (width * height <= limit) return;
  throw new ImageError({
    what: `${format}: too many pixels`,
    where: 'header',
    expected: `at most ${limit} pixels`,
    got: `${width}×${height} = ${width * height}`,
  });
}

const MAX_TEXT = 1 << 20;
const latin1 = new TextDecoder('latin1');

/** eXIf, then ImageMagick's "Raw profile type exif" text, then XMP: the order in which Pillow asks. */
function orientationOfPng({ exif, texts }: PngFile): number {
  let raw: number | undefined;
  let xmp: number | undefined;
  for (const { type, bytes } of texts) {
    const zero = bytes.indexOf(0);
    if (zero < 0) continue;
    const keyword = latin1.decode(bytes.subarray(0, zero));
    if (keyword === 'Raw profile type exif' && type !== 'iTXt') {
      const body =
        type === 'tEXt' ? bytes.subarray(zero + 1) : inflateText(bytes.subarray(zero + 2), MAX_TEXT);
      if (body) raw ??= orientationOfExif(hexProfile(latin1.decode(body)));
    } else if (keyword === 'XML:com.adobe.xmp' && type === 'iTXt') {
      // Keyword, compression flag and method, language, translated keyword, text.
      const language = bytes.indexOf(0, zero + 3);
      const translated = bytes.indexOf(0, language + 1);
      if (language < 0 || translated < 0) continue;
      const body = bytes.subarray(translated + 1);
      const text = bytes[zero + 1] === 1 ? inflateText(body, MAX_TEXT) : body;
      if (text) xmp ??= orientationOfXmp(text);
    }
  }
  return (exif && orientationOfExif(exif)) ?? raw ?? xmp ?? 1;
}

/** A line break, the profile's name, its length, then hexadecimal lines. */
function hexProfile(text: string): Uint8Array {
  const digits = text.split('\n').slice(3).join('');
  return Uint8Array.from(digits.match(/[0-9a-fA-F]{2}/g) ?? [], (pair) => Number.parseInt(pair, 16));
}
