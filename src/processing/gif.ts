/** Animated GIF: its frames composed on white, one after the other, and their times. */
import { ImageError } from '../errors.js';
import { gifPixels } from './gif-lzw.js';
import { byRows, type Steps } from './paced.js';

export interface GifFrame {
  left: number;
  top: number;
  width: number;
  height: number;
  interlaced: boolean;
  /** RGB triples. */
  palette: Uint8Array;
  /** Palette index that leaves the canvas as it is. */
  transparent: number | undefined;
  /** What happens to the frame's area before the next one: 2 it is cleared, 3 what was there before comes back. */
  disposal: number;
  /** Seconds for which the frame is shown. */
  delay: number;
  minCodeSize: number;
  /** LZW data, in sub-blocks. */
  blocks: Uint8Array[];
}

export interface GifFile {
  width: number;
  height: number;
  frames: GifFrame[];
}

/** Delays of 0 or 1 hundredths are shown for a tenth of a second, as browsers and ffmpeg do. */
const SHORTEST_DELAY = 2;
const DEFAULT_DELAY = 10;
const MAX_FRAMES = 100_000;

/**
 * The frames' places, palettes and times; nothing is decompressed. A file that breaks off keeps its whole frames. Throws
 * ImageError, naming the byte, for anything that is no GIF, has no frame or more than `maxPixels` pixels.
 */
export function readGif(bytes: Uint8Array, maxPixels: number): GifFile {
  const signature = String.fromCharCode(...bytes.subarray(0, 6));
  if (signature !== 'GIF87a' && signature !== 'GIF89a') {
    throw damaged(0, 'GIF87a or GIF89a', JSON.stringify(signature));
  }
  if (bytes.length < 13) throw damaged(bytes.length, 'a header of 13 bytes', `${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const width = view.getUint16(6, true);
  const height = view.getUint16(8, true);
  if (width === 0 || height === 0) throw damaged(6, 'a size', `${width}×${height}`);
  if (width * height > maxPixels) {
    throw new ImageError({
      what: 'GIF: too many pixels',
      where: 'header',
      expected: `at most ${maxPixels} pixels`,
      got: `${width}×${height} = ${width * height}`,
    });
  }
  let at = 13;
  const readPalette = (flags: number): Uint8Array | undefined => {
    if ((flags & 0x80) === 0) return undefined;
    const length = 3 << ((flags & 7) + 1);
    const palette = bytes.subarray(at, at + length);
    at += length;
    return palette;
  };
  const readBlocks = (): Uint8Array[] | undefined => {
    const blocks: Uint8Array[] = [];
    while (at < bytes.length) {
      const length = bytes[at];
      if (length === 0) {
        at++;
        return blocks;
      }
      if (at + 1 + length > bytes.length) break;
      blocks.push(bytes.subarray(at + 1, at + 1 + length));
      at += 1 + length;
    }
    return undefined;
  };
  const globalPalette = readPalette(bytes[10]);
  const frames: GifFrame[] = [];
  let control = { disposal: 0, delay: DEFAULT_DELAY, transparent: undefined as number | undefined };
  while (at < bytes.length && bytes[at] !== 0x3b && frames.length < MAX_FRAMES) {
    if (bytes[at] === 0x21) {
      const label = bytes[at + 1];
      at += 2;
      const blocks = readBlocks();
      if (blocks === undefined) break;
      if (label === 0xf9 && blocks[0]?.length >= 4) {
        const [flags, low, high, index] = blocks[0];
        control = {
          disposal: (flags >> 2) & 7,
          delay: low | (high << 8),
          transparent: flags & 1 ? index : undefined,
        };
        if (control.delay < SHORTEST_DELAY) control.delay = DEFAULT_DELAY;
      }
    } else if (bytes[at] === 0x2c && at + 10 <= bytes.length) {
      const [left, top, w, h] = [1, 3, 5, 7].map((offset) => view.getUint16(at + offset, true));
      const flags = bytes[at + 9];
      at += 10;
      const palette = readPalette(flags) ?? globalPalette;
      const minCodeSize = bytes[at++];
      const blocks = readBlocks();
      if (blocks === undefined) break;
      if (palette === undefined) throw damaged(at, 'a palette', 'none');
      if (!(minCodeSize >= 1 && minCodeSize <= 11))
        throw damaged(at, 'a code size from 1 to 11', `${minCodeSize}`);
      const { disposal, transparent, delay } = control;
      const area = { left, top, width: w, height: h, interlaced: (flags & 0x40) !== 0 };
      frames.push({ ...area, palette, transparent, disposal, delay: delay / 100, minCodeSize, blocks });
      control = { disposal: 0, delay: DEFAULT_DELAY, transparent: undefined };
    } else {
      break;
    }
  }
  if (frames.length === 0) throw damaged(at, 'a frame', at >= bytes.length ? 'the end' : `byte ${bytes[at]}`);
  return { width, height, frames };
}

/** The composed pictures, RGB on white, in rising order. Frames build on each other: those between are decompressed too. */
export class GifComposer {
  readonly #file: GifFile;
  readonly #canvas: Uint8Array;
  #next = 0;

  constructor(file: GifFile) {
    this.#file = file;
    this.#canvas = new Uint8Array(file.width * file.height * 3).fill(255);
  }

  /** A copy of the picture at `index`, which comes after those that were asked for before. */
  *frame(index: number): Steps<Uint8Array> {
    const { width, height, frames } = this.#file;
    const canvas = this.#canvas;
    for (;;) {
      const at = this.#next++;
      const frame = frames[at];
      const before = frame.disposal === 3 ? canvas.slice() : undefined;
      yield* paint(canvas, width, height, frame, at);
      const picture = at === index ? canvas.slice() : undefined;
      if (before) canvas.set(before);
      else if (frame.disposal === 2) clear(canvas, width, height, frame);
      if (picture) return picture;
    }
  }
}

function* paint(
  canvas: Uint8Array,
  width: number,
  height: number,
  frame: GifFrame,
  index: number,
): Steps<void> {
  const pixels = gifPixels(frame, `frame ${index}`);
  yield;
  const rows = rowOrder(frame);
  yield* byRows(frame.height, 3 * frame.width, (first, end) => {
    paintRows(canvas, width, height, frame, pixels, rows, first, end);
  });
}

function paintRows(
  canvas: Uint8Array,
  width: number,
  height: number,
  frame: GifFrame,
  pixels: Uint8Array,
  rows: (row: number) => number,
  first: number,
  end: number,
): void {
  const { palette, transparent } = frame;
  const right = Math.min(frame.width, width - frame.left);
  for (let row = first; row < end; row++) {
    const y = frame.top + rows(row);
    if (y >= height) continue;
    let from = row * frame.width;
    let to = (y * width + frame.left) * 3;
    for (let x = 0; x < right; x++, from++, to += 3) {
      const color = pixels[from];
      if (color === transparent) continue;
      // Beyond the palette lies black.
      canvas[to] = palette[color * 3] ?? 0;
      canvas[to + 1] = palette[color * 3 + 1] ?? 0;
      canvas[to + 2] = palette[color * 3 + 2] ?? 0;
    }
  }
}

/** Interlaced frames hold every 8th row, every 8th from 4, every 4th from 2, every 2nd from 1. */
function rowOrder({ height, interlaced }: GifFrame): (row: number) => number {
  if (!interlaced) return (row) => row;
  const order: number[] = [];
  for (const [start, step] of [
    [0, 8],
    [4, 8],
    [2, 4],
    [1, 2],
  ]) {
    for (let y = start; y < height; y += step) order.push(y);
  }
  return (row) => order[row];
}

function clear(canvas: Uint8Array, width: number, height: number, { left, top, ...frame }: GifFrame): void {
  const right = Math.min(left + frame.width, width);
  for (let y = top; y < Math.min(top + frame.height, height); y++) {
    if (right > left) canvas.fill(255, (y * width + left) * 3, (y * width + right) * 3);
  }
}

function damaged(byte: number, expected: string, got: string): ImageError {
  return new ImageError({ what: 'GIF: damaged', where: `byte ${byte}`, expected, got });
}
