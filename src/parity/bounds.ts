/** The bounds of a parity verdict, each with its reason. test/tolerance.ts gives them on to the test suite. */

/** NMSE a tensor must hold against both its float64 and its float32 entry: five digits are right, far above chance. */
export const PARITY_NMSE_F32 = 1e-10;

/** Goldens whose reference itself ran in float16 (11 bits: (2⁻¹¹)² = 2.4e-7 for one rounding, some dozens of them). */
export const PARITY_NMSE_F16 = 1e-5;

/** The same in bfloat16 (8 bits: (2⁻⁸)² = 1.5e-5 for one rounding). */
export const PARITY_NMSE_BF16 = 1e-3;

/** Strict: our error against float64 over PyTorch's own float32 error. The aim is 1; two leaves room for chance. */
export const PARITY_STRICT_RATIO = 2;

/**
 * PyTorch's own error is taken as at least this times max|reference|, one unit in the last place of the largest value:
 * where it happens to be exact, its zero is no measure.
 */
export const PARITY_ERROR_FLOOR = 2 ** -23;

/** A float64 gap of the two best logits below which a greedy mismatch is a tie: float32 cannot tell them apart. */
export const TIE_GAP = 1e-5;
