import type { Kernels } from '../runtime/kernels.js';
import type { Weight } from '../runtime/weight.js';
import { DTYPE_BYTES } from './dtypes.js';
import type { CheckpointTensor } from './shards.js';

/** The kernels that turn stored tensors into weights in memory. */
export type PackKernels = Pick<
  Kernels,
  'panel8_pack_16' | 'panel8_pack_32' | 'f32_bf16_unpack' | 'f32_f16_unpack'
>;

interface PackMemory {
  readonly kernels: PackKernels;
  u8(pointer: number, length: number): Uint8Array;
}

/** Bytes of a tensor's row: all but the first dimension. */
export function storedRowBytes({
  shape,
  begin,
  end,
}: Pick<CheckpointTensor, 'shape' | 'begin' | 'end'>): number {
  return shape[0] === 0 ? 0 : (end - begin) / (shape[0] ?? 1);
}

/**
 * Puts rows of a tensor, as they are stored at `src` (of any alignment), into their places: matrices into panels of 8
 * outputs, vectors widened to float32.
 * @param row the first of `rows` rows; of a matrix a multiple of 8, with whole panels or the last rows following it
 */
export function pack(
  memory: PackMemory,
  weight: Weight,
  tensor: CheckpointTensor,
  row: number,
  rows: number,
  src: number,
): void {
  if (weight.layout === 'vector') packVector(memory, weight, row, rows, src);
  else packPanels(memory, weight, tensor, row, rows, src);
}

function packVector(memory: PackMemory, { dtype, pointer }: Weight, row: number, rows: number, src: number) {
  const out = pointer + 4 * row;
  if (dtype === 'BF16') memory.kernels.f32_bf16_unpack(out, src, rows);
  else if (dtype === 'F16') memory.kernels.f32_f16_unpack(out, src, rows);
  else memory.u8(out, 4 * rows).set(memory.u8(src, 4 * rows));
}

function packPanels(
  { kernels }: PackMemory,
  { K, pointer }: Weight,
  tensor: CheckpointTensor,
  row: number,
  rows: number,
  src: number,
): void {
  const elementBytes = DTYPE_BYTES[tensor.dtype];
  const rowBytes = K * elementBytes;
  const packPanel = elementBytes === 4 ? kernels.panel8_pack_32 : kernels.panel8_pack_16;
  for (let at = 0; at < rows; at += 8) {
    packPanel(pointer + (row + at) * rowBytes, src + at * rowBytes, Math.min(8, rows - at), K, K);
  }
}
