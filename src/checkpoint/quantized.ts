import { CheckpointError } from '../errors.js';
import { type PanelDtype, type QuantizedDtype, quantBlocks, type WeightDtype } from '../runtime/weight.js';
import type { ExpectedTensor } from './manifest.js';
import type { CheckpointTensor } from './shards.js';

/**
 * How quantised checkpoints hold a matrix `X.weight` [N, K]: its values under its own name and `X.weight_scale`, BF16
 * [N, blocks]. In 8 bits the values are I8 [N, K] in blocks of 64, and a weight is scale · q. In 4 bits they are U8 [N,
 * ceil(K/2)] in blocks of 32 with two nibbles a byte (q = 0 … 15; an even k in the low one), there is a `X.weight_min` like
 * the scales, and a weight is scale · q + minimum.
 */
export const SCALE_SUFFIX = '_scale';
export const MINIMUM_SUFFIX = '_min';
export const STORED_DTYPE: Readonly<Record<QuantizedDtype, 'I8' | 'U8'>> = { I8: 'I8', I4: 'U8' };

/** Shapes of the tensors of a quantised matrix; minimums are like the scales. */
export function storedShapes(dtype: QuantizedDtype, N: number, K: number) {
  return { values: [N, dtype === 'I8' ? K : Math.ceil(K / 2)], scales: [N, quantBlocks(dtype, K)] };
}

/** The dtype that a weight has in memory when it is kept as it is stored. */
export function storedAs({ dtype, scale }: { readonly dtype: string; readonly scale?: unknown }): PanelDtype {
  if (!scale) return dtype as WeightDtype;
  return dtype === 'I8' ? 'I8' : 'I4';
}

/**
 * The tensors with each quantised matrix's scales, in 4 bits also its minimums, joined to it.
 * @param folder the checkpoint's name, for messages
 * @throws CheckpointError for a quantised tensor that lacks one of them, or has another shape or dtype than its matrix asks
 */
export function joinScales(
  expected: readonly ExpectedTensor[],
  tensors: ReadonlyMap<string, CheckpointTensor>,
  folder: string,
): Map<string, CheckpointTensor> {
  const out = new Map(tensors);
  for (const { name, layout, N, K } of expected) {
    const values = tensors.get(name);
    const isQuantized = values?.dtype === 'I8' || values?.dtype === 'U8';
    if (layout !== 'panel' || !values || !(isQuantized || tensors.has(name + SCALE_SUFFIX))) continue;
    const dtype = values.dtype === 'I8' ? 'I8' : 'I4';
    const shapes = storedShapes(dtype, N, K);
    const beside = (suffix: string, what: string) => {
      const tensor = tensors.get(name + suffix);
      if (!tensor) throw missing(`${folder}, tensor ${name + suffix}`, what, shapes.scales);
      out.delete(name + suffix);
      return tensor;
    };
    const scale = beside(SCALE_SUFFIX, 'scales');
    checkStored(values, STORED_DTYPE[dtype], shapes.values);
    checkStored(scale, 'BF16', shapes.scales);
    if (dtype === 'I8') {
      out.set(name, { ...values, scale });
      continue;
    }
    const minimum = beside(MINIMUM_SUFFIX, 'minimums');
    checkStored(minimum, 'BF16', shapes.scales);
    out.set(name, { ...values, scale, minimum });
  }
  return out;
}

function missing(where: string, what: string, shape: readonly number[]): CheckpointError {
  return new CheckpointError({
    what: `${what} of a quantised tensor missing from the checkpoint`,
    where,
    expected: `BF16 [${shape.join(', ')}]`,
    got: 'no such tensor',
  });
}

function checkStored(
  { name, dtype, shape, file }: CheckpointTensor,
  want: string,
  size: readonly number[],
): void {
  const where = `${file.name}, tensor ${name}`;
  if (dtype !== want) {
    const expected = want === 'U8' ? 'I8 or U8' : want;
    throw new CheckpointError({ what: 'tensor has another dtype', where, expected, got: dtype });
  }
  if (String(shape) === String(size)) return;
  const show = (dims: readonly number[]) => `[${dims.join(', ')}]`;
  throw new CheckpointError({
    what: 'tensor has another shape',
    where,
    expected: show(size),
    got: show(shape),
  });
}
