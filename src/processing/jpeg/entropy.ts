/**
 * Huffman-coded scans, sequential and progressive (ITU-T T.81, annexes F and G), into coefficient blocks. Damaged data
 * decodes to something, as in libjpeg: after a marker the reader yields zero bits, so no input can make it hang.
 */
import { damaged } from './markers.js';

/** Code lookup by length: `lookup[first 9 bits] = length << 8 | symbol`, longer codes through the limits. */
export interface HuffmanTable {
  lookup: Uint16Array;
  limits: Int32Array;
  offsets: Int32Array;
  symbols: Uint8Array;
}

const LOOKUP_BITS = 9;

export function huffmanTable(counts: Uint8Array, symbols: Uint8Array, offset: number): HuffmanTable {
  const lookup = new Uint16Array(1 << LOOKUP_BITS);
  const limits = new Int32Array(18).fill(-1);
  const offsets = new Int32Array(18);
  let code = 0;
  let index = 0;
  for (let length = 1; length <= 16; length++, code <<= 1) {
    offsets[length] = index - code;
    for (let i = 0; i < counts[length - 1]; i++, code++, index++) {
      if (code >= 1 << length) {
        throw damaged('Huffman table', offset, 'a prefix code', `too many codes of ${length} bits`);
      }
      if (length > LOOKUP_BITS) continue;
      const spare = LOOKUP_BITS - length;
      lookup.fill((length << 8) | symbols[index], code << spare, (code + 1) << spare);
    }
    limits[length] = counts[length - 1] > 0 ? code - 1 : -1;
  }
  return { lookup, limits, offsets, symbols };
}

export class BitReader {
  private bits = 0;
  private count = 0;
  constructor(
    private readonly bytes: Uint8Array,
    private at: number,
  ) {}

  private fill(): void {
    while (this.count <= 16) {
      let byte = this.bytes[this.at] ?? 0xff;
      if (byte !== 0xff) this.at++;
      else if (this.bytes[this.at + 1] === 0) this.at += 2;
      else byte = 0; // A marker or the end: zeros from here on.
      this.bits = ((this.bits << 8) | byte) & 0xffffff;
      this.count += 8;
    }
  }

  /** `length` bits, 0 to 16, as an unsigned number. */
  read(length: number): number {
    if (length === 0) return 0;
    if (this.count < length) this.fill();
    this.count -= length;
    return (this.bits >> this.count) & ((1 << length) - 1);
  }

  symbol(table: HuffmanTable): number {
    if (this.count < 16) this.fill();
    const entry = table.lookup[(this.bits >> (this.count - LOOKUP_BITS)) & ((1 << LOOKUP_BITS) - 1)];
    if (entry !== 0) {
      this.count -= entry >> 8;
      return entry & 0xff;
    }
    for (let length = LOOKUP_BITS + 1; length <= 16; length++) {
      const code = (this.bits >> (this.count - length)) & ((1 << length) - 1);
      if (code <= table.limits[length]) {
        this.count -= length;
        return table.symbols[(table.offsets[length] + code) & 0xff];
      }
    }
    this.count -= 16;
    return 0;
  }

  /** A signed value of `length` bits in JPEG's own coding. */
  signed(length: number): number {
    const value = this.read(length);
    return length > 0 && value < 1 << (length - 1) ? value - (1 << length) + 1 : value;
  }

  /** Skips to just after the next restart marker, if that is what comes next. */
  restart(): void {
    this.bits = this.count = 0;
    const { bytes } = this;
    let at = bytes.indexOf(0xff, this.at);
    while (at >= 0 && (bytes[at + 1] === 0 || bytes[at + 1] === 0xff)) at = bytes.indexOf(0xff, at + 1);
    if (at >= 0 && bytes[at + 1] >= 0xd0 && bytes[at + 1] <= 0xd7) this.at = at + 2;
  }
}

/** From zigzag to natural order; 16 entries more, for runs that lead beyond the block. */
const NATURAL = new Uint8Array(80).fill(63);
for (let at = 0, x = 0, y = 0; at < 64; at++) {
  NATURAL[at] = y * 8 + x;
  const up = (x + y) % 2 === 0;
  if (up && x === 7) y++;
  else if (up && y === 0) x++;
  else if (!up && y === 7) x++;
  else if (!up && x === 0) y++;
  else {
    x += up ? 1 : -1;
    y += up ? -1 : 1;
  }
}

export { NATURAL };

/** One scan's parameters and running state. */
export interface ScanState {
  reader: BitReader;
  progressive: boolean;
  spectralStart: number;
  spectralEnd: number;
  high: number;
  low: number;
  endOfBandRun: number;
}

export interface ScanComponent {
  dc: HuffmanTable | undefined;
  ac: HuffmanTable | undefined;
  predictor: number;
}

/** Decodes one block of a scan into `blocks[at … at+64)`. */
export function decodeBlock(scan: ScanState, component: ScanComponent, blocks: Int16Array, at: number): void {
  if (!scan.progressive) {
    sequential(scan, component, blocks, at);
  } else if (scan.spectralStart === 0) {
    if (scan.high > 0) blocks[at] |= scan.reader.read(1) << scan.low;
    else blocks[at] = dcDifference(scan, component) << scan.low;
  } else if (scan.high === 0) {
    acFirst(scan, component, blocks, at);
  } else {
    acRefine(scan, component, blocks, at);
  }
}

function dcDifference({ reader }: ScanState, component: ScanComponent): number {
  const length = reader.symbol(component.dc!) & 15;
  component.predictor += reader.signed(length);
  return component.predictor;
}

function sequential(scan: ScanState, component: ScanComponent, blocks: Int16Array, at: number): void {
  const { reader } = scan;
  blocks[at] = dcDifference(scan, component);
  for (let k = 1; k < 64; k++) {
    const symbol = reader.symbol(component.ac!);
    const size = symbol & 15;
    k += symbol >> 4;
    if (size > 0) blocks[at + NATURAL[k]] = reader.signed(size);
    else if (symbol >> 4 !== 15) return;
  }
}

function acFirst(scan: ScanState, component: ScanComponent, blocks: Int16Array, at: number): void {
  if (scan.endOfBandRun > 0) {
    scan.endOfBandRun--;
    return;
  }
  const { reader } = scan;
  for (let k = scan.spectralStart; k <= scan.spectralEnd; k++) {
    const symbol = reader.symbol(component.ac!);
    const run = symbol >> 4;
    const size = symbol & 15;
    k += run;
    if (size > 0) {
      blocks[at + NATURAL[k]] = reader.signed(size) << scan.low;
    } else if (run !== 15) {
      scan.endOfBandRun = (1 << run) - 1 + reader.read(run);
      return;
    }
  }
}

function acRefine(scan: ScanState, component: ScanComponent, blocks: Int16Array, at: number): void {
  const { reader } = scan;
  const bit = 1 << scan.low;
  let k = scan.spectralStart;
  if (scan.endOfBandRun === 0) {
    for (; k <= scan.spectralEnd; k++) {
      const symbol = reader.symbol(component.ac!);
      let run = symbol >> 4;
      let value = 0;
      if ((symbol & 15) > 0) {
        value = reader.read(1) === 1 ? bit : -bit;
      } else if (run !== 15) {
        scan.endOfBandRun = (1 << run) + reader.read(run);
        break;
      }
      // Over `run` coefficients that are still zero; those that are not get their correction bit on the way.
      for (; k <= scan.spectralEnd; k++) {
        const index = at + NATURAL[k];
        if (blocks[index] !== 0) correct(reader, blocks, index, bit);
        else if (--run < 0) break;
      }
      if (value !== 0 && k <= scan.spectralEnd) blocks[at + NATURAL[k]] = value;
    }
  }
  if (scan.endOfBandRun > 0) {
    for (; k <= scan.spectralEnd; k++) {
      const index = at + NATURAL[k];
      if (blocks[index] !== 0) correct(reader, blocks, index, bit);
    }
    scan.endOfBandRun--;
  }
}

function correct(reader: BitReader, blocks: Int16Array, index: number, bit: number): void {
  if (reader.read(1) === 0 || (blocks[index] & bit) !== 0) return;
  blocks[index] += blocks[index] > 0 ? bit : -bit;
}
