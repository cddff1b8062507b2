import { CheckpointError } from '../errors.js';
import type { Kernels } from '../runtime/kernels.js';
import {
  isQuantized,
  panelBytes,
  QUANT_RECORD_BYTES,
  QUANT_SCALE_BYTES,
  type QuantizedDtype,
  quantBlocks,
  type Weight,
} from '../runtime/weight.js';
import { DTYPE_BYTES } from './dtypes.js';
import type { CheckpointTensor } from './shards.js';

/** The kernels that turn stored tensors into weights in memory. */
export type PackKernels = Pick<
  Kernels,
  | 'panel8_pack_16'
  | 'panel8_pack_32'
  | 'panel8_put_scales'
  | 'f32_bf16_unpack'
  | 'f32_f16_unpack'
  | 'i8_f32_pack'
  | 'i8_bf16_pack'
  | 'i8_f16_pack'
  | 'i4_f32_pack'
  | 'i4_bf16_pack'
  | 'i4_f16_pack'
  | 'i8_repack'
  | 'i4_repack'
>;

export interface PackMemory {
  readonly kernels: PackKernels;
  u8(pointer: number, length: number): Uint8Array;
}

/** A tensor of a file, and the weight in memory that it fills, or fills a part of. */
export interface Job {
  readonly weight: Weight;
  readonly tensor: CheckpointTensor;
  /** `scales`, `minimums`: the tensor holds those of a quantised weight, whose values are in another. */
  readonly role: 'values' | 'scales' | 'minimums';
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
 * Puts rows of tensors, as they are stored at `src` (of any alignment), into their places: vectors widened to float32,
 * matrices into panels of 8 outputs; these are quantised if the weight is and the tensor is not.
 */
export class Packer {
  #memory: PackMemory;

  constructor(memory: PackMemory) {
    this.#memory = memory;
  }

  /**
   * @param row the first of `rows` rows; of a matrix a multiple of 8, with whole panels or the last rows following it
   * @throws CheckpointError for a value that cannot be quantised, or a quantised one that is out of range
   */
  pack({ weight, tensor, role }: Job, row: number, rows: number, src: number): void {
    if (weight.layout === 'vector') {
      this.#vector(weight, row, rows, src);
      return;
    }
    const pack = this.#panel(weight, tensor, role);
    const rowBytes = storedRowBytes(tensor);
    const bytes = panelBytes(weight.dtype, weight.K);
    for (let at = 0; at < rows; at += 8) {
      const panel = weight.pointer + ((row + at) / 8) * bytes;
      const bad = pack(panel, src + at * rowBytes, Math.min(8, rows - at));
      if (bad >= 0) throw badValue(weight, tensor, role, row + at, bad);
    }
  }

  #vector({ dtype, pointer }: Weight, row: number, rows: number, src: number): void {
    const { kernels } = this.#memory;
    const out = pointer + 4 * row;
    if (dtype === 'BF16') kernels.f32_bf16_unpack(out, src, rows);
    else if (dtype === 'F16') kernels.f32_f16_unpack(out, src, rows);
    else this.#memory.u8(out, 4 * rows).set(this.#memory.u8(src, 4 * rows));
  }

  /** What packs one panel; it returns −1, or the index of a value that has no place there. */
  #panel(weight: Weight, { dtype: stored }: CheckpointTensor, role: Job['role']) {
    const { kernels } = this.#memory;
    const { dtype, K } = weight;
    if (!isQuantized(dtype)) {
      const pack = DTYPE_BYTES[stored] === 4 ? kernels.panel8_pack_32 : kernels.panel8_pack_16;
      return (out: number, src: number, rows: number) => {
        pack(out, src, rows, K, K);
        return -1;
      };
    }
    // The tensors of a quantised weight come in any order: none touches what the others fill.
    if (role !== 'values') {
      const blocks = quantBlocks(dtype, K);
      const record = QUANT_RECORD_BYTES[dtype];
      const place = role === 'scales' ? 0 : QUANT_SCALE_BYTES;
      return (out: number, src: number, rows: number) =>
        kernels.panel8_put_scales(out + place, src, rows, blocks, record);
    }
    if (stored === 'I8' || stored === 'U8') {
      const repack = dtype === 'I8' ? kernels.i8_repack : kernels.i4_repack;
      return (out: number, src: number, rows: number) => repack(out, src, rows, K);
    }
    const quantize = {
      I8: { F32: kernels.i8_f32_pack, BF16: kernels.i8_bf16_pack, F16: kernels.i8_f16_pack },
      I4: { F32: kernels.i4_f32_pack, BF16: kernels.i4_bf16_pack, F16: kernels.i4_f16_pack },
    }[dtype][stored as 'F32' | 'BF16' | 'F16'];
    return (out: number, src: number, rows: number) => quantize(out, src, rows, K, K);
  }
}

function badValue(
  { name, dtype, K }: Weight,
  tensor: CheckpointTensor,
  role: Job['role'],
  firstRow: number,
  index: number,
): CheckpointError {
  const columns = role === 'values' ? K : quantBlocks(dtype as QuantizedDtype, K);
  const row = firstRow + Math.floor(index / columns);
  const where = `${tensor.file.name}, tensor ${tensor.name}, row ${row}, column ${index % columns}`;
  if (role !== 'values') {
    return new CheckpointError({
      what: `a ${role === 'scales' ? 'scale' : 'minimum'} is not finite`,
      where,
      expected: 'a finite number',
      got: 'another',
    });
  }
  if (tensor.dtype === 'I8') {
    return new CheckpointError({
      what: 'a quantised value is out of range',
      where,
      expected: '−127 … 127',
      got: '−128',
    });
  }
  return new CheckpointError({
    what: `a value cannot be quantised to ${dtype}`,
    where: name === tensor.name ? where : `${where} (${name})`,
    expected: `a finite value of magnitude below 2^${dtype === 'I4' ? 126 : 127}`,
    got: 'another',
  });
}
