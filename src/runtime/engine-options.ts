import { InputError, MemoryError } from '../errors.js';
import { hasRelaxedSimd } from './binaries.js';
import { availableThreads, canShareMemory } from './host-worker.js';

export interface EngineOptions {
  /** The most bytes the engine may take, at most 4 GiB. Default: 4 GiB. */
  maximumBytes?: number;
  /**
   * The kernels, compiled already (of the package's kernels.wasm or kernels-relaxed.wasm): for hosts that do not compile at
   * run time. Nothing is compiled then, and one thread computes. Default: the embedded binary, compiled once per process.
   */
  module?: WebAssembly.Module;
  /**
   * Kernels with relaxed SIMD (fused multiply-add, the 7-bit dot product): faster, but their bits depend on the processor.
   * true: them or an error; 'auto': them where the host has them. Default: false; with `module`, what that is.
   */
  relaxed?: boolean | 'auto';
  /**
   * Threads that compute; any number gives the same bits. The caller's is one of them and the others are workers; in a
   * browser's window more than 1 are all workers, and the caller's stays free. 'auto': as many as the host runs at once,
   * where it shares memory between threads; else 1. Default: 1.
   */
  threads?: number | 'auto';
}

/** Whether to take the relaxed build. @throws InputError where it is demanded and the host has no relaxed SIMD */
export function useRelaxed(wanted: boolean | 'auto' = false): boolean {
  if (wanted === false || hasRelaxedSimd()) return wanted !== false;
  if (wanted === 'auto') return false;
  throw new InputError({
    what: 'this host has no relaxed SIMD',
    where: 'relaxed',
    expected: "a newer WebAssembly engine (Node 22 or later), or relaxed: 'auto'",
    got: 'true',
  });
}

/** @throws InputError where the module that was given is not the build that was asked for */
export function checkRelaxed(isRelaxed: boolean, wanted: boolean | 'auto' | undefined): void {
  if (wanted === undefined || wanted === 'auto' || wanted === isRelaxed) return;
  throw new InputError({
    what: 'the module is another build',
    where: 'module',
    expected: wanted ? 'kernels-relaxed.wasm, or relaxed: false' : 'kernels.wasm, or relaxed: true',
    got: isRelaxed ? 'the build with relaxed SIMD' : 'the build without relaxed SIMD',
  });
}

/** More threads than this are a mistake. */
const MOST_THREADS = 64;

/** @throws InputError for a number that is none, or more than 1 where memory cannot be shared */
export async function threadCount(wanted: number | 'auto' = 1): Promise<number> {
  if (wanted === 'auto') return canShareMemory() ? Math.min(MOST_THREADS, await availableThreads()) : 1;
  const isCount = Number.isInteger(wanted) && wanted >= 1 && wanted <= MOST_THREADS;
  if (isCount && (wanted === 1 || canShareMemory())) return wanted;
  throw new InputError({
    what: isCount ? 'this host shares no memory between threads' : 'wrong value',
    where: 'threads',
    expected: isCount
      ? "1 or 'auto' (in a browser: a cross-origin isolated page)"
      : `'auto' or 1 … ${MOST_THREADS}`,
    got: String(wanted),
  });
}

/** The threads of a module that was given: it imports a memory that is not shared. @throws InputError */
export function oneThread(wanted: number | 'auto' = 1): number {
  if (wanted === 1 || wanted === 'auto') return 1;
  throw new InputError({
    what: 'a module that is compiled already computes with one thread',
    where: 'threads',
    expected: "1 or 'auto'",
    got: String(wanted),
  });
}

const PAGE_BYTES = 65536;
/** What the kernels say that they import. */
const MOST_PAGES = 65536;
const FEWEST_PAGES = 1024;

/**
 * A memory that may grow to `bytes`. Hosts reserve a shared one's maximum at once, and some refuse the largest: then it is
 * less.
 * @throws MemoryError
 */
export function newMemory(limit: number, shared: boolean): { memory: WebAssembly.Memory; bytes: number } {
  const initial = 16;
  if (!shared) {
    return { memory: new WebAssembly.Memory({ initial, maximum: MOST_PAGES }), bytes: limit };
  }
  const pages = Math.min(MOST_PAGES, Math.max(FEWEST_PAGES, Math.ceil(limit / PAGE_BYTES)));
  for (let maximum = pages; ; maximum = Math.floor(maximum / 2)) {
    try {
      const memory = new WebAssembly.Memory({ initial, maximum, shared });
      return { memory, bytes: maximum * PAGE_BYTES };
    } catch (error) {
      if (maximum / 2 >= FEWEST_PAGES) continue;
      const what = 'the host refused a shared memory';
      throw new MemoryError({ what, where: 'threads', expected: `${maximum} pages`, got: String(error) });
    }
  }
}
