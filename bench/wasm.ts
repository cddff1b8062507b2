import { kernelsModule } from '../src/runtime/binaries.js';
import type { Kernels } from '../src/runtime/kernels.js';
import { type Loops, loopsOver } from './ceilings.js';

const MIB = 2 ** 20;

/** The kernels and the loops they are measured against, over one memory without an engine. */
export interface Bench {
  readonly kernels: Kernels;
  readonly memory: WebAssembly.Memory;
  readonly loops: Loops;
  /** The first byte that may be used: the kernels' own scratch lies before it. */
  readonly base: number;
  /** Bytes from `base` on. */
  readonly bytes: number;
  /** Fills `count` values of a dtype from a pointer on with numbers of ordinary size (denormals would be timed instead). */
  fill(pointer: number, count: number, dtype?: 'f32' | 'bf16' | 'f16'): void;
}

export async function openBench(mebibytes = 512, relaxed = false): Promise<Bench> {
  const memory = new WebAssembly.Memory({ initial: (mebibytes * MIB) / 65536, maximum: 65536 });
  const module = await kernelsModule(relaxed, false);
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const kernels = exports as unknown as Kernels & { heap_base(): number };
  const base = Math.ceil(kernels.heap_base() / MIB) * MIB;
  return {
    kernels,
    memory,
    loops: loopsOver(memory),
    base,
    bytes: mebibytes * MIB - base,
    fill(pointer, count, dtype = 'f32') {
      if (dtype === 'f32') fillFloats(new Float32Array(memory.buffer, pointer, count));
      else fillHalves(new Uint16Array(memory.buffer, pointer, count), dtype);
    },
  };
}

/** −0.1 … 0.1. */
function fillFloats(values: Float32Array): void {
  for (let i = 0; i < values.length; i++) values[i] = ((i * 7919) % 1000) / 5000 - 0.1;
}

/** Numbers of either sign: bf16 from 2⁻⁶ on, f16 from 2⁻⁴ on. */
function fillHalves(values: Uint16Array, dtype: 'bf16' | 'f16'): void {
  const start = dtype === 'bf16' ? 0x3c80 : 0x2c00;
  for (let i = 0; i < values.length; i++) values[i] = start + ((i * 7919) & 0xff) + ((i & 1) << 15);
}
