/**
 * Calls the WebAssembly kernels on their own, without the runtime over them: a memory, a bump allocator with guard zones
 * round every area, and float64 comparisons. Tests of `testBuilds` run for both builds of the kernels.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { KERNELS_RELAXED_WASM_BASE64, KERNELS_WASM_BASE64 } from '../../src/runtime/kernels.generated.js';
import type { Kernels } from '../../src/runtime/kernels.js';

const MEMORY_PAGES = 2048;
const GUARD_BYTES = 64;
const GUARD_WORD = 0xdeadbeef;

/** An instance in a memory of its own: where two builds keep their constants is the same place. */
interface Build {
  kernels: Kernels;
  memory: WebAssembly.Memory;
  heapBase: number;
}

function instantiate(base64: string): Build | undefined {
  const bytes = Uint8Array.from(Buffer.from(base64, 'base64'));
  if (!WebAssembly.validate(bytes)) return undefined;
  const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: 65536 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  return { kernels: exports as unknown as Kernels, memory, heapBase: (exports.heap_base as () => number)() };
}

const plain = instantiate(KERNELS_WASM_BASE64)!;
let relaxed: Build | undefined;

/** The kernels and the memory of the build that is tested now. */
export let { kernels, memory } = plain;
let { heapBase } = plain;

function use(build: Build): void {
  ({ kernels, memory, heapBase } = build);
  reset();
}

/** Whether the kernels tested now are those with relaxed SIMD. */
export function isRelaxed(): boolean {
  return kernels !== plain.kernels;
}

/** One test of the plain build, and one of the relaxed build where the engine has relaxed SIMD. */
export function testBuilds(title: string, body: () => void): void {
  test(title, body);
  testRelaxed(title, body);
}

/** A test of the relaxed build alone. */
export function testRelaxed(title: string, body: () => void): void {
  relaxed ??= instantiate(KERNELS_RELAXED_WASM_BASE64);
  const name = `relaxed build: ${title}`;
  if (!relaxed) {
    console.log(`SKIP ${name} (no relaxed SIMD)`);
    test.skip(name, () => {});
    return;
  }
  const build = relaxed;
  test(name, () => {
    use(build);
    try {
      body();
    } finally {
      use(plain);
    }
  });
}

/** An area of the memory. Assigning into the views writes what the kernels read. */
export interface Area {
  ptr: number;
  f32: Float32Array;
  i32: Int32Array;
  u32: Uint32Array;
  u16: Uint16Array;
}

let top = heapBase;
let guards: number[] = [];

/** Forgets all areas. */
export function reset(): void {
  top = heapBase;
  guards = [];
}

/** n elements of 4 bytes, 16-byte aligned (+ `offset` bytes), filled with `fill`, a guard zone before and behind. */
export function area(n: number, fill = Number.NaN, offset = 0): Area {
  const ptr = guard((top + 15) & ~15) + offset;
  const end = ptr + 4 * n;
  if (end + GUARD_BYTES > memory.buffer.byteLength) throw new Error('the test memory is too small');
  // Not aligned on purpose: the first byte behind the area is watched.
  top = guard(end);
  const at = (ptr + 3) & ~3;
  const views = {
    ptr,
    f32: new Float32Array(memory.buffer, at, n),
    i32: new Int32Array(memory.buffer, at, n),
    u32: new Uint32Array(memory.buffer, at, n),
    u16: new Uint16Array(memory.buffer, ptr, 2 * n),
  };
  views.f32.fill(fill);
  return views;
}

export function floats(values: ArrayLike<number>): Area {
  const a = area(values.length);
  a.f32.set(values);
  return a;
}

export function ints(values: ArrayLike<number>): Area {
  const a = area(values.length);
  a.i32.set(values);
  return a;
}

function guard(ptr: number): number {
  const from = (ptr + 3) & ~3;
  new Uint32Array(memory.buffer, from, GUARD_BYTES / 4).fill(GUARD_WORD);
  guards.push(from);
  return from + GUARD_BYTES;
}

/** Fails if anything round an area has been written to. */
export function checkGuards(context = ''): void {
  for (const from of guards) {
    const words = new Uint32Array(memory.buffer, from, GUARD_BYTES / 4);
    if (!words.every((word) => word === GUARD_WORD))
      assert.unreachable(`guard zone at ${from} written: ${context}`);
  }
}

/** A small deterministic generator (mulberry32); values in [0, 1). */
export function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** n float32 values, roughly normal, standard deviation `scale`. */
export function normals(n: number, seed: number, scale = 1): Float32Array {
  const next = random(seed);
  return Float32Array.from({ length: n }, () => (next() + next() + next() + next() - 2) * 1.732 * scale);
}

/** The bits of float32 values, for comparisons that must be exact. */
export function bits(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length).slice();
}

/** The distance between a float32 and the float64 truth in units of the float32's last place at the truth. */
export function ulps(got: number, truth: number): number {
  if (Object.is(got, truth) || got === truth) return 0;
  if (Number.isNaN(got) && Number.isNaN(truth)) return 0;
  const rounded = Math.fround(truth);
  if (!Number.isFinite(got) || !Number.isFinite(rounded))
    return got === rounded ? 0 : Number.POSITIVE_INFINITY;
  const exponent = Math.max(-126, Math.floor(Math.log2(Math.abs(truth) || 2 ** -149)));
  return Math.abs(got - truth) / 2 ** (exponent - 23);
}

/** Compares exactly, naming the first difference. */
export function sameBits(got: Float32Array, want: Float32Array, context: string): void {
  assert.is(got.length, want.length, context);
  const a = bits(got);
  const b = bits(want);
  const at = a.findIndex((word, i) => word !== b[i]);
  if (at >= 0) assert.unreachable(`${context}: index ${at}, expected ${want[at]}, got ${got[at]}`);
}
