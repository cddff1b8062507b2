import { InputError } from '../errors.js';
import type { PositionDtype } from './config.js';

/**
 * Position ids of the patches of one image whose valid part is h × w patches (SmolVLMVisionEmbeddings.forward): the
 * fractional coordinate i/n·(1 − 1e-6), bucketed by k/side. Each operation is rounded to `dtype`, which changes ids.
 * @param mask [maxH · maxW] row-major, non-zero where the patch holds part of the picture
 * @param side patches a side at the checkpoint's image_size
 * @returns [maxH · maxW], 0 where the mask is 0
 * @throws InputError when the valid patches do not form an h × w grid
 */
export function visionPositionIds(
  mask: ArrayLike<number>,
  maxH: number,
  maxW: number,
  side: number,
  dtype: PositionDtype,
): Int32Array {
  let h = 0;
  let w = 0;
  for (let row = 0; row < maxH; row++) h += mask[row * maxW] ? 1 : 0;
  for (let column = 0; column < maxW; column++) w += mask[column] ? 1 : 0;
  const rows = bucketCoordinates(h, side, dtype);
  const columns = bucketCoordinates(w, side, dtype);
  const ids = new Int32Array(maxH * maxW);
  let kept = 0;
  for (let i = 0; i < ids.length; i++) {
    if (!mask[i]) continue;
    if (kept < h * w) ids[i] = rows[Math.floor(kept / w)] * side + columns[kept % w];
    kept++;
  }
  if (kept === h * w) return ids;
  throw new InputError({
    what: 'the valid patches of an image do not form a grid',
    where: 'pixel_attention_mask',
    expected: `${h} × ${w} = ${h * w} patches (counted in the first column and row)`,
    got: `${kept}`,
  });
}

/** The bucket of each of n coordinates along one side: how many boundaries k/side are at or below it. */
function bucketCoordinates(n: number, side: number, dtype: PositionDtype): Int32Array {
  const round = ROUND[dtype];
  // Python's 1 − 1e-6 enters a half-precision product as a float32.
  const shrink = Math.fround(1 - 1e-6);
  const step = 1 / side;
  const boundaries: number[] = [];
  const count = Math.ceil((1 - step) / step);
  for (let k = 0; k < count; k++) boundaries.push(Math.fround(step + k * step));
  return Int32Array.from({ length: n }, (_, i) => {
    const coordinate = round(round(round(i) / n) * shrink);
    return boundaries.filter((boundary) => boundary <= coordinate).length;
  });
}

const ROUND: Record<PositionDtype, (x: number) => number> = {
  float32: Math.fround,
  bfloat16: (x) => roundTo(x, 8, -126),
  float16: (x) => roundTo(x, 11, -14),
};

/** Rounds to `digits` significant bits, ties to even, after rounding to float32 as the reference's arithmetic does. */
function roundTo(x: number, digits: number, lowestExponent: number): number {
  const value = Math.fround(x);
  if (value === 0) return value;
  // Exponent of value, from its bits: no Math.log2, which engines compute differently.
  BITS_F32[0] = Math.abs(value);
  const exponent = Math.max((BITS_U32[0] >>> 23) - 127, lowestExponent);
  BITS_U32[0] = (exponent - digits + 1 + 127) << 23;
  const unit = BITS_F32[0];
  const scaled = value / unit;
  const floor = Math.floor(scaled);
  const rest = scaled - floor;
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0);
  return (floor + (up ? 1 : 0)) * unit;
}

const BITS_F32 = new Float32Array(1);
const BITS_U32 = new Uint32Array(BITS_F32.buffer);
