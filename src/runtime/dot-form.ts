/**
 * Which form of the 7-bit dot product is the faster one here. The relaxed build has two with the same integers: engines turn the
 * one that adds sums of four (QUADS) into a single instruction where the processor and they know VPDPBUSD, and into five
 * elsewhere, where two instructions and an addition (PAIRS) are better. Nothing but the clock tells.
 */
import type { Kernels } from './kernels.js';
import { quantizedRowBytes } from './quantized-rows.js';
import { weightBytes } from './weight.js';

export const DOT_FORM_PAIRS = 0;
export const DOT_FORM_QUADS = 1;
export type DotForm = typeof DOT_FORM_PAIRS | typeof DOT_FORM_QUADS;

const PAGE_BYTES = 65536;
const M = 16;
const N = 64;
const K = 256;
/** Calls of 5 to 20 µs each, so that a round is long beside a browser's clock of 0.1 ms; the first rounds run unoptimised. */
const ROUNDS = 6;
const CALLS = 64;

/**
 * Times both forms in turns, 10 to 20 ms in all.
 *
 * @param module the relaxed build for unshared memory, compiled
 * @returns what to give to `set_dot_form` of every instance of it
 */
export function fasterDotForm(module: WebAssembly.Module): DotForm {
  const memory = new WebAssembly.Memory({ initial: 16, maximum: PAGE_BYTES });
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const kernels = exports as unknown as Kernels & { heap_base(): number };
  const x = (kernels.heap_base() + 63) & ~63;
  const rows = x + 4 * M * K;
  const weights = rows + M * quantizedRowBytes('I8', K);
  const out = weights + weightBytes('panel', 'I8', N, K);
  kernels.q_rows_i8w(rows, x, M, K, K);

  const least = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < ROUNDS; round++) {
    for (const form of [DOT_FORM_PAIRS, DOT_FORM_QUADS]) {
      kernels.set_dot_form(form);
      const started = performance.now();
      for (let call = 0; call < CALLS; call++) kernels.f32_i8w_gemm(out, rows, weights, 0, M, N, K, N);
      least[form] = Math.min(least[form]!, performance.now() - started);
    }
  }
  return least[DOT_FORM_QUADS]! < least[DOT_FORM_PAIRS]! ? DOT_FORM_QUADS : DOT_FORM_PAIRS;
}
