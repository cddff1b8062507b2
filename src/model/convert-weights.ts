import { DTYPE_BYTES, type Dtype, decode, toFloat16 } from '../checkpoint/dtypes.js';
import { SafetensorsFile } from '../checkpoint/safetensors.js';
import type { CheckpointTensor, Shards } from '../checkpoint/shards.js';
import type { ByteSource } from '../checkpoint/source.js';
import type { WeightDtype } from '../runtime/weight.js';

/**
 * The same tensors, those with a target rounded to it, to nearest, ties to even, while they are read. Files keep their order,
 * so streams serve too; a file without such tensors stays as it is.
 */
export function convertShards({ files, tensors }: Shards, targets: ReadonlyMap<string, WeightDtype>): Shards {
  const converted = new Map(tensors);
  const outputs = files.map((file) => {
    const own = [...tensors].filter(([, tensor]) => tensor.file === file);
    if (!own.some(([name, { dtype }]) => (targets.get(name) ?? dtype) !== dtype)) return file;
    own.sort(([, a], [, b]) => a.begin - b.begin);
    const source = new ConvertedSource(file);
    const infos = new Map(own.map(([name, tensor]) => [name, source.add(name, tensor, targets.get(name))]));
    const output = new SafetensorsFile(source, {
      metadata: file.metadata,
      tensors: infos,
      fileBytes: source.size,
    });
    for (const [name, info] of infos) converted.set(name, { ...info, file: output });
    return output;
  });
  return { files: outputs, tensors: converted };
}

/** One file's tensors behind each other in their new dtypes. */
class ConvertedSource implements ByteSource {
  readonly name: string;
  size = 0;
  #file: SafetensorsFile;
  #places: { begin: number; end: number; tensor: CheckpointTensor; dtype: Dtype }[] = [];

  constructor(file: SafetensorsFile) {
    this.name = file.name;
    this.#file = file;
  }

  add(name: string, tensor: CheckpointTensor, dtype: Dtype = tensor.dtype) {
    const count = (tensor.end - tensor.begin) / DTYPE_BYTES[tensor.dtype];
    const begin = this.size;
    this.size += count * DTYPE_BYTES[dtype];
    this.#places.push({ begin, end: this.size, tensor, dtype });
    return { name, dtype, shape: tensor.shape, begin, end: this.size };
  }

  /** Whole elements of one tensor, as the loader asks for them. */
  async read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void> {
    const place = this.#places.find(({ begin, end }) => offset >= begin && offset < end)!;
    const { begin, tensor, dtype } = place;
    const first = (offset - begin) / DTYPE_BYTES[dtype];
    const count = into.length / DTYPE_BYTES[dtype];
    const stored = DTYPE_BYTES[tensor.dtype];
    if (tensor.dtype === dtype) {
      return this.#file.source.read(tensor.begin + first * stored, into, signal);
    }
    const bytes = new Uint8Array(count * stored);
    await this.#file.source.read(tensor.begin + first * stored, bytes, signal);
    const values = decode(tensor.dtype, bytes) as Float32Array;
    into.set(new Uint8Array(roundedBits(values, dtype as WeightDtype).buffer));
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** Bits of values in a half-precision dtype, rounded to nearest, ties to even. */
export function roundedBits(values: Float32Array, dtype: WeightDtype): Uint16Array<ArrayBuffer> {
  const out = new Uint16Array(values.length);
  if (dtype !== 'BF16') {
    for (let i = 0; i < out.length; i++) out[i] = toFloat16(values[i]);
    return out;
  }
  // The same as toBfloat16, several times faster: a model has hundreds of millions of values.
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < out.length; i++) {
    const x = bits[i];
    const isNan = (x & 0x7fffffff) > 0x7f800000;
    out[i] = isNan ? (x >>> 16) | 0x40 : (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
  }
  return out;
}
