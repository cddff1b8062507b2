/**
 * Watches the calls of kernels from this thread, without any help of the library: WebAssembly instances hand out wrapped
 * exports from now on. Import it before the first engine is made; while nobody watches, a call costs one more function.
 */
import type { Kernels } from '../../src/runtime/kernels.js';

export type KernelName = keyof Kernels;

/** Called after each call of a kernel, with its arguments and how long it took. */
export type KernelListener = (name: KernelName, args: readonly number[], milliseconds: number) => void;

let listener: KernelListener | undefined;
const wrapped = new WeakMap<object, object>();

const { get: ownExports } = Object.getOwnPropertyDescriptor(WebAssembly.Instance.prototype, 'exports')!;
Object.defineProperty(WebAssembly.Instance.prototype, 'exports', {
  configurable: true,
  enumerable: true,
  get(this: WebAssembly.Instance) {
    const exports: WebAssembly.Exports = ownExports!.call(this);
    // Decoders are WebAssembly too.
    if (!('f32_f32w_gemm' in exports)) return exports;
    if (!wrapped.has(exports)) {
      wrapped.set(exports, Object.fromEntries(Object.entries(exports).map(wrap)));
    }
    return wrapped.get(exports);
  },
});

function wrap([name, value]: [string, unknown]): [string, unknown] {
  if (typeof value !== 'function') return [name, value];
  return [
    name,
    (...args: number[]) => {
      if (!listener) return value(...args);
      const started = performance.now();
      const result = value(...args);
      listener(name as KernelName, args, performance.now() - started);
      return result;
    },
  ];
}

/** Listens while `compute` runs. */
export async function watchKernels<T>(heard: KernelListener, compute: () => Promise<T>): Promise<T> {
  if (listener) throw new Error('somebody is listening already');
  listener = heard;
  try {
    return await compute();
  } finally {
    listener = undefined;
  }
}
