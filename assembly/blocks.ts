/** Terms that are summed before their sum goes to the total: part of what every product's bits are. */
export const SUM_BLOCK: usize = 32;
/** k that are spread out and widened at a time; a multiple of SUM_BLOCK. Changes no bits. */
export const K_BLOCK: usize = 128;
/** The same as ROW_BLOCK for quantised products: a multiple of their tiles' rows. Changes no bits. */
export const QUANT_ROW_BLOCK: usize = ASC_FEATURE_RELAXED_SIMD ? 132 : 128;
/**
 * Rows of the largest tile. Changes no bits. Without a fused multiply-add a product needs a register of its own, and V8
 * 11 spills from 5 × 8 on; with it 6 × 8 fills the sixteen registers exactly (96 % of the ceiling, 4 × 8: 89 %).
 */
export const TILE_ROWS: usize = ASC_FEATURE_RELAXED_SIMD ? 6 : 4;
/** Rows that are spread out for the tiles at a time; a multiple of TILE_ROWS. Changes no bits. */
export const ROW_BLOCK: usize = 120;
/**
 * Panels that one row's products read side by side, far apart: the processor fetches some lines ahead of each stream,
 * and with two of them waits for memory whenever the arithmetic on what is there is done. Even: two panels share the
 * loads of the row. Changes no bits.
 */
export const STREAMS: usize = 6;
