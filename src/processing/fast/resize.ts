/**
 * `torchvision.transforms.functional.resize` on CPU tensors, in its two versions: the first (`v1`, which the fast image
 * processor calls) turns uint8 pixels into float32 and rounds at the end; the second (`v2`, which the video processor
 * calls) keeps uint8 pixels, with 16-bit weights and a uint8 picture between the two passes.
 */
import { byRows, runSync, type Steps } from '../paced.js';
import { type ResamplingName, resamplingName } from '../resample.js';
import { likeData, type PlaneData, type Planes } from './planes.js';
import { type AntialiasFilter, floatWindows, integerWindows, type Windows } from './windows.js';

export type ResizeVersion = 'v1' | 'v2';

/**
 * Planes of the same dtype, `height` × `width`. `resample` is a Pillow filter: Lanczos becomes bicubic, as the reference
 * has it for tensors; box and Hamming, which torch cannot do on tensors, take the float32 way with Pillow's weights.
 */
export function resizePlanes(
  image: Planes,
  height: number,
  width: number,
  resample: number | ResamplingName,
  version: ResizeVersion,
): Planes {
  return runSync(resizeSteps(image, height, width, resample, version));
}

/** The same, pausing every few rows. */
export function* resizeSteps(
  image: Planes,
  height: number,
  width: number,
  resample: number | ResamplingName,
  version: ResizeVersion,
): Steps<Planes> {
  if (image.height === height && image.width === width) return image;
  const name = resamplingName(resample);
  if (name === 'nearest') return yield* nearestExact(image, height, width);
  const filter = name === 'lanczos' ? 'bicubic' : name;
  const integer = image.data instanceof Uint8Array && version === 'v2';
  if (integer && (filter === 'bicubic' || filter === 'bilinear')) {
    return yield* integerResize(image, height, width, filter);
  }
  return yield* floatResize(image, height, width, filter);
}

function* integerResize(
  image: Planes,
  height: number,
  width: number,
  filter: 'bilinear' | 'bicubic',
): Steps<Planes> {
  const { channels } = image;
  if (width !== image.width) {
    const windows = integerWindows(image.width, width, filter);
    const data = new Uint8Array(channels * image.height * width);
    const from = image;
    yield* byRows(channels * image.height, width * windows.stride, (first, end) => {
      integerAcross(from, windows, data, first, end);
    });
    image = { data, channels, height: image.height, width };
  }
  if (height !== image.height) {
    const windows = integerWindows(image.height, height, filter);
    const data = new Uint8Array(channels * height * width);
    const from = image;
    yield* byRows(channels * height, width * windows.stride, (first, end) => {
      integerDown(from, windows, data, first, end);
    });
    image = { data, channels, height, width };
  }
  return image;
}

/** Rows of all planes, `first` to `end`. */
function integerAcross(
  { data, width }: Planes,
  { count, stride, starts, lengths, weights, bits }: Windows<Int32Array>,
  out: Uint8Array,
  first: number,
  end: number,
): void {
  const half = 1 << (bits - 1);
  let to = first * count;
  for (let row = first * width; row < end * width; row += width) {
    for (let x = 0; x < count; x++) {
      let sum = half;
      const last = x * stride + lengths[x];
      for (let k = x * stride, from = row + starts[x]; k < last; k++) sum += data[from++] * weights[k];
      out[to++] = clip(sum >> bits);
    }
  }
}

/** Rows of all planes of the result, `first` to `end`. */
function integerDown(
  { data, height, width }: Planes,
  { count, stride, starts, lengths, weights, bits }: Windows<Int32Array>,
  out: Uint8Array,
  first: number,
  end: number,
): void {
  const sums = new Int32Array(width);
  let to = first * width;
  for (let at = first; at < end; at++) {
    const c = Math.floor(at / count);
    const y = at % count;
    sums.fill(1 << (bits - 1));
    for (let k = 0; k < lengths[y]; k++) {
      const weight = weights[y * stride + k];
      const row = (c * height + starts[y] + k) * width;
      for (let x = 0; x < width; x++) sums[x] += data[row + x] * weight;
    }
    for (let x = 0; x < width; x++) out[to++] = clip(sums[x] >> bits);
  }
}

function clip(value: number): number {
  return value < 0 ? 0 : Math.min(value, 255);
}

function* floatResize(image: Planes, height: number, width: number, filter: AntialiasFilter): Steps<Planes> {
  const { data, channels } = image;
  let values = data instanceof Float32Array ? data : yield* widened(data);
  if (width !== image.width) {
    const windows = floatWindows(image.width, width, filter);
    const [from, out] = [values, new Float32Array(channels * image.height * width)];
    yield* byRows(channels * image.height, width * windows.stride, (first, end) => {
      floatAcross(from, image.width, windows, out, first, end);
    });
    values = out;
  }
  if (height !== image.height) {
    const windows = floatWindows(image.height, height, filter);
    const [from, out] = [values, new Float32Array(channels * height * width)];
    yield* byRows(channels * height, width * windows.stride, (first, end) => {
      floatDown(from, image.height, width, windows, out, first, end);
    });
    values = out;
  }
  if (data instanceof Float32Array) return { data: values, channels, height, width };
  const levels = likeData(data, values.length);
  // torch has no rounding for 16-bit levels: they are cut off. What bicubic overshoots wraps there, and is clipped here.
  const resized = values;
  yield* byRows(levels.length, 1, (from, to) => {
    if (data instanceof Uint8Array) for (let i = from; i < to; i++) levels[i] = roundToLevel(resized[i]);
    else for (let i = from; i < to; i++) levels[i] = Math.min(Math.max(resized[i], 0), 65535);
  });
  return { data: levels, channels, height, width };
}

function* widened(data: PlaneData): Steps<Float32Array> {
  const values = new Float32Array(data.length);
  yield* byRows(data.length, 1, (from, to) => values.set(data.subarray(from, to), from));
  return values;
}

/** Clipped to 0…255, halves to the even neighbour. */
function roundToLevel(value: number): number {
  if (value <= 0) return 0;
  if (value >= 255) return 255;
  const down = Math.floor(value);
  const rest = value - down;
  if (rest === 0.5) return down + (down & 1);
  return rest > 0.5 ? down + 1 : down;
}

const f32 = Math.fround;

/**
 * A sum in torch's order: the first product; then, four taps at a time, products rounded before they are added; the taps
 * left over fused with their addition. That is how its compiler vectorised the one loop, on AVX2 and AVX-512 alike.
 */
function floatAcross(
  data: Float32Array,
  width: number,
  { count, stride, starts, lengths, weights }: Windows<Float32Array>,
  out: Float32Array,
  firstRow: number,
  end: number,
): void {
  let to = firstRow * count;
  for (let row = firstRow * width; row < end * width; row += width) {
    for (let x = 0; x < count; x++) {
      const first = x * stride;
      const last = first + lengths[x];
      const fused = last - ((lengths[x] - 1) & 3);
      let from = row + starts[x];
      let sum = f32(data[from++] * weights[first]);
      let k = first + 1;
      while (k < fused) sum = f32(sum + f32(data[from++] * weights[k++]));
      while (k < last) sum = f32(data[from++] * weights[k++] + sum);
      out[to++] = sum;
    }
  }
}

/** Rows of all planes of the result, `first` to `end`. */
function floatDown(
  data: Float32Array,
  height: number,
  width: number,
  { count, stride, starts, lengths, weights }: Windows<Float32Array>,
  out: Float32Array,
  first: number,
  end: number,
): void {
  for (let at = first; at < end; at++) {
    const c = Math.floor(at / count);
    const y = at % count;
    const sums = out.subarray(at * width, (at + 1) * width);
    const fused = lengths[y] - ((lengths[y] - 1) & 3);
    for (let k = 0; k < lengths[y]; k++) {
      const weight = weights[y * stride + k];
      const row = (c * height + starts[y] + k) * width;
      if (k === 0) for (let x = 0; x < width; x++) sums[x] = data[row + x] * weight;
      else if (k < fused) for (let x = 0; x < width; x++) sums[x] += f32(data[row + x] * weight);
      else for (let x = 0; x < width; x++) sums[x] = data[row + x] * weight + sums[x];
    }
  }
}

/**
 * `nearest-exact`: the pixel whose centre is nearest, coordinates in float32. torch has two kernels, chosen by the size of
 * the output, which differ where a coordinate falls between two pixels.
 */
function* nearestExact(image: Planes, height: number, width: number): Steps<Planes> {
  const { data, channels } = image;
  const small = height + width <= 128;
  const rows = nearestIndices(image.height, height, small);
  const columns = nearestIndices(image.width, width, small);
  const result = likeData(data, channels * height * width);
  yield* byRows(channels * height, width, (first, end) => {
    let to = first * width;
    for (let at = first; at < end; at++) {
      const row = (Math.floor(at / height) * image.height + rows[at % height]) * image.width;
      for (let x = 0; x < width; x++) result[to++] = data[row + columns[x]];
    }
  });
  return { data: result, channels, height, width };
}

function nearestIndices(inSize: number, outSize: number, small: boolean): Int32Array {
  const scale = f32(inSize / outSize);
  return Int32Array.from({ length: outSize }, (_, i) => {
    const centre = f32(Math.max(0, f32((i + 0.5) * scale - 0.5)) + 0.5);
    return Math.min(Math.floor(small ? f32((i + 0.5) * scale) : centre), inSize - 1);
  });
}
