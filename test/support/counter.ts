/**
 * Counter weights: the TypeScript twin of python/counter.py, bit for bit; the specification is in that file's docstring.
 * Checkpoints made so need no file: their tensors' bytes are computed where they are read.
 */
import { DTYPE_BYTES, toBfloat16, toFloat16 } from '../../src/checkpoint/dtypes.js';
import { CheckpointFolder } from '../../src/checkpoint/folder.js';
import { expectedTensors } from '../../src/checkpoint/manifest.js';
import type { ByteSource } from '../../src/checkpoint/source.js';
import { bytesSource } from '../../src/checkpoint/source.js';
import { parseConfig } from '../../src/model/config.js';

export type CounterDtype = 'F32' | 'F16' | 'BF16';

/** counter.json of a checkpoint folder without weights. */
export interface CounterOptions {
  dtype: CounterDtype;
  seed?: number;
}

/** FNV-1a, 32 bits. */
export function fnv1a(bytes: Uint8Array): number {
  let value = 0x811c9dc5;
  for (const byte of bytes) value = Math.imul(value ^ byte, 0x01000193);
  return value >>> 0;
}

/** The seed of a name's elements. */
function nameSeed(name: string, globalSeed: number): number {
  return (fnv1a(new TextEncoder().encode(name)) ^ globalSeed) >>> 0;
}

function hash(seed: number, i: number): number {
  let x = (seed + Math.imul(i, 0x9e3779b9)) | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** Scale and offset of a tensor's values, by its name and shape. */
export function counterRule(name: string, shape: readonly number[]): { scale: number; offset: number } {
  if (name.endsWith('.bias')) return { scale: 0.125, offset: 0 };
  if (shape.length === 1) return { scale: 0.25, offset: 1 };
  const scaled = (scale: number) => ({ scale: Math.fround(scale), offset: 0 });
  if (name.endsWith('embed_tokens.weight')) return scaled(Math.sqrt(3));
  if (name.endsWith('position_embedding.weight')) return scaled(0.5 * Math.sqrt(3));
  const fanIn = shape.slice(1).reduce((product, n) => product * n, 1);
  const isOutput = /(o_proj|out_proj)\.weight$/.test(name);
  const gain = name === 'lm_head.weight' ? 4 : isOutput ? 0.5 : 1;
  return scaled(gain * Math.sqrt(3 / fanIn));
}

/** Elements start … start + count − 1 as they are stored: float32, or the bits of F16 and BF16. */
export function counterValues(
  name: string,
  shape: readonly number[],
  { dtype, seed = 0 }: CounterOptions,
  start: number,
  count: number,
): Float32Array | Uint16Array {
  const { scale, offset } = counterRule(name, shape);
  const own = nameSeed(name, seed);
  const out = dtype === 'F32' ? new Float32Array(count) : new Uint16Array(count);
  const store = { F32: (x: number) => x, F16: toFloat16, BF16: toBfloat16 }[dtype];
  for (let i = 0; i < count; i++) {
    const unit = ((hash(own, start + i) >>> 8) - 8388608) / 8388608;
    const value = Math.fround(unit * scale);
    out[i] = store(offset === 0 ? value : Math.fround(value + offset));
  }
  return out;
}

/** Pixel values as the image processor makes them from the counter's bytes. */
export function counterPixels(count: number, name = 'inputs.pixel_values', seed = 0): Float32Array {
  const own = nameSeed(name, seed);
  const half = (p: number) => Math.fround(Math.fround(p - 0.5) / 0.5);
  return Float32Array.from({ length: count }, (_, i) => half(Math.fround((hash(own, i) >>> 24) * (1 / 255))));
}

/** A checkpoint folder of this config whose weights are counted as they are read. */
export function counterFolder(config: object, options: CounterOptions): CheckpointFolder {
  const text = new TextEncoder().encode(JSON.stringify(config));
  const weights = counterFile(config, options);
  const files: Record<string, () => ByteSource> = {
    'config.json': () => bytesSource(text, 'config.json'),
    'model.safetensors': () => weights,
  };
  return new CheckpointFolder({
    name: 'counter weights',
    describe: (file) => file,
    has: async (file) => Object.hasOwn(files, file),
    open: async (file) => files[file]?.(),
  });
}

/** model.safetensors of a config, its tensors in the manifest's order; bytes are computed where they are read. */
export function counterFile(config: object, options: CounterOptions): ByteSource & { readonly size: number } {
  return new CounterFile(config, options);
}

class CounterFile implements ByteSource {
  readonly name = 'model.safetensors';
  readonly size: number;
  #options: CounterOptions;
  #header: Uint8Array;
  #tensors: { name: string; shape: readonly number[]; begin: number; end: number }[] = [];

  constructor(config: object, options: CounterOptions) {
    this.#options = options;
    const header: Record<string, unknown> = {};
    let end = 0;
    for (const { name, shape } of expectedTensors(parseConfig(config)).tensors) {
      const begin = end;
      end += shape.reduce((product, n) => product * n, DTYPE_BYTES[options.dtype] as number);
      header[name] = { dtype: options.dtype, shape, data_offsets: [begin, end] };
      this.#tensors.push({ name, shape, begin, end });
    }
    const text = new TextEncoder().encode(JSON.stringify(header));
    this.#header = new Uint8Array(8 + text.length);
    this.#header.set(text, 8);
    new DataView(this.#header.buffer).setBigUint64(0, BigInt(text.length), true);
    this.size = this.#header.length + end;
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    into.set(this.#header.subarray(offset, offset + into.length));
    // From here on in bytes of the data part.
    const start = offset - this.#header.length;
    const elementBytes = DTYPE_BYTES[this.#options.dtype];
    for (const { name, shape, begin, end } of this.#tensors) {
      const from = Math.max(begin, start);
      const to = Math.min(end, start + into.length);
      if (from >= to) continue;
      const first = Math.floor((from - begin) / elementBytes);
      const last = Math.ceil((to - begin) / elementBytes);
      const values = counterValues(name, shape, this.#options, first, last - first);
      const skip = from - begin - first * elementBytes;
      into.set(new Uint8Array(values.buffer, skip, to - from), from - start);
    }
  }

  async close(): Promise<void> {}
}
