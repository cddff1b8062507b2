/** Terms that are summed before their sum goes to the total: part of what every product's bits are. */
export const SUM_BLOCK: usize = 32;
/** k that are spread out and widened at a time; a multiple of SUM_BLOCK. Changes no bits. */
export const K_BLOCK: usize = 128;
/** Rows that are spread out for the tiles at a time; a multiple of the tile's four. Changes no bits. */
export const ROW_BLOCK: usize = 128;
/** The same for quantised products, whose tiles have up to four rows. Changes no bits. */
export const QUANT_ROW_BLOCK: usize = 128;
