import { DTYPE_BYTES } from '../checkpoint/dtypes.js';
import type { ExpectedTensor } from '../checkpoint/manifest.js';
import { SafetensorsFile, type TensorInfo } from '../checkpoint/safetensors.js';
import type { CheckpointTensor, Shards } from '../checkpoint/shards.js';
import type { ByteSource } from '../checkpoint/source.js';
import { turn } from '../runtime/steps.js';
import type { WeightDtype } from '../runtime/weight.js';
import { roundedBits } from './convert-weights.js';

/** How new weights are drawn (SmolVLMPreTrainedModel._init_weights). */
export interface RandomRules {
  /** An integer; the same one gives the same weights everywhere. */
  seed: number;
  dtype: WeightDtype;
  /** The standard deviation of a matrix's values, by its name. */
  deviation: (name: string) => number;
  /** The row of the token embedding that is zero; none where it is outside the vocabulary. */
  paddingRow: number | null;
}

/**
 * New weights in the form of a checkpoint's, counted as they are read: matrices and convolutions normal with mean 0, biases
 * 0, the weights of norms 1.
 *
 * Value i of a tensor is u·√(−2·ln s / s) with s = u² + v² (Marsaglia's polar method), the first of its attempts
 * a = 0, 1, … with 0 < s < 1. u and v are h / 2³¹ − 1 + 2⁻³² of the 32-bit hashes h of (S + i·0x9e3779b9), mixed as MurmurHash3
 * ends, with S = FNV-1a(name) ⊕ seed, plus 0x632be5ab·(2a + 1) for u and 0x632be5ab·(2a + 2) for v. Nothing of it depends
 * on the platform: ln is computed here.
 */
export function randomShards(expected: readonly ExpectedTensor[], rules: RandomRules): Shards {
  const source = new RandomSource(expected, rules);
  const infos = new Map(source.tensors.map((tensor) => [tensor.name, tensor]));
  const file = new SafetensorsFile(source, { metadata: new Map(), tensors: infos, fileBytes: source.size });
  const tensors = new Map<string, CheckpointTensor>();
  for (const info of source.tensors) tensors.set(info.name, { ...info, file });
  return { files: [file], tensors };
}

/** Values drawn between two looks at the clock: 2 ms. */
const STEP_VALUES = 1 << 15;

/** Gives the event loop a turn every 8 ms. */
class Turns {
  #sliceEnd = 0;

  async look(): Promise<void> {
    if (performance.now() < this.#sliceEnd) return;
    await turn();
    this.#sliceEnd = performance.now() + 8;
  }
}

class RandomSource implements ByteSource {
  readonly name = 'random weights';
  readonly tensors: readonly TensorInfo[];
  readonly size: number;
  #rules: RandomRules;
  #turns = new Turns();

  constructor(expected: readonly ExpectedTensor[], rules: RandomRules) {
    this.#rules = rules;
    let end = 0;
    this.tensors = expected.map(({ name, shape, N, K }) => {
      const begin = end;
      end += N * K * DTYPE_BYTES[rules.dtype];
      return { name, dtype: rules.dtype, shape, begin, end };
    });
    this.size = end;
  }

  /** Whole elements of one tensor, as the loader asks for them. */
  async read(offset: number, into: Uint8Array): Promise<void> {
    const { dtype } = this.#rules;
    const tensor = this.tensors.find(({ begin, end }) => offset >= begin && offset < end)!;
    const first = (offset - tensor.begin) / DTYPE_BYTES[dtype];
    const total = into.length / DTYPE_BYTES[dtype];
    for (let done = 0; done < total; done += STEP_VALUES) {
      const values = randomValues(tensor, first + done, Math.min(STEP_VALUES, total - done), this.#rules);
      const stored = dtype === 'F32' ? values : roundedBits(values, dtype);
      into.set(new Uint8Array(stored.buffer), done * DTYPE_BYTES[dtype]);
      await this.#turns.look();
    }
  }

  async close(): Promise<void> {}
}

function randomValues(
  { name, shape }: Pick<TensorInfo, 'name' | 'shape'>,
  first: number,
  count: number,
  { seed, deviation, paddingRow }: RandomRules,
): Float32Array {
  if (shape.length === 1) return new Float32Array(count).fill(name.endsWith('.bias') ? 0 : 1);
  const values = normalValues(name, seed, first, count, deviation(name));
  if (paddingRow === null || !name.endsWith('embed_tokens.weight')) return values;
  const row = paddingRow < 0 ? paddingRow + shape[0] : paddingRow;
  const begin = Math.max(0, row * shape[1] - first);
  if (row >= 0 && row < shape[0]) values.fill(0, begin, Math.max(0, (row + 1) * shape[1] - first));
  return values;
}

/** Values first … first + count − 1 of a name's normal numbers with this standard deviation. */
export function normalValues(
  name: string,
  seed: number,
  first: number,
  count: number,
  deviation: number,
): Float32Array {
  const own = fnv1a(name) ^ seed;
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) out[i] = deviation * normal(own, first + i);
  return out;
}

const STRIDE = 0x632be5ab;

function normal(seed: number, index: number): number {
  for (let lane = 1; ; lane += 2) {
    const u = unit(hash(seed + Math.imul(STRIDE, lane), index));
    const v = unit(hash(seed + Math.imul(STRIDE, lane + 1), index));
    const s = u * u + v * v;
    if (s > 0 && s < 1) return u * Math.sqrt((-2 * naturalLog(s)) / s);
  }
}

/** Evenly in −1 … 1, the ends and 0 left out. */
function unit(bits: number): number {
  return bits / 2 ** 31 - 1 + 2 ** -32;
}

function hash(seed: number, index: number): number {
  let x = (seed + Math.imul(index, 0x9e3779b9)) | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

function fnv1a(name: string): number {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) value = Math.imul(value ^ byte, 0x01000193);
  return value >>> 0;
}

const F64 = new Float64Array(1);
const U32 = new Uint32Array(F64.buffer);

/**
 * ln x for a normal x above 0, by +, −, ×, ÷ alone, whose results every engine shares (Math.log's differ): with x = m·2ᵉ,
 * √½ <= m < √2, ln m = 2·artanh z, z = (m − 1)/(m + 1), a series whose terms fall by 34 and more.
 */
function naturalLog(x: number): number {
  F64[0] = x;
  let exponent = (U32[1] >>> 20) - 1023;
  U32[1] = (U32[1] & 0xfffff) | (1023 << 20);
  let m = F64[0];
  if (m >= Math.SQRT2) {
    m /= 2;
    exponent++;
  }
  const z = (m - 1) / (m + 1);
  const square = z * z;
  let sum = 0;
  for (let k = 21; k > 0; k -= 2) sum = sum * square + 1 / k;
  return exponent * Math.LN2 + 2 * z * sum;
}
