import { readFileSync } from 'node:fs';
import binaryen from 'binaryen';

const MIB = 2 ** 20;
const BYTES = 256 * MIB;

interface Exports {
  load_sum(pointer: number, bytes: number): number;
  multiply_add(steps: number, x: number): number;
}

/** What the machine allows WebAssembly SIMD at this moment: clocks and neighbours change, so it is taken anew each time. */
export class Ceilings {
  #exports: Exports;

  constructor() {
    const memory = new WebAssembly.Memory({ initial: BYTES / 65536 + 16 });
    new Float32Array(memory.buffer).fill(0.5);
    const module = binaryen.parseText(readFileSync('bench/ceilings.wat', 'utf8'));
    module.setFeatures(binaryen.Features.All);
    const binary = module.emitBinary() as BufferSource;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(binary), { env: { memory } });
    this.#exports = instance.exports as unknown as Exports;
  }

  /** GFLOP/s of products and sums in registers. */
  multiplyAdd(): number {
    return 96e-3 / best(() => this.#exports.multiply_add(1_000_000, 0.5));
  }

  /** GB/s of reading memory that no cache holds. */
  loadSum(): number {
    return BYTES / 1e9 / best(() => this.#exports.load_sum(MIB, BYTES - MIB));
  }
}

/** Seconds of the fastest of six calls. */
function best(call: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 6; i++) {
    const started = performance.now();
    call();
    least = Math.min(least, performance.now() - started);
  }
  return least / 1000;
}
