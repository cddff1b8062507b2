/**
 * The module's own static memory: everything below `heap_base()` belongs to it, everything above to the runtime.
 * The scratch addresses are reached through globals because globals are per instance: instances that share one memory
 * can be given scratch areas of their own.
 */

/** One K-block of one panel widened to float32: 128 × 8 values. */
export let panelScratch: usize = memory.data(128 * 8 * 4, 16);
/** One 4 × 8 output tile, for the last columns where fewer than 8 are written, and the 8 biases that belong to it. */
export let tileScratch: usize = memory.data(4 * 8 * 4, 16);
export let biasScratch: usize = memory.data(8 * 4, 16);

/** The first byte that the module does not use itself, 16-byte aligned. */
export function heap_base(): usize {
  return (__heap_base + 15) & ~15;
}
