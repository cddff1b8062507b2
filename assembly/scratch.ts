/**
 * The module's own memory: its constants, and the scratch areas of one instance. The areas lie behind the constants
 * until `set_scratch` moves them: instances that share a memory (one for each thread) each need their own. (They are no
 * `memory.data`, because the binary would carry their zeros.)
 */
import { K_BLOCK, QUANT_ROW_BLOCK, ROW_BLOCK, TILE_ROWS } from './blocks';
import { I4_BLOCK, I8_BLOCK } from './quant';

const ROW_BYTES: usize = ROW_BLOCK * K_BLOCK * 16;
const PANEL_BYTES: usize = K_BLOCK * 8 * 4;
const TILE_BYTES: usize = TILE_ROWS * 8 * 4;
const BIAS_BYTES: usize = 8 * 4;
const QUANT_TOTAL_BYTES: usize = QUANT_ROW_BLOCK * 8 * 4;
const QUANT_BLOCK_BYTES: usize = 8 * I4_BLOCK;
const SUM_BYTES: usize = 32 * 16;
const QUANT_WIDE_BYTES: usize = 16 * I8_BLOCK;

const firstScratch: usize = (__heap_base + 63) & ~63;

/** One K-block of one block of rows, each value four times. */
export let rowScratch: usize = firstScratch;
/** One K-block of one panel widened to float32. */
export let panelScratch: usize = rowScratch + ROW_BYTES;
/** One output tile, for edges where fewer are written. */
export let tileScratch: usize = panelScratch + PANEL_BYTES;
/** The 8 biases that belong to it. */
export let biasScratch: usize = tileScratch + TILE_BYTES;
/** The sums of one block of rows with one quantised panel, `[rows][8]`. */
export let quantTotals: usize = biasScratch + BIAS_BYTES;
/** One block of a panel of int4 as bytes. */
export let quantBlock: usize = quantTotals + QUANT_TOTAL_BYTES;
/** One block of a quantised panel as int16. */
export let quantWideBlock: usize = quantBlock + QUANT_BLOCK_BYTES;
/** Sums and factors of the rows of a group in attention. */
export let sumScratch: usize = quantWideBlock + QUANT_WIDE_BYTES;

/** The first byte that the module does not use itself, 16-byte aligned. */
export function heap_base(): usize {
  return firstScratch + scratch_bytes();
}

/** Bytes that an instance's scratch areas take. */
export function scratch_bytes(): usize {
  return sumScratch + SUM_BYTES - rowScratch;
}

/** Moves this instance's scratch areas to `base` (64-byte aligned, scratch_bytes long). */
export function set_scratch(base: usize): void {
  rowScratch = base;
  panelScratch = rowScratch + ROW_BYTES;
  tileScratch = panelScratch + PANEL_BYTES;
  biasScratch = tileScratch + TILE_BYTES;
  quantTotals = biasScratch + BIAS_BYTES;
  quantBlock = quantTotals + QUANT_TOTAL_BYTES;
  quantWideBlock = quantBlock + QUANT_BLOCK_BYTES;
  sumScratch = quantWideBlock + QUANT_WIDE_BYTES;
}
