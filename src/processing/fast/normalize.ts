/** `BaseImageProcessorFast.rescale_and_normalize`: rescaling folded into mean and deviation, all in float32. */
import { InputError } from '../../errors.js';
import { byRows, type Steps } from '../paced.js';
import type { Planes } from './planes.js';

export interface NormalizeOptions {
  do_rescale: boolean;
  rescale_factor: number;
  do_normalize: boolean;
  image_mean: number | number[];
  image_std: number | number[];
}

const f32 = Math.fround;

export class Normalizer {
  readonly #means: number[];
  readonly #deviations: number[];
  readonly #factor: number | undefined;

  constructor(options: NormalizeOptions) {
    const { do_rescale, do_normalize, rescale_factor } = options;
    const inverse = do_rescale ? f32(1 / rescale_factor) : 1;
    const fold = (values: number | number[]) =>
      do_normalize ? [values].flat().map((value) => f32(f32(value) * inverse)) : [];
    this.#means = fold(options.image_mean);
    this.#deviations = fold(options.image_std);
    this.#factor = do_rescale && !do_normalize ? f32(rescale_factor) : undefined;
  }

  /** Channels that come out for a picture of `channels`: one is repeated for every mean. Throws InputError. */
  channels(channels: number, where: string): number {
    let count = channels;
    for (const [name, values] of [
      ['image_mean', this.#means],
      ['image_std', this.#deviations],
    ] as const) {
      if (values.length <= 1 || values.length === count) continue;
      if (count !== 1) {
        throw new InputError({
          what: 'wrong number of channels',
          where,
          expected: `${values.length}, as ${name} has`,
          got: String(count),
        });
      }
      count = values.length;
    }
    return count;
  }

  /**
   * Writes the window at (top, left) of a picture as [C, height, width] to `out` at `at`; `channels` from `channels()`.
   * Rows of `out` are `stride` apart and planes `plane`, so that a picture may stand in a larger frame.
   */
  *write(
    image: Planes,
    window: { top: number; left: number; height: number; width: number },
    channels: number,
    out: Float32Array,
    at: number,
    stride: number,
    plane: number,
  ): Steps<void> {
    const { data, width } = image;
    for (let c = 0; c < channels; c++) {
      const source = (image.channels === 1 ? 0 : c) * image.height;
      const level = this.#level(c);
      const table =
        data instanceof Uint8Array ? Float32Array.from({ length: 256 }, (_, v) => level(v)) : undefined;
      yield* byRows(window.height, window.width, (first, end) => {
        for (let y = first; y < end; y++) {
          let from = (source + window.top + y) * width + window.left;
          const to = at + c * plane + y * stride;
          if (table) for (let x = 0; x < window.width; x++) out[to + x] = table[data[from++]];
          else for (let x = 0; x < window.width; x++) out[to + x] = level(data[from++]);
        }
      });
    }
  }

  #level(channel: number): (value: number) => number {
    const factor = this.#factor;
    if (factor !== undefined) return (value) => f32(value * factor);
    if (this.#means.length === 0) return (value) => value;
    const mean = this.#means[this.#means.length === 1 ? 0 : channel];
    const deviation = this.#deviations[this.#deviations.length === 1 ? 0 : channel];
    return (value) => f32(f32(value - mean) / deviation);
  }
}
