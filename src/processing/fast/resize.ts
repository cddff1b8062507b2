/**
 * `torchvision.transforms.functional.resize` on CPU tensors, in its two versions: the first (`v1`, which the fast image
 * processor calls) turns uint8 pixels into float32 and rounds at the end; the second (`v2`, which the video processor
 * calls) keeps uint8 pixels, with 16-bit weights and a uint8 picture between the two passes.
 */
import { type ResamplingName, resamplingName } from '../resample.js';
import { likeData, type Planes } from './planes.js';
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
  if (image.height === height && image.width === width) return image;
  const name = resamplingName(resample);
  if (name === 'nearest') return nearestExact(image, height, width);
  const filter = name === 'lanczos' ? 'bicubic' : name;
  const integer = image.data instanceof Uint8Array && version === 'v2';
  if (integer && (filter === 'bicubic' || filter === 'bilinear')) {
    return integerResize(image, height, width, filter);
  }
  return floatResize(image, height, width, filter);
}

function integerResize(image: Planes, height: number, width: number, filter: 'bilinear' | 'bicubic'): Planes {
  if (width !== image.width) image = integerAcross(image, integerWindows(image.width, width, filter));
  if (height !== image.height) image = integerDown(image, integerWindows(image.height, height, filter));
  return image;
}

function integerAcross(image: Planes, windows: Windows<Int32Array>): Planes {
  const { count, stride, starts, lengths, weights, bits } = windows;
  const { data, channels, height, width } = image;
  const out = new Uint8Array(channels * height * count);
  const half = 1 << (bits - 1);
  let to = 0;
  for (let row = 0; row < data.length; row += width) {
    for (let x = 0; x < count; x++) {
      let sum = half;
      const last = x * stride + lengths[x];
      for (let k = x * stride, from = row + starts[x]; k < last; k++) sum += data[from++] * weights[k];
      out[to++] = clip(sum >> bits);
    }
  }
  return { data: out, channels, height, width: count };
}

function integerDown(image: Planes, windows: Windows<Int32Array>): Planes {
  const { count, stride, starts, lengths, weights, bits } = windows;
  const { data, channels, height, width } = image;
  const out = new Uint8Array(channels * count * width);
  const sums = new Int32Array(width);
  let to = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < count; y++) {
      sums.fill(1 << (bits - 1));
      for (let k = 0; k < lengths[y]; k++) {
        const weight = weights[y * stride + k];
        const row = (c * height + starts[y] + k) * width;
        for (let x = 0; x < width; x++) sums[x] += data[row + x] * weight;
      }
      for (let x = 0; x < width; x++) out[to++] = clip(sums[x] >> bits);
    }
  }
  return { data: out, channels, height: count, width };
}

function clip(value: number): number {
  return value < 0 ? 0 : Math.min(value, 255);
}

function floatResize(image: Planes, height: number, width: number, filter: AntialiasFilter): Planes {
  const { data, channels } = image;
  let values = data instanceof Float32Array ? data : new Float32Array(data);
  if (width !== image.width) {
    values = floatAcross(values, image.width, floatWindows(image.width, width, filter));
  }
  if (height !== image.height) {
    const windows = floatWindows(image.height, height, filter);
    values = floatDown(values, channels, image.height, width, windows);
  }
  if (data instanceof Float32Array) return { data: values, channels, height, width };
  const levels = likeData(data, values.length);
  // torch has no rounding for 16-bit levels: they are cut off. What bicubic overshoots wraps there, and is clipped here.
  if (data instanceof Uint8Array) for (let i = 0; i < levels.length; i++) levels[i] = roundToLevel(values[i]);
  else for (let i = 0; i < levels.length; i++) levels[i] = Math.min(Math.max(values[i], 0), 65535);
  return { data: levels, channels, height, width };
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
function floatAcross(data: Float32Array, width: number, windows: Windows<Float32Array>): Float32Array {
  const { count, stride, starts, lengths, weights } = windows;
  const out = new Float32Array((data.length / width) * count);
  let to = 0;
  for (let row = 0; row < data.length; row += width) {
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
  return out;
}

function floatDown(
  data: Float32Array,
  channels: number,
  height: number,
  width: number,
  windows: Windows<Float32Array>,
): Float32Array {
  const { count, stride, starts, lengths, weights } = windows;
  const out = new Float32Array(channels * count * width);
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < count; y++) {
      const sums = out.subarray((c * count + y) * width, (c * count + y + 1) * width);
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
  return out;
}

/**
 * `nearest-exact`: the pixel whose centre is nearest, coordinates in float32. torch has two kernels, chosen by the size of
 * the output, which differ where a coordinate falls between two pixels.
 */
function nearestExact(image: Planes, height: number, width: number): Planes {
  const { data, channels } = image;
  const small = height + width <= 128;
  const rows = nearestIndices(image.height, height, small);
  const columns = nearestIndices(image.width, width, small);
  const result = likeData(data, channels * height * width);
  let to = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      const row = (c * image.height + rows[y]) * image.width;
      for (let x = 0; x < width; x++) result[to++] = data[row + columns[x]];
    }
  }
  return { data: result, channels, height, width };
}

function nearestIndices(inSize: number, outSize: number, small: boolean): Int32Array {
  const scale = f32(inSize / outSize);
  return Int32Array.from({ length: outSize }, (_, i) => {
    const centre = f32(Math.max(0, f32((i + 0.5) * scale - 0.5)) + 0.5);
    return Math.min(Math.floor(small ? f32((i + 0.5) * scale) : centre), inSize - 1);
  });
}
