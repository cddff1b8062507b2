/**
 * Which input positions each output position of torch's antialiased resize reads, and with what weights. torch counts
 * them in the dtype of the pixels: float32 for float pixels (`HelperInterpBase::_compute_index_ranges_weights<float>`),
 * float64 rounded to 16-bit integers for uint8 pixels (`_compute_index_ranges_int16_weights`).
 */
import { cosine, sine } from '../sine.js';

export type AntialiasFilter = 'bilinear' | 'bicubic' | 'box' | 'hamming';

/** Per output position the first input position, how many, and their weights at `weights[i·stride …]`. */
export interface Windows<W extends Float32Array | Int32Array> {
  count: number;
  stride: number;
  starts: Int32Array;
  lengths: Int32Array;
  weights: W;
  /** Fractional bits of integer weights; 0 for float ones. */
  bits: number;
}

/** How many input positions a filter reaches over when nothing is scaled down. */
const REACH: Record<AntialiasFilter, number> = { box: 1, bilinear: 2, hamming: 2, bicubic: 4 };

const f32 = Math.fround;

export function floatWindows(
  inSize: number,
  outSize: number,
  filter: AntialiasFilter,
): Windows<Float32Array> {
  const scale = f32(inSize / outSize);
  const support = scale >= 1 ? f32(REACH[filter] * 0.5 * scale) : REACH[filter] * 0.5;
  const inverse = scale >= 1 ? f32(1 / scale) : 1;
  const stride = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(outSize);
  const lengths = new Int32Array(outSize);
  const weights = new Float32Array(outSize * stride);
  const weight = FLOAT_WEIGHTS[filter];
  for (let i = 0; i < outSize; i++) {
    const centre = f32(scale * (i + 0.5));
    const start = Math.max(Math.trunc(f32(centre - support) + 0.5), 0);
    const end = Math.min(Math.trunc(f32(centre + support) + 0.5), inSize);
    const length = Math.max(0, Math.min(end - start, stride));
    const first = i * stride;
    let sum = 0;
    for (let k = 0; k < length; k++) {
      weights[first + k] = weight(f32((f32(k + start - centre) + 0.5) * inverse));
      sum = f32(sum + weights[first + k]);
    }
    if (sum !== 0) for (let k = first; k < first + length; k++) weights[k] = weights[k] / sum;
    starts[i] = start;
    lengths[i] = length;
  }
  return { count: outSize, stride, starts, lengths, weights, bits: 0 };
}

export function integerWindows(
  inSize: number,
  outSize: number,
  filter: 'bilinear' | 'bicubic',
): Windows<Int32Array> {
  const scale = inSize / outSize;
  const support = REACH[filter] * 0.5 * Math.max(scale, 1);
  const inverse = scale >= 1 ? 1 / scale : 1;
  const stride = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(outSize);
  const lengths = new Int32Array(outSize);
  const exact = new Float64Array(outSize * stride);
  const weight = filter === 'bicubic' ? bicubic : triangle;
  let largest = 0;
  for (let i = 0; i < outSize; i++) {
    const centre = scale * (i + 0.5);
    const start = Math.max(Math.trunc(centre - support + 0.5), 0);
    const length = Math.min(Math.trunc(centre + support + 0.5), inSize) - start;
    const first = i * stride;
    let sum = 0;
    for (let k = 0; k < length; k++) {
      exact[first + k] = weight((k + start - centre + 0.5) * inverse);
      sum += exact[first + k];
    }
    for (let k = first; k < first + length; k++) {
      if (sum !== 0) exact[k] /= sum;
      largest = Math.max(largest, exact[k]);
    }
    starts[i] = start;
    lengths[i] = length;
  }
  // As many fractional bits as leave the largest weight within 16 signed ones.
  let bits = 0;
  while (bits < 22 && Math.trunc(0.5 + largest * 2 ** (bits + 1)) < 1 << 15) bits++;
  const weights = Int32Array.from(exact, (value) => {
    const scaled = value * 2 ** bits;
    return Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
  });
  return { count: outSize, stride, starts, lengths, weights, bits };
}

function triangle(x: number): number {
  return Math.max(0, 1 - Math.abs(x));
}

function bicubic(x: number): number {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  if (t < 2) return ((-0.5 * t + 2.5) * t - 4) * t + 2;
  return 0;
}

/** A fused multiply-add: the product is exact in float64, so only the sum rounds before the last rounding. */
function fma(a: number, b: number, c: number): number {
  return f32(a * b + c);
}

/** torch's float32 filters, compiled to fused multiply-adds; box and Hamming, which torch lacks, are Pillow's. */
const FLOAT_WEIGHTS: Record<AntialiasFilter, (x: number) => number> = {
  bilinear: (x) => Math.max(0, f32(1 - Math.abs(x))),
  bicubic: (x) => {
    const t = Math.abs(x);
    if (t < 1) return fma(f32(fma(1.5, t, -2.5) * t), t, 1);
    if (t < 2) return fma(fma(fma(-0.5, t, 2.5), t, -4), t, 2);
    return 0;
  },
  box: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0),
  hamming: (x) => {
    const t = Math.abs(x);
    if (t === 0) return 1;
    if (t >= 1) return 0;
    const angle = t * Math.PI;
    return f32((sine(angle) / angle) * (0.54 + 0.46 * cosine(angle)));
  },
};
