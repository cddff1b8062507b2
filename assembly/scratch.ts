/**
 * The module's own memory: its constants, and behind them the scratch areas. Everything from `heap_base()` up belongs
 * to the runtime. (The areas are no `memory.data`, because the binary would carry their zeros.)
 */
import { K_BLOCK, ROW_BLOCK } from './blocks';

/** One K-block of one block of rows, each value four times. */
export const rowScratch: usize = (__heap_base + 63) & ~63;
/** One K-block of one panel widened to float32. */
export const panelScratch: usize = rowScratch + ROW_BLOCK * K_BLOCK * 16;
/** One 4 × 8 output tile, for edges where fewer are written. */
export const tileScratch: usize = panelScratch + K_BLOCK * 8 * 4;
/** The 8 biases that belong to it. */
export const biasScratch: usize = tileScratch + 4 * 8 * 4;

/** The first byte that the module does not use itself, 16-byte aligned. */
export function heap_base(): usize {
  return biasScratch + 8 * 4;
}
