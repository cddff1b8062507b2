/**
 * Pillow 13's 8-bit `Image.resize`, bit for bit: a horizontal and a vertical pass, each left out when its size does not
 * change; weights in float64, rounded to 22 fractional bits; the picture between the passes has 8 bits again, so their
 * order shows in the result.
 */
import { ConfigError } from '../errors.js';
import { byRows, runSync, type Steps } from './paced.js';
import { cosine, sine } from './sine.js';

/** `PIL.Image.Resampling`: the number is what preprocessor_config.json's `resample` holds. */
export const RESAMPLING = { nearest: 0, lanczos: 1, bilinear: 2, bicubic: 3, box: 4, hamming: 5 } as const;
export type ResamplingName = keyof typeof RESAMPLING;

/** Interleaved 8-bit pixels, `data[(y·width + x)·channels + c]`. */
export interface Pixels {
  data: Uint8Array | Uint8ClampedArray;
  width: number;
  height: number;
  channels: number;
}

interface Filter {
  /** Half the width of the window, in pixels of the coarser of the two pictures. */
  support: number;
  weight: (x: number) => number;
}

const FILTERS: Record<Exclude<ResamplingName, 'nearest'>, Filter> = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: { support: 1, weight: hamming },
  bicubic: { support: 2, weight: bicubic },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** The filter's name for a name or a `PIL.Image.Resampling` number. Throws ConfigError for any other value. */
export function resamplingName(value: unknown): ResamplingName {
  for (const [name, number] of Object.entries(RESAMPLING)) {
    if (value === number || value === name) return name as ResamplingName;
  }
  throw new ConfigError({
    what: 'unknown resampling filter',
    where: 'resample',
    expected: Object.entries(RESAMPLING)
      .map(([name, number]) => `${number} (${name})`)
      .join(', '),
    got: JSON.stringify(value),
  });
}

/**
 * `PIL.Image.resize` of L, RGB or premultiplied pixels (RGBA has to be premultiplied by the caller, as Pillow does).
 * Returns the input itself when the size does not change.
 */
export function resample(image: Pixels, width: number, height: number, filter: ResamplingName): Pixels {
  return runSync(resampleSteps(image, width, height, filter));
}

/** The same, pausing every few rows. */
export function* resampleSteps(
  image: Pixels,
  width: number,
  height: number,
  filter: ResamplingName,
): Steps<Pixels> {
  if (image.width === width && image.height === height) return image;
  if (filter === 'nearest') return yield* nearest(image, width, height);
  const { support, weight } = FILTERS[filter];
  const passes = ['across', 'down'];
  if (verticalFirst(image, width, height)) passes.reverse();
  for (const pass of passes) {
    if (pass === 'across' && width !== image.width) {
      image = yield* horizontalPass(image, windows(image.width, width, support, weight));
    }
    if (pass === 'down' && height !== image.height) {
      image = yield* verticalPass(image, windows(image.height, height, support, weight));
    }
  }
  return image;
}

/** Since version 13, Pillow starts with the pass that loses by far more lines; before, always with the horizontal one. */
function verticalFirst(image: Pixels, width: number, height: number): boolean {
  const lost = image.height - height;
  return lost > 0 && lost > (image.width - width) * 2;
}

function sinc(x: number): number {
  if (x === 0) return 1;
  const angle = x * Math.PI;
  return sine(angle) / angle;
}

/** Pillow writes these two as float32 constants in a float64 expression. */
const HAMMING_BASE = Math.fround(0.54);
const HAMMING_SWING = Math.fround(0.46);

function hamming(x: number): number {
  const distance = Math.abs(x);
  if (distance === 0) return 1;
  if (distance >= 1) return 0;
  const angle = distance * Math.PI;
  return (sine(angle) / angle) * (HAMMING_BASE + HAMMING_SWING * cosine(angle));
}

function bicubic(x: number): number {
  const a = -0.5;
  const t = Math.abs(x);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * a;
  return 0;
}

const FRACTION_BITS = 22;
const HALF = 1 << (FRACTION_BITS - 1);

/** Per output position: the first input position, how many, and their weights at `weights[i·stride …]`. */
interface Windows {
  count: number;
  stride: number;
  starts: Int32Array;
  lengths: Int32Array;
  weights: Int32Array;
}

function windows(inSize: number, outSize: number, support: number, weight: (x: number) => number): Windows {
  const scale = inSize / outSize;
  const filterScale = Math.max(scale, 1);
  const reach = support * filterScale;
  const stride = Math.ceil(reach) * 2 + 1;
  const starts = new Int32Array(outSize);
  const lengths = new Int32Array(outSize);
  const weights = new Int32Array(outSize * stride);
  const raw = new Float64Array(stride);
  const inverse = 1 / filterScale;
  for (let i = 0; i < outSize; i++) {
    const centre = (i + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - reach + 0.5), 0);
    const length = Math.min(Math.trunc(centre + reach + 0.5), inSize) - start;
    let sum = 0;
    for (let k = 0; k < length; k++) {
      raw[k] = weight((k + start - centre + 0.5) * inverse);
      sum += raw[k];
    }
    for (let k = 0; k < length; k++) {
      const scaled = (sum !== 0 ? raw[k] / sum : raw[k]) * (1 << FRACTION_BITS);
      weights[i * stride + k] = Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    }
    starts[i] = start;
    lengths[i] = length;
  }
  return { count: outSize, stride, starts, lengths, weights };
}

function clip8(value: number): number {
  const shifted = value >> FRACTION_BITS;
  return shifted < 0 ? 0 : Math.min(shifted, 255);
}

function* horizontalPass(image: Pixels, across: Windows): Steps<Pixels> {
  const { height, channels } = image;
  const { count, stride } = across;
  const out = new Uint8Array(count * height * channels);
  yield* byRows(height, count * stride * channels, (from, to) =>
    resampleAcross(image, across, out, from, to),
  );
  return { data: out, width: count, height, channels };
}

function resampleAcross(
  { data, width, channels }: Pixels,
  { count, stride, starts, lengths, weights }: Windows,
  out: Uint8Array,
  firstRow: number,
  end: number,
): void {
  let to = firstRow * count * channels;
  for (let y = firstRow; y < end; y++) {
    const row = y * width * channels;
    for (let x = 0; x < count; x++) {
      const first = x * stride;
      const last = first + lengths[x];
      let from = row + starts[x] * channels;
      if (channels === 3) {
        let red = HALF;
        let green = HALF;
        let blue = HALF;
        for (let k = first; k < last; k++, from += 3) {
          const w = weights[k];
          red = (red + Math.imul(data[from], w)) | 0;
          green = (green + Math.imul(data[from + 1], w)) | 0;
          blue = (blue + Math.imul(data[from + 2], w)) | 0;
        }
        out[to] = clip8(red);
        out[to + 1] = clip8(green);
        out[to + 2] = clip8(blue);
      } else {
        for (let c = 0; c < channels; c++) {
          let sum = HALF;
          for (let k = first, at = from + c; k < last; k++, at += channels) {
            sum = (sum + Math.imul(data[at], weights[k])) | 0;
          }
          out[to + c] = clip8(sum);
        }
      }
      to += channels;
    }
  }
}

/** Row by row over an accumulator, so that the input is read along its rows and stays in the cache. */
function* verticalPass(image: Pixels, down: Windows): Steps<Pixels> {
  const { width, channels } = image;
  const line = width * channels;
  const out = new Uint8Array(down.count * line);
  yield* byRows(down.count, line * down.stride, (from, to) => resampleDown(image, down, out, from, to));
  return { data: out, width, height: down.count, channels };
}

function resampleDown(
  { data, width, channels }: Pixels,
  { stride, starts, lengths, weights }: Windows,
  out: Uint8Array,
  firstRow: number,
  end: number,
): void {
  const line = width * channels;
  const sums = new Int32Array(line);
  for (let y = firstRow; y < end; y++) {
    sums.fill(HALF);
    for (let k = 0; k < lengths[y]; k++) {
      const w = weights[y * stride + k];
      const row = (starts[y] + k) * line;
      for (let i = 0; i < line; i++) sums[i] = (sums[i] + Math.imul(data[row + i], w)) | 0;
    }
    const to = y * line;
    for (let i = 0; i < line; i++) out[to + i] = clip8(sums[i]);
  }
}

/** The source coordinate is summed up step by step, as Pillow does: its rounding decides which pixel is taken. */
function* nearest(
  { data, width, height, channels }: Pixels,
  outWidth: number,
  outHeight: number,
): Steps<Pixels> {
  const out = new Uint8Array(outWidth * outHeight * channels);
  const columns = nearestIndices(width, outWidth);
  const rows = nearestIndices(height, outHeight);
  yield* byRows(outHeight, outWidth * channels, (first, end) => {
    let to = first * outWidth * channels;
    for (let y = first; y < end; y++) {
      for (let x = 0; x < outWidth; x++) {
        const from = (rows[y] * width + columns[x]) * channels;
        for (let c = 0; c < channels; c++) out[to++] = data[from + c];
      }
    }
  });
  return { data: out, width: outWidth, height: outHeight, channels };
}

function nearestIndices(inSize: number, outSize: number): Int32Array {
  const step = inSize / outSize;
  const indices = new Int32Array(outSize);
  let position = step * 0.5;
  for (let i = 0; i < outSize; i++, position += step) indices[i] = Math.min(Math.trunc(position), inSize - 1);
  return indices;
}
