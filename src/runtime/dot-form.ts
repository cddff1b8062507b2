/**
 * Which form of the 7-bit dot product is the faster one here. The relaxed build has two with the same integers: engines turn the
 * one that adds sums of four (QUADS) into a single instruction where the processor and they know VPDPBUSD, and into five
 * elsewhere, where two instructions and an addition (PAIRS) are better. Nothing but the clock tells.
 */
import type { Kernels } from './kernels.js';

export const DOT_FORM_PAIRS = 0;
export const DOT_FORM_QUADS = 1;
export type DotForm = typeof DOT_FORM_PAIRS | typeof DOT_FORM_QUADS;

const MEMORY_PAGES = 16;
const MOST_PAGES = 65536;
/**
 * Rounds of 0.2 to 0.6 ms, long beside a browser's clock of 0.1 ms and short beside the times that other programs take a core for.
 * The first ones run unoptimised, in which the faster form is the faster one too.
 */
const ROUNDS = 12;
const CALLS = 8;
const TURNS = 10_000;

/**
 * Times both forms in turns, some 10 ms in all.
 *
 * @param module the relaxed build for unshared memory, compiled
 * @returns what to give to `set_dot_form` of every instance of it
 */
export function fasterDotForm(module: WebAssembly.Module): DotForm {
  const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: MOST_PAGES });
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const { dot_probe } = exports as unknown as Kernels;
  const least = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < ROUNDS; round++) {
    for (const form of [DOT_FORM_PAIRS, DOT_FORM_QUADS]) {
      const started = performance.now();
      for (let call = 0; call < CALLS; call++) dot_probe(form, TURNS);
      least[form] = Math.min(least[form]!, performance.now() - started);
    }
  }
  return least[DOT_FORM_QUADS]! < least[DOT_FORM_PAIRS]! ? DOT_FORM_QUADS : DOT_FORM_PAIRS;
}
