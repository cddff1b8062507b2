/**
 * A JPEG decoder in TypeScript with libjpeg's pixels, bit for bit: for four-component files (CMYK, YCCK), which the wasm
 * decoder refuses to turn into RGB, and for runtimes that may not compile WebAssembly. Sequential and progressive
 * Huffman files of 8 bits.
 */
import { MemoryError } from '../../errors.js';
import { byRows, type Steps } from '../paced.js';
import { type ColorModel, rowToRgb } from './color.js';
import {
  BitReader,
  decodeBlock,
  type HuffmanTable,
  huffmanTable,
  NATURAL,
  type ScanComponent,
  type ScanState,
} from './entropy.js';
import { inverseDct } from './idct.js';
import { damaged, type JpegFile, type JpegSegment, MARKER } from './markers.js';
import { type Plane, upsampleRow } from './upsample.js';

/** Coefficients are held whole, two bytes each; files that need more than this are refused. */
const MAX_COEFFICIENT_BYTES = 2 ** 30;

interface Component extends ScanComponent {
  id: number;
  h: number;
  v: number;
  quantisation: number;
  /** Blocks across and down as stored (whole MCUs), and those that hold samples of the picture. */
  storedAcross: number;
  storedDown: number;
  realAcross: number;
  realDown: number;
  coefficients: Int16Array;
  /** Quantisation as it was when the component's first scan began. */
  table: Uint16Array | undefined;
}

interface Tables {
  quantisation: (Uint16Array | undefined)[];
  dc: (HuffmanTable | undefined)[];
  ac: (HuffmanTable | undefined)[];
  restartInterval: number;
}

/** RGB pixels of the file, three bytes each. Throws ImageError for kinds of JPEG that it does not know. */
export function* decodeJpegScript(file: JpegFile): Steps<Uint8Array> {
  const { frame } = file;
  if (frame.kind > 2 || frame.precision !== 8) {
    throw damaged(
      'unsupported kind',
      frame.offset,
      'SOF0, SOF1 or SOF2 of 8 bits',
      `SOF${frame.kind} of ${frame.precision} bits`,
    );
  }
  const model = colorModel(file);
  const components = layOut(file);
  const tables: Tables = { quantisation: [], dc: [], ac: [], restartInterval: 0 };
  for (const segment of file.segments) {
    if (segment.marker === MARKER.DQT) readQuantisation(file.bytes, segment, tables);
    else if (segment.marker === MARKER.DHT) readHuffman(file.bytes, segment, tables);
    else if (segment.marker === MARKER.DRI) tables.restartInterval = word(file.bytes, segment.start);
    else if (segment.marker === MARKER.SOS) yield* readScan(file, segment, components, tables);
  }
  return yield* render(file, model, components);
}

function colorModel({ frame, adobeTransform, jfif }: JpegFile): ColorModel {
  const ids = frame.components.map(({ id }) => id);
  switch (frame.components.length) {
    case 1:
      return 'grey';
    case 3:
      if (jfif) return 'ycc';
      if (adobeTransform !== undefined) return adobeTransform === 0 ? 'rgb' : 'ycc';
      return ids[0] === 0x52 && ids[1] === 0x47 && ids[2] === 0x42 ? 'rgb' : 'ycc';
    case 4:
      return adobeTransform === 2 ? 'ycck' : 'cmyk';
    default:
      throw damaged('number of components', frame.offset + 5, '1, 3 or 4', String(frame.components.length));
  }
}

function layOut({ frame }: JpegFile): Component[] {
  const { maxH, maxV } = largestFactors(frame.components);
  const across = Math.ceil(frame.width / (8 * maxH));
  const down = Math.ceil(frame.height / (8 * maxV));
  const blocks = frame.components.reduce((sum, { h, v }) => sum + across * h * down * v, 0);
  if (blocks * 128 > MAX_COEFFICIENT_BYTES) {
    throw new MemoryError({
      what: 'JPEG too large for the script decoder',
      where: `${frame.width}×${frame.height} pixels, ${frame.components.length} components`,
      expected: `at most ${MAX_COEFFICIENT_BYTES} bytes of coefficients`,
      got: String(blocks * 128),
    });
  }
  return frame.components.map((component) => ({
    ...component,
    storedAcross: across * component.h,
    storedDown: down * component.v,
    realAcross: Math.ceil(Math.ceil((frame.width * component.h) / maxH) / 8),
    realDown: Math.ceil(Math.ceil((frame.height * component.v) / maxV) / 8),
    coefficients: new Int16Array(across * component.h * down * component.v * 64),
    table: undefined,
    dc: undefined,
    ac: undefined,
    predictor: 0,
  }));
}

function largestFactors(components: { h: number; v: number }[]): { maxH: number; maxV: number } {
  return {
    maxH: Math.max(...components.map(({ h }) => h)),
    maxV: Math.max(...components.map(({ v }) => v)),
  };
}

function readQuantisation(bytes: Uint8Array, { start, end }: JpegSegment, tables: Tables): void {
  for (let at = start; at < end; ) {
    const wide = bytes[at] >> 4 !== 0;
    const table = new Uint16Array(64);
    if (at + 1 + (wide ? 128 : 64) > end) {
      throw damaged('quantisation table', at, `${wide ? 129 : 65} bytes`, String(end - at));
    }
    for (let k = 0; k < 64; k++) {
      table[NATURAL[k]] = wide ? word(bytes, at + 1 + 2 * k) : bytes[at + 1 + k];
    }
    tables.quantisation[bytes[at] & 15] = table;
    at += 1 + (wide ? 128 : 64);
  }
}

function readHuffman(bytes: Uint8Array, { start, end }: JpegSegment, tables: Tables): void {
  for (let at = start; at < end; ) {
    const counts = bytes.subarray(at + 1, at + 17);
    const total = counts.reduce((sum, count) => sum + count, 0);
    if (at + 17 + total > end || total > 256) {
      throw damaged('Huffman table', at, `at most ${Math.min(end - at - 17, 256)} symbols`, String(total));
    }
    const table = huffmanTable(counts, bytes.slice(at + 17, at + 17 + total), at);
    (bytes[at] >> 4 === 0 ? tables.dc : tables.ac)[bytes[at] & 15] = table;
    at += 17 + total;
  }
}

function* readScan(
  file: JpegFile,
  { start, end }: JpegSegment,
  all: Component[],
  tables: Tables,
): Steps<void> {
  const { bytes, frame } = file;
  const count = bytes[start];
  if (end - start !== 4 + 2 * count || count < 1 || count > 4) {
    throw damaged('scan header', start, `${4 + 2 * count} bytes`, String(end - start));
  }
  const scan: ScanState = {
    reader: new BitReader(bytes, end),
    progressive: frame.kind === 2,
    spectralStart: bytes[end - 3],
    spectralEnd: Math.min(bytes[end - 2], 63),
    high: bytes[end - 1] >> 4,
    low: bytes[end - 1] & 15,
    endOfBandRun: 0,
  };
  const components: Component[] = [];
  for (let at = start + 1; at < end - 3; at += 2) {
    const component = all.find(({ id }) => id === bytes[at]);
    if (component === undefined)
      throw damaged('scan header', at, 'a component of the frame', String(bytes[at]));
    component.dc = tables.dc[bytes[at + 1] >> 4];
    component.ac = tables.ac[bytes[at + 1] & 15];
    component.table ??= tables.quantisation[component.quantisation];
    const needsDc = !scan.progressive || (scan.spectralStart === 0 && scan.high === 0);
    const needsAc = !scan.progressive || scan.spectralStart > 0;
    if ((needsDc && !component.dc) || (needsAc && !component.ac)) {
      throw damaged('scan header', at + 1, 'a Huffman table that is defined', `table ${bytes[at + 1]}`);
    }
    components.push(component);
  }
  yield* decodeScan(scan, components, tables.restartInterval, file);
}

function* decodeScan(
  scan: ScanState,
  components: Component[],
  restartInterval: number,
  { frame }: JpegFile,
): Steps<void> {
  const { maxH, maxV } = largestFactors(frame.components);
  const [single] = components;
  const interleaved = components.length > 1;
  const across = interleaved ? Math.ceil(frame.width / (8 * maxH)) : single.realAcross;
  const down = interleaved ? Math.ceil(frame.height / (8 * maxV)) : single.realDown;
  for (const component of components) component.predictor = 0;
  const samples = interleaved ? components.reduce((sum, { h, v }) => sum + h * v * 64, 0) : 64;
  yield* byRows(across * down, samples, (from, to) => {
    decodeUnits(scan, components, restartInterval, across, from, to);
  });
}

/** Some of a scan's MCUs, or of a single component's blocks. */
function decodeUnits(
  scan: ScanState,
  components: Component[],
  restartInterval: number,
  across: number,
  from: number,
  to: number,
): void {
  const [single] = components;
  const interleaved = components.length > 1;
  for (let unit = from; unit < to; unit++) {
    if (restartInterval > 0 && unit > 0 && unit % restartInterval === 0) {
      scan.reader.restart();
      scan.endOfBandRun = 0;
      for (const component of components) component.predictor = 0;
    }
    const column = unit % across;
    const row = Math.floor(unit / across);
    if (!interleaved) {
      decodeBlock(scan, single, single.coefficients, (row * single.storedAcross + column) * 64);
      continue;
    }
    for (const component of components) {
      for (let i = 0; i < component.h * component.v; i++) {
        const y = row * component.v + Math.floor(i / component.h);
        const x = column * component.h + (i % component.h);
        decodeBlock(scan, component, component.coefficients, (y * component.storedAcross + x) * 64);
      }
    }
  }
}

function* render({ frame }: JpegFile, model: ColorModel, components: Component[]): Steps<Uint8Array> {
  const { width, height } = frame;
  const { maxH, maxV } = largestFactors(components);
  const planes: Plane[] = [];
  for (const component of components) {
    const { storedAcross, storedDown, coefficients, table } = component;
    if (table === undefined) {
      throw damaged('no quantisation table', frame.offset, `table ${component.quantisation}`, 'none');
    }
    const stride = storedAcross * 8;
    const samples = new Uint8Array(stride * storedDown * 8);
    yield* byRows(storedDown, 8 * stride, (from, to) => {
      for (let row = from; row < to; row++) {
        for (let column = 0; column < storedAcross; column++) {
          const block = (row * storedAcross + column) * 64;
          inverseDct(coefficients, block, table, samples, row * 8 * stride + column * 8, stride);
        }
      }
    });
    component.coefficients = new Int16Array(0);
    planes.push({
      samples,
      stride,
      width: Math.ceil((width * component.h) / maxH),
      height: Math.ceil((height * component.v) / maxV),
      scaleX: maxH / component.h,
      scaleY: maxV / component.v,
    });
  }
  const rows = planes.map((plane) => new Uint8Array(Math.ceil(plane.width * plane.scaleX)));
  const out = new Uint8Array(width * height * 3);
  yield* byRows(height, 3 * width, (from, to) => {
    for (let y = from; y < to; y++) {
      for (const [i, plane] of planes.entries()) upsampleRow(plane, y, rows[i]);
      rowToRgb(model, rows, width, out, y * width * 3);
    }
  });
  return out;
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}
