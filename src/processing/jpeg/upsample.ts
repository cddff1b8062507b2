/**
 * libjpeg's upsampling of subsampled components: triangle filters for the factors 2×1, 1×2 and 2×2, repetition for all
 * other whole factors. Only real samples are read (`width`, `height`), not the padding of the last blocks.
 */
import { damaged } from './markers.js';

export interface Plane {
  samples: Uint8Array;
  /** Distance between rows in `samples`. */
  stride: number;
  /** Real samples: ⌈picture · factor / largest factor⌉. */
  width: number;
  height: number;
  /** How many output samples one sample stands for, across and down. */
  scaleX: number;
  scaleY: number;
}

/** Writes output row `y` of the plane into `row` (at least `width · scaleX` long). */
export function upsampleRow(plane: Plane, y: number, row: Uint8Array): void {
  const { samples, stride, width, height, scaleX, scaleY } = plane;
  if (!Number.isInteger(scaleX) || !Number.isInteger(scaleY)) {
    throw damaged('fractional sampling ratio', 0, 'whole factors', `${scaleX}×${scaleY}`);
  }
  const nearY = Math.floor(y / scaleY);
  const near = nearY * stride;
  // The second nearest row: above for the upper half of a sample, below for the lower one.
  const upper = y % scaleY === 0;
  const far = Math.min(Math.max(nearY + (upper ? -1 : 1), 0), height - 1) * stride;
  if (scaleX === 1 && scaleY === 1) {
    row.set(samples.subarray(near, near + width));
  } else if (scaleX === 2 && scaleY === 1 && width > 2) {
    fancyAcross(samples, near, width, row);
  } else if (scaleX === 1 && scaleY === 2) {
    const bias = upper ? 1 : 2;
    for (let x = 0; x < width; x++) row[x] = (samples[near + x] * 3 + samples[far + x] + bias) >> 2;
  } else if (scaleX === 2 && scaleY === 2 && width > 2) {
    fancyBoth(samples, near, far, width, row);
  } else {
    for (let x = 0; x < width; x++) row.fill(samples[near + x], x * scaleX, (x + 1) * scaleX);
  }
}

function fancyAcross(samples: Uint8Array, at: number, width: number, row: Uint8Array): void {
  for (let x = 0; x < width; x++) {
    const value = samples[at + x];
    row[2 * x] = x === 0 ? value : (value * 3 + samples[at + x - 1] + 1) >> 2;
    row[2 * x + 1] = x === width - 1 ? value : (value * 3 + samples[at + x + 1] + 2) >> 2;
  }
}

function fancyBoth(samples: Uint8Array, near: number, far: number, width: number, row: Uint8Array): void {
  let last = 0;
  let current = samples[near] * 3 + samples[far];
  for (let x = 0; x < width; x++) {
    const next = x === width - 1 ? 0 : samples[near + x + 1] * 3 + samples[far + x + 1];
    row[2 * x] = x === 0 ? (current * 4 + 8) >> 4 : (current * 3 + last + 8) >> 4;
    row[2 * x + 1] = x === width - 1 ? (current * 4 + 7) >> 4 : (current * 3 + next + 7) >> 4;
    last = current;
    current = next;
  }
}
