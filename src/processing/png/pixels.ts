/** From a PNG file's chunks to 8-bit pixels, with Pillow's meaning of every colour type and depth. */
import { byRows, type Steps } from '../paced.js';
import { damaged, type PngFile, type PngHeader } from './chunks.js';
import { inflateZlib } from './inflate.js';

export interface PngPixels {
  /** Interleaved RGB, or RGBA if `alpha` was asked for and the file has any transparency. */
  data: Uint8Array;
  channels: 3 | 4;
  /** Pillow's mode of the opened file. */
  mode: '1' | 'L' | 'I;16' | 'RGB' | 'P' | 'LA' | 'RGBA';
}

const SAMPLES: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

/** Adam7: where each pass begins and how far apart its pixels are. */
const PASSES = [
  { x: 0, y: 0, stepX: 8, stepY: 8 },
  { x: 4, y: 0, stepX: 8, stepY: 8 },
  { x: 0, y: 4, stepX: 4, stepY: 8 },
  { x: 2, y: 0, stepX: 4, stepY: 4 },
  { x: 0, y: 2, stepX: 2, stepY: 4 },
  { x: 1, y: 0, stepX: 2, stepY: 2 },
  { x: 0, y: 1, stepX: 1, stepY: 2 },
];
const WHOLE = [{ x: 0, y: 0, stepX: 1, stepY: 1 }];

export function* decodePngPixels(file: PngFile, keepAlpha: boolean): Steps<PngPixels> {
  const { header } = file;
  const { width, height, depth, colorType } = header;
  const bitsPerPixel = SAMPLES[colorType] * depth;
  const passes = (header.interlaced ? PASSES : WHOLE)
    .map((pass) => ({
      ...pass,
      width: Math.ceil((width - pass.x) / pass.stepX),
      height: Math.ceil((height - pass.y) / pass.stepY),
    }))
    .filter((pass) => pass.width > 0 && pass.height > 0)
    .map((pass) => ({ ...pass, line: Math.ceil((pass.width * bitsPerPixel) / 8) }));
  const size = passes.reduce((sum, pass) => sum + (pass.line + 1) * pass.height, 0);
  checkPlausible(file, size);
  const packed = new Uint8Array(size);
  yield* inflateZlib(file.data, packed);

  const writer = pixelWriter(file, keepAlpha);
  let at = 0;
  for (const pass of passes) {
    const { line } = pass;
    const start = at;
    const pixel = Math.max(1, bitsPerPixel >> 3);
    yield* byRows(pass.height, 2 * line, (first, end) => {
      for (let row = first; row < end; row++) {
        unfilter(packed, start, line, row, pixel, file.data[0].offset);
        const from = start + row * (line + 1) + 1;
        const to = (pass.y + row * pass.stepY) * width + pass.x;
        writer.row(packed.subarray(from, from + line), pass.width, to, pass.stepX);
      }
    });
    at += (line + 1) * pass.height;
  }
  return { data: writer.data, channels: writer.channels, mode: modeOf(header) };
}

/** Deflate packs at most 1032 to 1: a file that is too short for what its header claims costs no memory. */
function checkPlausible({ data }: PngFile, size: number): void {
  const stored = data.reduce((sum, { bytes }) => sum + bytes.length, 0);
  if (stored * 1032 >= size) return;
  const last = data[data.length - 1];
  const end = last.offset + last.bytes.length;
  throw damaged(
    'truncated pixels',
    end,
    `at least ${Math.ceil(size / 1032)} bytes of packed pixels`,
    String(stored),
  );
}

function modeOf({ colorType, depth }: PngHeader): PngPixels['mode'] {
  if (colorType === 0) return depth === 1 ? '1' : depth === 16 ? 'I;16' : 'L';
  if (colorType === 4) return depth === 16 ? 'RGBA' : 'LA';
  return colorType === 2 ? 'RGB' : colorType === 3 ? 'P' : 'RGBA';
}

/** Undoes a row's filter in place, after those of the rows above; each row is preceded by its filter's number. */
function unfilter(
  data: Uint8Array,
  start: number,
  line: number,
  row: number,
  pixel: number,
  fileOffset: number,
): void {
  const type = data[start + row * (line + 1)];
  const at = start + row * (line + 1) + 1;
  const above = row === 0 ? -1 : at - line - 1;
  if (type === 1) {
    for (let i = pixel; i < line; i++) data[at + i] += data[at + i - pixel];
  } else if (type === 2) {
    if (above >= 0) for (let i = 0; i < line; i++) data[at + i] += data[above + i];
  } else if (type === 3) {
    for (let i = 0; i < line; i++) {
      const left = i < pixel ? 0 : data[at + i - pixel];
      data[at + i] += (left + (above < 0 ? 0 : data[above + i])) >> 1;
    }
  } else if (type === 4) {
    for (let i = 0; i < line; i++) {
      const left = i < pixel ? 0 : data[at + i - pixel];
      const up = above < 0 ? 0 : data[above + i];
      const corner = i < pixel || above < 0 ? 0 : data[above + i - pixel];
      data[at + i] += paeth(left, up, corner);
    }
  } else if (type !== 0) {
    throw damaged(`filter of row ${row}`, fileOffset, '0 to 4', String(type));
  }
}

function paeth(left: number, up: number, corner: number): number {
  const toLeft = Math.abs(up - corner);
  const toUp = Math.abs(left - corner);
  const toCorner = Math.abs(left + up - 2 * corner);
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

interface PixelWriter {
  data: Uint8Array;
  channels: 3 | 4;
  /** Spreads a row of `count` packed pixels to output pixels to, to+step, to+2·step … */
  row(line: Uint8Array, count: number, to: number, step: number): void;
}

function pixelWriter({ header, palette, transparency }: PngFile, keepAlpha: boolean): PixelWriter {
  const { width, height, depth, colorType } = header;
  const transparent = colorType >= 4 || transparency !== undefined;
  const channels = keepAlpha && transparent ? 4 : 3;
  const data = new Uint8Array(width * height * channels);
  const samples = SAMPLES[colorType];
  const color = colorType === 2 || colorType === 6;
  const toGrey = greyTable(depth);
  const key = transparency !== undefined && colorType < 3 ? words(transparency) : undefined;
  const mask = (1 << depth) - 1;
  // The sample as stored, and its most significant byte: what Pillow keeps of 16 bits, grey without alpha excepted.
  const stored = (line: Uint8Array, i: number) => {
    if (depth === 8) return line[i];
    if (depth === 16) return (line[2 * i] << 8) | line[2 * i + 1];
    const bit = i * depth;
    return (line[bit >> 3] >> (8 - depth - (bit & 7))) & mask;
  };
  const high = depth === 16 ? (value: number) => value >> 8 : (value: number) => value;
  // The common case, without a call per sample.
  const plain = depth === 8 && color && key === undefined;
  const row = (line: Uint8Array, count: number, to: number, step: number) => {
    if (plain) {
      for (let x = 0, at = to * channels; x < count; x++, at += step * channels) {
        for (let c = 0; c < channels; c++) data[at + c] = line[x * samples + c];
      }
      return;
    }
    for (let x = 0, at = to * channels; x < count; x++, at += step * channels) {
      const first = stored(line, x * samples);
      let alpha = 255;
      if (colorType === 3) {
        for (let c = 0; c < 3; c++) data[at + c] = palette?.[first * 3 + c] ?? 0;
        alpha = transparency?.[first] ?? 255;
      } else if (color) {
        for (let c = 0; c < 3; c++) data[at + c] = high(stored(line, x * samples + c));
        if (key?.every((value, c) => value === stored(line, x * samples + c))) alpha = 0;
      } else {
        data[at] = data[at + 1] = data[at + 2] = colorType === 4 ? high(first) : toGrey(first);
        if (key && key[0] === first) alpha = 0;
      }
      if (colorType >= 4) alpha = high(stored(line, x * samples + samples - 1));
      if (channels === 4) data[at + 3] = alpha;
    }
  };
  return { data, channels, row };
}

/** Grey of 1, 2 and 4 bits is spread over 0…255; of 16 bits Pillow makes mode I;16, whose conversion clips at 255. */
function greyTable(depth: number): (value: number) => number {
  if (depth === 16) return (value) => Math.min(value, 255);
  const factor = 255 / ((1 << depth) - 1);
  return (value) => value * factor;
}

function words(bytes: Uint8Array): number[] {
  return Array.from({ length: bytes.length >> 1 }, (_, i) => (bytes[2 * i] << 8) | bytes[2 * i + 1]);
}
