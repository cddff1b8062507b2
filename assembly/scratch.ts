/**
 * The module's own memory: its constants, and the scratch areas of one instance. The areas lie behind the constants
 * until `set_scratch` moves them: instances that share a memory (one for each thread) each need their own. (They are no
 * `memory.data`, because the binary would carry their zeros.)
 */
import { K_BLOCK, ROW_BLOCK, TILE_ROWS } from './blocks';

const ROW_BYTES: usize = ROW_BLOCK * K_BLOCK * 16;
const PANEL_BYTES: usize = K_BLOCK * 8 * 4;
const TILE_BYTES: usize = TILE_ROWS * 8 * 4;
const BIAS_BYTES: usize = 8 * 4;
const SUM_BYTES: usize = 32 * 16;

const firstScratch: usize = (__heap_base + 63) & ~63;

/** One K-block of one block of rows, each value four times. */
export let rowScratch: usize = firstScratch;
/** One K-block of one panel widened to float32. */
export let panelScratch: usize = rowScratch + ROW_BYTES;
/** One output tile, for edges where fewer are written. */
export let tileScratch: usize = panelScratch + PANEL_BYTES;
/** The 8 biases that belong to it. */
export let biasScratch: usize = tileScratch + TILE_BYTES;
/** Sums and factors of the rows of a group in attention. */
export let sumScratch: usize = biasScratch + BIAS_BYTES;

/** The first byte that the module does not use itself, 16-byte aligned. */
export function heap_base(): usize {
  return firstScratch + scratch_bytes();
}

/** Bytes that an instance's scratch areas take. */
export function scratch_bytes(): usize {
  return ROW_BYTES + PANEL_BYTES + TILE_BYTES + BIAS_BYTES + SUM_BYTES;
}

/** Moves this instance's scratch areas to `base` (64-byte aligned, scratch_bytes long). */
export function set_scratch(base: usize): void {
  rowScratch = base;
  panelScratch = rowScratch + ROW_BYTES;
  tileScratch = panelScratch + PANEL_BYTES;
  biasScratch = tileScratch + TILE_BYTES;
  sumScratch = biasScratch + BIAS_BYTES;
}
