/** The two builds of the kernels, each in a memory of its own with guard zones round every area. */
import * as assert from 'uvu/assert';
import { KERNELS_RELAXED_WASM_BASE64, KERNELS_WASM_BASE64 } from '../../src/runtime/kernels.generated.js';
import type { Kernels } from '../../src/runtime/kernels.js';

const MEMORY_PAGES = 1024;
const GUARD_BYTES = 64;
const GUARD = 0xd7;

export class Build {
  readonly kernels: Kernels;
  readonly #memory = new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: 65536 });
  #top = 0;
  #guards: number[] = [];

  constructor(
    readonly name: 'plain' | 'relaxed',
    binary: BufferSource,
  ) {
    const instance = new WebAssembly.Instance(new WebAssembly.Module(binary), {
      env: { memory: this.#memory },
    });
    this.kernels = instance.exports as unknown as Kernels;
    this.reset();
  }

  get relaxed(): boolean {
    return this.name === 'relaxed';
  }

  /** Forgets all areas. */
  reset(): void {
    this.#top = (this.kernels as unknown as { heap_base(): number }).heap_base();
    this.#guards = [];
  }

  /** An area of so many bytes, 16-byte aligned, a guard zone before and behind. */
  area(bytes: number): Uint8Array<ArrayBuffer> {
    const from = (this.#guard(this.#top) + 15) & ~15;
    this.#top = this.#guard(from + bytes);
    assert.ok(this.#top <= this.#memory.buffer.byteLength, 'the test memory is too small');
    return new Uint8Array(this.#memory.buffer, from, bytes).fill(0xff);
  }

  floats(values: ArrayLike<number>): Float32Array<ArrayBuffer> {
    const area = this.area(4 * values.length);
    const floats = new Float32Array(area.buffer, area.byteOffset, values.length);
    floats.set(values);
    return floats;
  }

  checkGuards(context: string): void {
    for (const from of this.#guards) {
      const zone = new Uint8Array(this.#memory.buffer, from, GUARD_BYTES);
      if (!zone.every((byte) => byte === GUARD))
        assert.unreachable(`guard zone at ${from} written: ${context}`);
    }
  }

  #guard(from: number): number {
    new Uint8Array(this.#memory.buffer, from, GUARD_BYTES).fill(GUARD);
    this.#guards.push(from);
    return from + GUARD_BYTES;
  }
}

const binaryOf = (base64: string) => Uint8Array.from(Buffer.from(base64, 'base64'));
export const plain = new Build('plain', binaryOf(KERNELS_WASM_BASE64));

const relaxedBinary = binaryOf(KERNELS_RELAXED_WASM_BASE64);
/** Undefined where the engine takes no relaxed SIMD (Node 20). */
export const relaxed = WebAssembly.validate(relaxedBinary) ? new Build('relaxed', relaxedBinary) : undefined;
