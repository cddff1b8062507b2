/** Every bound that a test compares against, with the reason for it. A comparison that fails prints what it compared. */

const EPS = 2 ** -24; // half a unit in the last place of 1: the error of one float32 rounding

// ---- kernels ------------------------------------------------------------------------------------------------------

/**
 * A product of K terms against float64: |error| <= bound · Σ|a||b|. Each term is rounded once as a product, once per
 * addition in its block of 32, and once per block: at most 1 + min(K, 32) + ceil(K/32) roundings, and the bias.
 */
export function productBound(K: number): number {
  return (2 + Math.min(K, 32) + Math.ceil(K / 32)) * EPS;
}

/**
 * The relative root mean square error of products of standard normal operands with float32 weights. Measured at
 * K = 768, 1536, 3072: 1.4e-7, 1.6e-7, 2.0e-7; PyTorch 2.13 has 2.6e-7 at each, one running sum at K = 3072 1.0e-6.
 */
export const PRODUCT_RMS = 2.3e-7;

/**
 * Attention over integer pages takes q in steps of norm/32767: half a step for each term of a score, and the rounding of
 * the scale.
 */
export const QUANTISED_KEY_STEP = 0.501 / 32767;

/** Probabilities of attention over integer pages: a polynomial of relative error 2.6e-6, and float32 sums over a page. */
export const INT_EXP_RELATIVE = 5e-6;

/** Probabilities over smoothed pages: a polynomial of relative error 7.5e-5, a power of two of 2.6e-6 between pages. */
export const SMOOTH_EXP_RELATIVE = 9e-5;

/**
 * A query against smoothed keys: half a step of its largest channel over 63, or 8191 where 7 bits would change its scores by
 * more than 0.05 powers of two (root mean square over the keys, an error of 1/√12 steps).
 */
export const SMOOTH_QUERY_STEP = { coarse: 0.501 / 63, fine: 0.501 / 8191 };
export const SMOOTH_QUERY_NOISE = 0.05;

/**
 * Probabilities over smoothed pages: half a step of the page's largest over 16317, or half of 128 such steps where the page's
 * units allow it: a square of 5e-4 / 6.62e-4 / pages of what the output's square is at least.
 */
export const SMOOTH_STEP = { coarse: 64.5 / 16317, fine: 0.501 / 16317 };
export const SMOOTH_UNIT = 5e-4 / 6.62e-4;

/**
 * NMSE of attention over smoothed pages against float64 on normal keys and values, 200 or 1024 keys: queries of deviation 0.3, 1,
 * 3 and 6 (measured 1.1e-4, 2.8e-4, 4.2e-4, 2.6e-4 at most), with a common part of 12 in some channels of the keys (2.8e-4), of
 * 8 in some of the queries (1.3e-4), of both in the same ones (6.9e-4). The two limits of noise above allow 1.2e-3 and 5e-4.
 */
export const SMOOTH_NMSE = 1e-3;

/** LayerNorm and RMSNorm are computed in float64 and rounded once: half an ulp, and the float64 errors beside it. */
export const NORM_ULPS = 0.501;

/** Activations are float64 with polynomials of relative error under 4e-10 (SELU near 0), some thousandths of an ulp, rounded once. */
export const ACTIVATION_ULPS = 0.505;

/** silu(gate)·up rounds twice: half an ulp each, the first scaled up to twice by the product's place in its binade. */
export const SILU_MUL_ULPS = 1.51;

/**
 * Softmax: x − max is rounded (a relative error of |x − max|·2⁻²⁴ in the exponential, taken out by the test, which forms
 * the same difference), the float32 exponential is off by up to 1 ulp, the rounded sum and the quotient by half of one
 * each; the ulps of a quotient may be half as large as those of its parts.
 */
export const SOFTMAX_ULPS = 2.5;

/** The rotary table: float64 cos and sin rounded to float32 (the last digits of float64 leave a trifle). */
export const ROPE_TABLE_ULPS = 0.501;

/**
 * inv_freq beside PyTorch's: its float32 power is off by one unit at times (4 of 400 values, depending on the CPU), and the
 * reciprocal's units may be half as large.
 */
export const ROPE_INV_FREQ_ULPS = 2;

/** The reference's float32 library calls may be off by one unit in the last place, ours are not: both sides together. */
export const ROPE_GOLDEN_ULPS = 1.5;

/** Rotation: two products and a sum, |error| <= 2·EPS·(|x·cos| + |y·sin|), and half an ulp more for the sum. */
export const ROPE_EPS = 2 * EPS;

/** −log softmax in float64, relative to the largest logit's size: additions of n <= 50000 terms and one exp and log. */
export const CROSS_ENTROPY_RELATIVE = 1e-12;

// ---- parity with the reference (smolvlm-golden/1) -------------------------------------------------------------------

// The command needs them too, so they stand in src/parity/bounds.ts, each with its reason.
export {
  PARITY_ERROR_FLOOR,
  PARITY_NMSE_BF16,
  PARITY_NMSE_F16,
  PARITY_NMSE_F32,
  PARITY_STRICT_RATIO,
  TIE_GAP,
} from '../src/parity/bounds.js';

/** Share of all goldens' tensors that may exceed the strict ratio: the largest of a few hundred errors is partly chance. */
export const PARITY_STRICT_SHARE = 0.05;

// ---- generation ----------------------------------------------------------------------------------------------------

/** Scores through processors, float64 against PyTorch's float32, relative to the score where it is above 1. */
export const PROCESSED_SCORE_ERROR = 1e-6;

/**
 * Logits of two float32 forward passes of the tiny models, and what is made of them. Measured: 7e-6 at most, where logits
 * are of size 1; PyTorch's own error beside float64 is as large.
 */
export const GENERATION_SCORE_ERROR = 2e-5;

// ---- the public classes ---------------------------------------------------------------------------------------------

/** The loss against float64, relative: a mean over few tokens of values whose logits hold NMSE 1e-10 and better. */
export const LOSS_RELATIVE = 1e-6;

/** New rows of a resized embedding are the old ones' mean; the reference adds noise of 3.2e-5 deviations of about 1 (5 of them). */
export const RESIZED_NOISE = 2.5e-4;

/** Sums of up to 50000 float64 exponentials, their logarithm and powers, relative to the result where it is above 1. */
export const SAMPLING_RELATIVE = 1e-12;

/**
 * A weight with an adapter merged in, against peft's: torch sums the low-rank product in float32, here it is float64 rounded
 * once, so the change's last bits may differ. In float32 as a share of the tensor's largest value (a few float32 steps of the
 * largest sum); in half precision as a share of the value itself, one step of the dtype, where a tie fell the other way.
 */
export const MERGED_RELATIVE = { F32: 2.5e-7, F16: 2 ** -10, BF16: 2 ** -7 } as const;

/** The share of merged weights that may differ at all: in half precision next to none. */
export const MERGED_DIFFERENT_SHARE = { F32: 0.2, F16: 0.002, BF16: 0.002 } as const;

// ---- quantised weights ------------------------------------------------------------------------------------------------

/**
 * Root mean square error of quantised weights above that of the best bfloat16 scale of every block, found by trying all:
 * measured 4.1 % in 8 bits (6 scales are tried there), on normal and on Student-t weights. In 4 bits above that of the best
 * of 800 roundings with their least-squares scale and minimum: measured 1.7 % (6 tried).
 */
export const QUANTISED_SEARCH_LOSS = { 8: 0.09, 4: 0.03 };

/**
 * NMSE of the states of the embedded checkpoint's vision transformer with int8 weights beside float32's. Measured on 60 pictures,
 * median and worst: 5.5e-5 and 8.4e-5; relaxed 1.9e-4 and 2.8e-4 (1.8e-4 and 2.7e-4 with attention in int16).
 */
export const INT8_STATES_NMSE = { plain: 1.2e-4, relaxed: 3.5e-4 } as const;

/** A row of attention probabilities in float32, each rounded a few times. */
export const PROBABILITIES_SUM = 2e-6;

// ---- guards of speed ---------------------------------------------------------------------------------------------------

/**
 * How much a prompt's attention may compute beyond the causal triangle: rows are taken in strips, and a strip sees the keys of
 * its last row. A strip of s rows costs s/S more of S tokens; at 640 tokens, strips of 32 make 0.05.
 */
export const CAUSAL_STRIP_SHARE = 0.1;

/** Typed arrays (views of wasm memory, mostly) that a generated token makes in a model of two layers; measured: 18. */
export const TOKEN_ARRAYS = 40;

/** Bytes of new buffers that a generated token makes beside its scores; measured: 29. */
export const TOKEN_BUFFER_BYTES = 1024;

/**
 * Bytes of garbage that a generated token leaves on the heap in a model of two layers. Measured: 43 KB (V8 11 and V8 14); the
 * engines' own objects differ, hence nearly twice that.
 */
export const TOKEN_GARBAGE_BYTES = 80_000;

/** The same of a layer more, whose ten kernel calls are those of the token before. Measured: 2.0 KB (1.7); made anew they left 30. */
export const LAYER_GARBAGE_BYTES = 4_000;

/** What 100 tokens may leave for good: code and feedback of the engine. Their scores alone would be 400 KB. */
export const KEPT_BYTES = 65_536;

/**
 * Ratios of speed within one process. A busy machine takes time from either side, so each side is the fastest of several
 * calls of some milliseconds, the two are measured one right after the other, and an attempt that falls short is made again:
 * a kernel that is really slow falls short every time, a neighbour does not spoil forty attempts in a row. (Beside arithmetic in
 * registers, which no neighbour's use of the caches slows, a product fell to 0.27 at a load of 10 on two cores, from 0.9: no
 * guard is made of that.)
 */
export const RATIO_ATTEMPTS = 40;

/** Measured: 8.8 to 16 on V8 11 and 14, Zen 4 and Emerald Rapids. Without vectors it would be 1 to 2. */
export const GEMM_OVER_SCALAR = 4;

/** Measured on Emerald Rapids: 6.8 to 8.5. */
export const GEMV_BF16_OVER_SCALAR = 2;

/**
 * Measured: 0.62 to 0.78. The loop only adds up what it loads, so no product reaches 1; neighbouring panels read side by side,
 * or a second pass over the weights, come to half or less.
 */
export const GEMV_OF_LOAD_SUM = 0.25;

/** Measured on Emerald Rapids: 6.9 to 10, the softmax included on one side only. */
export const ATTENTION_OVER_SCALAR = 2;

/** Measured, the row's quantising included: 15 to 24 for int8 and for int4, beside a bfloat16 loop of as many products. */
export const GEMV_QUANTISED_OVER_SCALAR = 4;

/** Four bits take more instructions a byte than anything else: half of what int8 reaches where caches hold the weights. */
export const GEMV_INT4_OF_LOAD_SUM = 0.12;

/** Points of 100 that the embedded checkpoint's exact answers may lose against float32's (195 of the 200 committed pictures; int8 195, int4 194). */
export const QUANTISED_EXACT_POINTS = { int8: 1, int4: 3 };

/**
 * Memory after 300 requests beside that after the first 120: a request that leaked a picture's tokens (0.3 MB) or more would
 * be 50 MB away, on 100. V8's code and feedback still grow by 3 % in that time, with and without cancelled requests.
 */
export const SOAK_GROWTH = 0.05;

/** Multiply-adds of one kernel call at most, with room: calls are cut at 8e7, 3 to 12 ms, which with a slice of 6 ms keep the promise of 20. */
export const STEP_MACS = 1e8;

/** Kernel calls between two pauses of a run: norms, rotations and sums go with the product behind them. */
export const STEP_CALLS = 24;

/** Runs after which a wake-up that could be lost would have been: one in a few hundred was, in a draft that lost them. */
export const CALLER_SOAK_RUNS = 3000;

/** Values that processing touches between two turns of the event loop: a few milliseconds of its slowest loops. */
export const VALUES_BETWEEN_TURNS = 1 << 18;
