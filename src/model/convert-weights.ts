import { DTYPE_BYTES, decode, toFloat16 } from '../checkpoint/dtypes.js';
import { SafetensorsFile } from '../checkpoint/safetensors.js';
import type { CheckpointTensor, Shards } from '../checkpoint/shards.js';
import type { ByteSource } from '../checkpoint/source.js';
import type { WeightDtype } from '../runtime/weight.js';

/** What a weight becomes: F32 keeps every weight as it is stored, which holds the same values in less memory. */
export type TargetDtype = WeightDtype;

/**
 * The same tensors in another dtype, rounded to nearest, ties to even, while they are read. Files keep their order, so
 * streams serve too.
 */
export function convertShards({ files, tensors }: Shards, target: TargetDtype): Shards {
  if (target === 'F32') return { files, tensors };
  const converted = new Map(tensors);
  const outputs = files.map((file) => {
    const own = [...tensors].filter(([, tensor]) => tensor.file === file);
    own.sort(([, a], [, b]) => a.begin - b.begin);
    const source = new ConvertedSource(file, target);
    const infos = new Map(own.map(([name, tensor]) => [name, source.add(name, tensor)]));
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

/** One file's tensors behind each other in the target dtype. */
class ConvertedSource implements ByteSource {
  readonly name: string;
  size = 0;
  #file: SafetensorsFile;
  #target: TargetDtype;
  #places: { begin: number; end: number; tensor: CheckpointTensor }[] = [];

  constructor(file: SafetensorsFile, target: TargetDtype) {
    this.name = file.name;
    this.#file = file;
    this.#target = target;
  }

  add(name: string, tensor: CheckpointTensor) {
    const count = (tensor.end - tensor.begin) / DTYPE_BYTES[tensor.dtype];
    const begin = this.size;
    this.size += count * DTYPE_BYTES[this.#target];
    this.#places.push({ begin, end: this.size, tensor });
    return { name, dtype: this.#target, shape: tensor.shape, begin, end: this.size };
  }

  /** Whole elements of one tensor, as the loader asks for them. */
  async read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void> {
    const { begin, tensor } = this.#places.find((place) => offset >= place.begin && offset < place.end)!;
    const first = (offset - begin) / DTYPE_BYTES[this.#target];
    const count = into.length / DTYPE_BYTES[this.#target];
    const stored = DTYPE_BYTES[tensor.dtype];
    if (tensor.dtype === this.#target) {
      return this.#file.source.read(tensor.begin + first * stored, into, signal);
    }
    const bytes = new Uint8Array(count * stored);
    await this.#file.source.read(tensor.begin + first * stored, bytes, signal);
    const values = decode(tensor.dtype, bytes) as Float32Array;
    into.set(new Uint8Array(roundedBits(values, this.#target).buffer));
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
