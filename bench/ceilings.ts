import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import binaryen from 'binaryen';
import { root } from '../test/support/paths.js';
import { REGISTER_LOOPS, registerModule, stepOperations } from './registers.js';
import { time } from './timing.js';

const MIB = 2 ** 20;
export const STREAM_BYTES = 512 * MIB;
/** Steps of a register loop: 1 to 4 ms. */
const STEPS = 500_000;

/** bench/ceilings.wat, over a memory of the caller's. */
export interface Loops {
  /** Reads `bytes`, a multiple of 64, once. */
  load_sum(pointer: number, bytes: number): number;
  /** out[M][N] = a[M][K] · wᵀ with w row-major [N][K], one product at a time. */
  scalar_gemm(out: number, a: number, w: number, M: number, N: number, K: number): void;
  /** The same with w in bfloat16. */
  scalar_bf16_gemm(out: number, a: number, w: number, M: number, N: number, K: number): void;
}

export function loopsOver(memory: WebAssembly.Memory): Loops {
  const text = readFileSync(join(root, 'bench/ceilings.wat'), 'utf8');
  return instantiate(text, { env: { memory } }) as unknown as Loops;
}

/** Names of REGISTER_LOOPS. */
export type Arithmetic = 'multiply_add' | 'fused_multiply_add' | 'dot_i16' | 'dot_i7';

export const ARITHMETIC_NAMES: Readonly<Record<Arithmetic, string>> = {
  multiply_add: 'multiply and add in registers',
  fused_multiply_add: 'fused multiply-add in registers',
  dot_i16: 'int16 dot product in registers',
  dot_i7: '7-bit dot product in registers',
};

/**
 * What the machine allows WebAssembly SIMD at this moment, one thread. Clocks and neighbours change, so it is taken anew
 * beside every figure, and always as the best of several runs: a ceiling that was disturbed is none.
 */
export class Ceilings {
  #loops: Partial<Record<Arithmetic, (steps: number, x: number) => number>>;
  #stream: (() => void) | undefined;

  constructor() {
    const exact = REGISTER_LOOPS.filter(({ relaxed }) => !relaxed);
    const relaxed = REGISTER_LOOPS.filter((loop) => loop.relaxed);
    this.#loops = { ...instantiate(registerModule(exact)), ...instantiate(registerModule(relaxed)) };
    for (const loop of Object.values(this.#loops)) time(() => loop(STEPS, 0.5), { warm: 0.4 });
  }

  /** Whether this engine knows relaxed SIMD. */
  get relaxed(): boolean {
    return this.#loops.fused_multiply_add !== undefined;
  }

  /** G operations a second of products and sums in registers; undefined where the engine lacks them. */
  arithmetic(kind: Arithmetic): number | undefined {
    const loop = this.#loops[kind];
    return loop && operations(kind) / 1e9 / time(() => loop(STEPS, 0.5), { budget: 0.05 }).least;
  }

  /** The same over so many milliseconds as a whole. */
  rate(kind: Arithmetic, milliseconds: number): number | undefined {
    const loop = this.#loops[kind];
    if (!loop) return undefined;
    const started = performance.now();
    let done = 0;
    for (; performance.now() < started + milliseconds; done++) loop(STEPS, 0.5);
    return (done * operations(kind)) / 1e6 / (performance.now() - started);
  }

  /** GB/s of reading half a gibibyte, more than caches hold. */
  loadSum(): number {
    this.#stream ??= stream();
    return STREAM_BYTES / 1e9 / time(this.#stream, { budget: 0.2 }).least;
  }
}

/** Of one call of a register loop. */
function operations(kind: Arithmetic): number {
  return STEPS * stepOperations(REGISTER_LOOPS.find(({ name }) => name === kind)!);
}

/** Reads STREAM_BYTES of memory once. */
export function stream(): () => void {
  const memory = new WebAssembly.Memory({ initial: STREAM_BYTES / 65536 });
  new Float32Array(memory.buffer).fill(0.5);
  const { load_sum } = loopsOver(memory);
  return () => load_sum(0, STREAM_BYTES);
}

/** Assembles and instantiates a module; an engine that refuses it gives no exports. */
function instantiate(text: string, imports: WebAssembly.Imports = {}): WebAssembly.Exports {
  const parsed = binaryen.parseText(text);
  parsed.setFeatures(binaryen.Features.All);
  const binary = parsed.emitBinary() as BufferSource;
  parsed.dispose();
  if (!WebAssembly.validate(binary)) return {};
  return new WebAssembly.Instance(new WebAssembly.Module(binary), imports).exports;
}
