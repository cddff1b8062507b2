import { CheckpointError } from '../errors.js';
import { type PanelDtype, QUANT_BLOCK, type QuantizedDtype, type WeightDtype } from '../runtime/weight.js';
import type { ExpectedTensor } from './manifest.js';
import type { CheckpointTensor } from './shards.js';

/**
 * How quantised checkpoints hold a matrix `X.weight` [N, K]: its values under its own name, as I8 [N, K], or as U8
 * [N, ceil(K/2)] with two nibbles a byte (q + 8; an even k in the low one), and `X.weight_scale`, BF16 [N, ceil(K/32)].
 */
export const SCALE_SUFFIX = '_scale';
export const STORED_DTYPE: Readonly<Record<QuantizedDtype, 'I8' | 'U8'>> = { I8: 'I8', I4: 'U8' };

/** Shapes of the two tensors of a quantised matrix. */
export function storedShapes(dtype: QuantizedDtype, N: number, K: number) {
  return { values: [N, dtype === 'I8' ? K : Math.ceil(K / 2)], scales: [N, Math.ceil(K / QUANT_BLOCK)] };
}

/** The dtype that a weight has in memory when it is kept as it is stored. */
export function storedAs({ dtype, scale }: { readonly dtype: string; readonly scale?: unknown }): PanelDtype {
  if (!scale) return dtype as WeightDtype;
  return dtype === 'I8' ? 'I8' : 'I4';
}

/**
 * The tensors with each quantised matrix's scales joined to it.
 * @param folder the checkpoint's name, for messages
 * @throws CheckpointError for a quantised tensor that lacks its scales, or has another shape or dtype than its matrix asks
 */
export function joinScales(
  expected: readonly ExpectedTensor[],
  tensors: ReadonlyMap<string, CheckpointTensor>,
  folder: string,
): Map<string, CheckpointTensor> {
  const out = new Map(tensors);
  for (const { name, layout, N, K } of expected) {
    const values = tensors.get(name);
    const scale = tensors.get(name + SCALE_SUFFIX);
    const isQuantized = values?.dtype === 'I8' || values?.dtype === 'U8';
    if (layout !== 'panel' || !values || !(isQuantized || scale)) continue;
    if (!scale) {
      throw new CheckpointError({
        what: 'scales of a quantised tensor missing from the checkpoint',
        where: `${folder}, tensor ${name + SCALE_SUFFIX}`,
        expected: `BF16 [${storedShapes('I8', N, K).scales.join(', ')}]`,
        got: 'no such tensor',
      });
    }
    const dtype = values.dtype === 'I8' ? 'I8' : 'I4';
    const shapes = storedShapes(dtype, N, K);
    checkStored(values, STORED_DTYPE[dtype], shapes.values);
    checkStored(scale, 'BF16', shapes.scales);
    out.set(name, { ...values, scale });
    out.delete(name + SCALE_SUFFIX);
  }
  return out;
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
