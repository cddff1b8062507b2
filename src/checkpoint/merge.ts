import { turn } from '../runtime/steps.js';
import type { LowRank, TensorChange } from './adapter.js';
import { DTYPE_BYTES, type Dtype, decode, float16Bits, toBfloat16, toFloat16 } from './dtypes.js';
import { SafetensorsFile } from './safetensors.js';
import type { CheckpointTensor, Shards } from './shards.js';
import type { ByteSource } from './source.js';

const SLICE_MS = 10;

/**
 * The same tensors with an adapter merged into them while they are read, piece by piece; dtypes, shapes and places stay.
 * The numbers are those of peft's merge_and_unload, whose adapter is float32 whatever its file holds: the product is
 * summed in float64 from rank 0 up and rounded to float32, scaled in float32, added to the base in float32 and rounded
 * to the base's dtype; the change of an embedding or a convolution is rounded to that dtype before it is added, too.
 * torch sums the product in float32 in an order of its own, so that the last bit of a change may differ.
 */
export function mergedShards({ files, tensors }: Shards, changes: ReadonlyMap<string, TensorChange>): Shards {
  const merged = new Map(tensors);
  const outputs = files.map((file) => {
    const own = [...tensors].filter(([, tensor]) => tensor.file === file);
    const changed = own.flatMap(([name, tensor]) => {
      const change = changes.get(name);
      return change ? [{ tensor, change }] : [];
    });
    if (changed.length === 0) return file;
    const { metadata, tensors: infos, bytes } = file;
    const source = new MergedSource(file.source, changed);
    const output = new SafetensorsFile(source, { metadata, tensors: new Map(infos), fileBytes: bytes });
    for (const [name, tensor] of own) merged.set(name, { ...tensor, file: output });
    return output;
  });
  return { files: outputs, tensors: merged };
}

interface Changed {
  readonly tensor: CheckpointTensor;
  readonly change: TensorChange;
}

/** The base's file with changed elements where an adapter changes them. */
class MergedSource implements ByteSource {
  readonly name: string;
  readonly size: number | null;
  readonly readUpTo?: ByteSource['readUpTo'];
  #base: ByteSource;
  #changed: readonly Changed[];
  /** Factors of the tensor that is being read. */
  #factors: { of: LowRank; left: Float32Array; right: Float32Array } | undefined;

  constructor(base: ByteSource, changed: readonly Changed[]) {
    this.name = base.name;
    this.size = base.size;
    this.readUpTo = base.readUpTo?.bind(base);
    this.#base = base;
    this.#changed = changed;
  }

  /** Whole elements of one tensor, as the loader asks for them. */
  async read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#base.read(offset, into, signal);
    const found = this.#changed.find(({ tensor }) => offset >= tensor.begin && offset < tensor.end);
    if (!found || into.length === 0) return;
    const { tensor, change } = found;
    const elementBytes = DTYPE_BYTES[tensor.dtype];
    const first = (offset - tensor.begin) / elementBytes;
    const count = into.length / elementBytes;
    const values = change.replacement
      ? await elements(change.replacement, first, count, signal)
      : (decode(tensor.dtype, into.slice()) as Float32Array);
    // The base's dtype first: that is what the replaced tensor has when the change is added.
    if (change.replacement) roundTo(tensor.dtype, values);
    if (change.lora) await this.#add(change.lora, tensor, values, first, signal);
    into.set(encode(tensor.dtype, values));
  }

  async close(): Promise<void> {
    this.#factors = undefined;
    const adapters = this.#changed.flatMap(({ change: { replacement, lora } }) => {
      return [replacement, lora?.a, lora?.b].flatMap((tensor) => tensor?.file ?? []);
    });
    await Promise.all([this.#base.close(), ...[...new Set(adapters)].map((file) => file.close())]);
  }

  async #add(
    lora: LowRank,
    { dtype, shape }: CheckpointTensor,
    values: Float32Array,
    first: number,
    signal?: AbortSignal,
  ) {
    const columns = shape.slice(1).reduce((product, size) => product * size, 1);
    const { left, right } = await this.#read(lora, shape[0], columns, signal);
    const { rank, kind } = lora;
    const scaling = Math.fround(lora.scaling);
    const sums = new Float64Array(columns);
    const delta = new Float32Array(columns);
    let sliceEnd = performance.now() + SLICE_MS;
    for (let at = 0; at < values.length; ) {
      const row = Math.floor((first + at) / columns);
      const from = (first + at) % columns;
      const count = Math.min(columns - from, values.length - at);
      sums.fill(0);
      for (let r = 0; r < rank; r += 4) addRanks(sums, left, right, row * rank, r, rank, from, from + count);
      for (let k = 0; k < columns; k++) delta[k] = Math.fround(sums[k]) * scaling;
      if (kind !== 'linear') roundTo(dtype, delta);
      for (let k = 0; k < count; k++) values[at + k] += delta[from + k];
      at += count;
      if (performance.now() < sliceEnd) continue;
      await turn();
      sliceEnd = performance.now() + SLICE_MS;
    }
  }

  /** left [N, r] and right [r, K], whose product is the change. */
  async #read(lora: LowRank, rows: number, columns: number, signal?: AbortSignal) {
    if (this.#factors?.of === lora) return this.#factors;
    const { a, b, rank, kind } = lora;
    const [valuesA, valuesB] = [await whole(a, signal), await whole(b, signal)];
    const [left, right] =
      kind === 'embedding'
        ? [transpose(valuesA, rank, rows), transpose(valuesB, columns, rank)]
        : [valuesB, valuesA];
    this.#factors = { of: lora, left, right };
    return this.#factors;
  }
}

/**
 * sums[k] += left[row + i]·right[i, k] for ranks i = r … r + 3 that there are, one after the other. Four at a time, so that a sum
 * is fetched and put back once for the four.
 */
function addRanks(
  sums: Float64Array,
  left: Float32Array,
  right: Float32Array,
  row: number,
  r: number,
  rank: number,
  from: number,
  to: number,
): void {
  const columns = sums.length;
  let at = r * columns + from;
  if (r + 4 > rank) {
    for (let i = r; i < rank; i++, at += columns) {
      const factor = left[row + i];
      for (let k = from, j = at; k < to; k++, j++) sums[k] += factor * right[j];
    }
    return;
  }
  const [a, b, c, d] = left.subarray(row + r, row + r + 4);
  for (let k = from; k < to; k++, at++) {
    const two = sums[k] + a * right[at] + b * right[at + columns];
    sums[k] = two + c * right[at + 2 * columns] + d * right[at + 3 * columns];
  }
}

function whole(tensor: CheckpointTensor, signal?: AbortSignal): Promise<Float32Array> {
  return elements(tensor, 0, (tensor.end - tensor.begin) / DTYPE_BYTES[tensor.dtype], signal);
}

async function elements(
  { file, dtype, begin }: CheckpointTensor,
  first: number,
  count: number,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const size = DTYPE_BYTES[dtype];
  const bytes = new Uint8Array(count * size);
  await file.source.read(begin + first * size, bytes, signal);
  return decode(dtype, bytes) as Float32Array;
}

function transpose(values: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) out[c * rows + r] = values[r * columns + c];
  }
  return out;
}

/** In place, to the nearest value of the dtype, ties to even. */
function roundTo(dtype: Dtype, values: Float32Array): void {
  if (dtype === 'F32') return;
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const round =
    dtype === 'BF16'
      ? (value: number) => toBfloat16(value) << 16
      : (value: number) => float16Bits(toFloat16(value));
  for (let i = 0; i < values.length; i++) bits[i] = round(values[i]);
}

function encode(dtype: Dtype, values: Float32Array): Uint8Array {
  if (dtype === 'F32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const out = new Uint16Array(values.length);
  const bits = dtype === 'BF16' ? toBfloat16 : toFloat16;
  for (let i = 0; i < out.length; i++) out[i] = bits(values[i]);
  return new Uint8Array(out.buffer);
}
