/**
 * The one registry of kernels: every function that the WebAssembly module exports, with its arguments.
 *
 * Conventions. A pointer is a byte offset into the one linear memory, 16-byte aligned unless said otherwise; 0 stands
 * for "none" where a pointer is optional. Sizes count elements. `ld…` is the distance in elements between two rows.
 * Everything is float32 unless the name or the argument says otherwise. No kernel allocates, and none reads or writes
 * beyond the sizes given. Inputs must not overlap outputs except where "in place" is said.
 *
 * Panels. A weight matrix W of N rows (outputs) and K columns is stored as `[ceil(N/8)][K][8]`: eight outputs side by
 * side for each k, the last panel filled up with zeros. `panelK` is the number of k rows that a stored panel has; a call
 * may use fewer (K <= panelK).
 *
 * Reductions. Every matrix product adds its terms in order of k within blocks of 32, and the blocks' sums in order:
 * the same in every tile and for every M, so a row's result does not depend on what is computed beside it. Norms and
 * softmax sums accumulate in float64.
 *
 * Quantised operands. W of N rows and K columns is stored in panels of 8 outputs, a run of block records of 64 k, in 4 bits of
 * 32 (k past K hold q = 0), with one bfloat16 scale, in 4 bits also a minimum, per output and block:
 *   I8, 528 bytes, weight = scale · q: 8 scales, then for each of 16 groups of 4 k: 2 halves × `[4 outputs][4 k]` int8,
 *   −127 … 127;
 *   I4, 160 bytes, weight = scale · q + minimum: 8 scales, 8 minimums, then for each of 8 groups of 4 k:
 *   `[4 outputs][4 k]` bytes, q = 0 … 15 of output o (0..3) in the low nibble, of output o + 4 in the high one.
 * Rows of `a` are quantised by q_rows_…, block by block with a float32 scale: to integers of 16 bits, for I4 of 8, for
 * I8 in the relaxed build of 7 bits plus an offset, or of 14 in a block that would otherwise make more than half of its row's
 * noise (which is its (max − min)², that of the k with k mod 4 < 2 or of the others if it is larger). How they lie in memory is
 * the build's own matter. out = Σ over the blocks, in order, of f32(Σ q·a) · (scale of w · scale of a), in 4 bits of that plus
 * minimum · (scale of a · f32(Σ a)), then + bias, each operation rounded to float32; Σ q·a and Σ a are exact integers. So M,
 * and splits of rows or of panels, change no bits; nor does the processor.
 */
export interface Kernels {
  // ---- matrix products: out[M][N] = a[M][K] · Wᵀ (+ bias[N]) ----------------------------------------------------
  /** `accumulate` 1: out's present values are the sum that the blocks' sums are added to (bias is then not allowed). */
  f32_f32w_gemm: Gemm;
  /** Weights in bfloat16, widened exactly. */
  f32_bf16w_gemm: Gemm;
  /** Weights in IEEE float16, widened exactly (subnormals, infinities and NaN included). */
  f32_f16w_gemm: Gemm;

  // ---- products with quantised weights, see "Quantised operands" above -------------------------------------------
  /**
   * M rows of K values, `lda` apart, quantised for f32_i8w_gemm: quantizedRowBytes each, one after the other. A
   * block with a value that is not finite makes its row's products NaN; a block of values under 2⁻¹⁰⁰ is zero.
   */
  q_rows_i8w(out: number, x: number, M: number, K: number, lda: number): void;
  /** The same with every block in 14 bits in the relaxed build; the plain one makes no difference. */
  q_rows_i8w_fine(out: number, x: number, M: number, K: number, lda: number): void;
  /** The same for f32_i4w_gemm: quantizedRowBytes each. */
  q_rows_i4w(out: number, x: number, M: number, K: number, lda: number): void;
  /**
   * A step and the quantising of its rows in one: the bits of f32_layer_norm (rms_norm, gelu_tanh, silu_mul) over `rows` rows
   * of n, followed by the kernel of q_rows_… that `form` (ROW_FORMS) says. With a `branch` x becomes x + branch, as there. No
   * float32 result is written: it is in the kernels' scratch a row at a time. n <= FUSED_MOST_K.
   */
  q_rows_layer_norm(
    out: number,
    x: number,
    weight: number,
    bias: number,
    rows: number,
    n: number,
    eps: number,
    branch: number,
    form: number,
  ): void;
  q_rows_rms_norm(
    out: number,
    x: number,
    weight: number,
    rows: number,
    n: number,
    eps: number,
    branch: number,
    form: number,
  ): void;
  q_rows_gelu_tanh(out: number, x: number, rows: number, n: number, form: number): void;
  q_rows_silu_mul(out: number, gate: number, up: number, rows: number, n: number, form: number): void;
  /** Weights in panels of int8; qa from q_rows_i8w. */
  f32_i8w_gemm: QuantizedGemm;
  /** Weights in panels of int4; qa from q_rows_i4w. */
  f32_i4w_gemm: QuantizedGemm;
  /** One row x, quantised on the way as q_rows_i8w does: the bits of both kernels one after the other. K <= GEMV_MOST_K. */
  f32_i8w_gemv: QuantizedGemv;
  /** The same as q_rows_i8w_fine does. */
  f32_i8w_fine_gemv: QuantizedGemv;
  f32_i4w_gemv: QuantizedGemv;
  /** out[i] = row ids[i] of a quantised matrix with K columns: scale · q, exact; + minimum, rounded; ids int32, each in range. */
  f32_i8w_gather(out: number, w: number, ids: number, count: number, K: number): void;
  f32_i4w_gather(out: number, w: number, ids: number, count: number, K: number): void;
  /**
   * Which instructions this instance of the relaxed build multiplies bytes with: DOT_FORM_PAIRS or DOT_FORM_QUADS. No
   * result depends on it, only the speed (see dot-form.ts). The plain build has one form and takes no notice.
   */
  set_dot_form(form: number): void;
  /** Computes 8 · turns of that product in a form, for the clock; 0 in the plain build. */
  dot_probe(form: number, turns: number): number;

  // ---- panels ---------------------------------------------------------------------------------------------------
  /** One panel `[K][8]` of 4-byte elements from `rows` (1..8) rows of K elements, row r at src + 4·r·ld (src of any alignment). */
  panel8_pack_32(out: number, src: number, rows: number, K: number, ld: number): void;
  /** The same for 2-byte elements. */
  panel8_pack_16(out: number, src: number, rows: number, K: number, ld: number): void;
  /** out[i] = row ids[i] of a panelled matrix with K columns; ids int32, each in range (the caller has checked). */
  f32_f32w_gather(out: number, w: number, ids: number, count: number, K: number): void;
  f32_bf16w_gather(out: number, w: number, ids: number, count: number, K: number): void;
  f32_f16w_gather(out: number, w: number, ids: number, count: number, K: number): void;
  /** n contiguous bfloat16 / float16 values (src of any alignment) to float32, exact. */
  f32_bf16_unpack(out: number, src: number, n: number): void;
  f32_f16_unpack(out: number, src: number, n: number): void;

  // ---- quantised panels -------------------------------------------------------------------------------------------
  /**
   * One panel in 8 or 4 bits from `rows` (1..8) rows of K float32, bfloat16 or float16 values, row r `ld` elements after
   * row r − 1 (aligned to their size). A panel is ceil(K/32) records, one for every 32 columns; columns past K and rows past
   * `rows` are zeros. The records: see "Quantised operands". Scale (never negative) and minimum are those that leave the least
   * squared error among the roundings tried (assembly/quantize_scale.ts). In 4 bits a block that lies on a grid
   * scale · q + minimum of bfloat16 numbers, with a 0 and a 15 among its q, is given back exactly. A row of a block whose
   * magnitudes are all under 2^−100 becomes zeros.
   * @returns −1; or r·K + k of a weight that is not finite or not below 2^127 (in 4 bits 2^126) in magnitude, and the panel
   * is unfinished.
   */
  i8_f32_pack: QuantisedPack;
  i8_bf16_pack: QuantisedPack;
  i8_f16_pack: QuantisedPack;
  i4_f32_pack: QuantisedPack;
  i4_bf16_pack: QuantisedPack;
  i4_f16_pack: QuantisedPack;
  /**
   * The values of the same panels from rows that are quantised already, as a file holds them (of any alignment): int8
   * `[rows][K]`, or nibbles `[rows][ceil(K/2)]` (an even k in the low half). Scales and minimums stay what they are.
   * @returns −1; or r·K + k of a q of −128: unfinished then.
   */
  i8_repack(out: number, q: number, rows: number, K: number): number;
  i4_repack(out: number, q: number, rows: number, K: number): number;
  /** The values of the first `rows` rows of a panel as a file holds them; the last nibble of an odd K is 0. */
  i8_unpack_rows(q: number, panel: number, rows: number, K: number): void;
  i4_unpack_rows(q: number, panel: number, rows: number, K: number): void;
  /**
   * The scales alone of a panel of `blocks` records of `record` bytes, from and to rows as a file holds them,
   * `[rows][blocks]` (of any alignment). With the panel's pointer + 16 (8-aligned is enough) the minimums.
   * @returns −1; or r·blocks + block of the first one that is not finite: unfinished then.
   */
  panel8_put_scales(out: number, src: number, rows: number, blocks: number, record: number): number;
  panel8_take_scales(out: number, panel: number, rows: number, blocks: number, record: number): void;

  // ---- norms: rows of n. With a `branch` x first becomes x + branch, the bits of f32_add; out may be x or branch -----
  /** (x − mean) / √(var + eps) · weight + bias, mean and (biased) variance in float64. */
  f32_layer_norm(
    out: number,
    x: number,
    weight: number,
    bias: number,
    rows: number,
    n: number,
    eps: number,
    branch: number,
  ): void;
  /** x / √(mean(x²) + eps) · weight, the mean in float64. */
  f32_rms_norm(
    out: number,
    x: number,
    weight: number,
    rows: number,
    n: number,
    eps: number,
    branch: number,
  ): void;

  // ---- elementwise, n values, in place allowed --------------------------------------------------------------------
  f32_add(out: number, a: number, b: number, n: number): void;
  f32_mul(out: number, a: number, b: number, n: number): void;
  /** 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))). */
  f32_gelu_tanh(out: number, x: number, n: number): void;
  /** 0.5·x·(1 + erf(x/√2)). */
  f32_gelu_erf(out: number, x: number, n: number): void;
  /** x·σ(1.702·x). */
  f32_gelu_quick(out: number, x: number, n: number): void;
  f32_relu(out: number, x: number, n: number): void;
  f32_selu(out: number, x: number, n: number): void;
  /** x·σ(x). */
  f32_silu(out: number, x: number, n: number): void;
  /** silu(gate)·up. The same bits as f32_silu followed by f32_mul. */
  f32_silu_mul(out: number, gate: number, up: number, n: number): void;

  // ---- attention ---------------------------------------------------------------------------------------------------
  /**
   * Keys and values live in pages of 128 keys for one key/value head (bytes of a page: pageBytes in pages.ts): K as panels
   * over keys `[16][headDim][8]`, then V as panels over channels `[ceil(headDim/8)][128][8]`. `pages` points to uint32 page
   * addresses. Writes `count` keys, key j going to key index start + j, read from row (indices ? indices[j] : j) of k and v
   * (`headDim` contiguous values at row stride ldk / ldv); the same for each of `heads` heads, whose values follow each other in
   * a row, and whose page lists of `pageCount` addresses do. Channels past headDim in the last V panel are written as 0.
   */
  f32_kv_write: KvWrite;
  /** The same rounded to bfloat16, to nearest, ties to even. */
  bf16_kv_write: KvWrite;
  /**
   * int8 with a scale for each key and each value, max|x|/127, x/scale to nearest: K as `[16][ceil(headDim/2)][8][2]` (pairs
   * of channels side by side), V as `[ceil(headDim/8)][64][8][2]` (pairs of keys), then 128 float32 scales of K and of V.
   */
  i8_kv_write: KvWrite;
  /** The same in int16; the scale of a key is its norm/32767, that of a value max|x|/32767. */
  i16_kv_write: KvWrite;
  /**
   * One head: out[r] = softmax(scale · q[r]·Kᵀ) · V over the keys 0 … n(r)−1, where n(r) = keys if causalStart < 0, else
   * min(keys, causalStart + r + 1); a row with n(r) = 0 gives zeros; scale >= 0. `probs` is scratch of
   * rows × ceil(keys/128)·128 values and holds the probabilities afterwards (0 from n(r) up to keys rounded up to 8; what
   * lies beyond is undefined). In decoding, the query heads of one key/value head are rows with ldq = ldo = headDim. The same
   * for each of `heads` heads, whose rows follow each other and whose page lists of `pageCount` addresses do; `probs` is used
   * for one after the other.
   */
  f32_attention: Attention;
  /** Over pages of bfloat16, widened exactly. */
  f32_bf16kv_attention: Attention;
  /**
   * Over pages of int8: q to int16 by its norm (max error norm/65534), each page's probabilities times the values' scales to
   * int16 by their largest (max error largest/65534), both products exact in int32.
   */
  f32_i8kv_attention: Attention;
  /** Over pages of int16; the probabilities' scale also keeps their sum over a page under 65536 (max error sum/130942). */
  f32_i16kv_attention: Attention;
  /**
   * Relaxed build only (the plain one's traps), start 0 and headDim <= 128: all keys and values of each head, in int8 less their
   * mean over all of them, which changes no softmax and is added to the mixture. K as `[16][ceil(headDim/4)][8][4]` (four
   * channels side by side), V as `[ceil(headDim/8)][32][8][4]` (four keys), 128 float32 scales of K, max|k − mean|/127, 128
   * int32 −64·Σ of a key's integers, the scales of V's channels in this page, max|v − mean|/127; and in a head's first page the means
   * of V's channels, √(mean ‖k − mean‖²), and 0, or NaN where a key is not finite.
   */
  s8_kv_write: KvWrite;
  /**
   * Over such pages, in bytes for the 7-bit dot product: a query in 7 bits where that changes its scores by at most 0.05 powers
   * of two in the mean (by its largest channel and the keys' size), else in 14 (below 1e-34 it is 0); a page's probabilities to
   * 14 bits by their largest, or 7 where that adds at most 5e-4 to the square of the output's error in parts of the output's
   * own, values taken as independent. Sums are exact; where every row sees all keys, a row's result depends on that row alone. `probs` is scratch only.
   */
  f32_s8kv_attention: Attention;
  /** The same bits, and the probabilities as they were used at `probs`, which is twice as long. */
  f32_s8kv_attention_probs: Attention;
  /** In place: softmax over the first n of each row's ld values. Rows of −Infinity only are not allowed. */
  f32_softmax(x: number, rows: number, n: number, ld: number): void;

  // ---- rotary embedding ----------------------------------------------------------------------------------------------
  /** inv_freq[i] = 1 / theta^(2i/dim), i < dim/2: i/d, the power and the reciprocal each rounded to float32. */
  f32_rope_inv_freq(out: number, dim: number, theta: number): void;
  /** cos and sin `[tokens][dim]` (both halves equal) of the float32 product position·inv_freq; positions int32. */
  f32_rope_table(
    cos: number,
    sin: number,
    positions: number,
    invFreq: number,
    tokens: number,
    dim: number,
  ): void;
  /** In place, rotate-half convention: x is `[tokens][heads][dim]` with `ld` between tokens. */
  f32_rope(x: number, cos: number, sin: number, tokens: number, heads: number, dim: number, ld: number): void;

  // ---- rows ---------------------------------------------------------------------------------------------------------
  /** out[to[i]] = src[from[i]], i < count, for rows of `columns` values; `to` and `from` int32, 0: count up from 0. */
  f32_copy_rows(out: number, to: number, src: number, from: number, count: number, columns: number): void;

  // ---- vision ---------------------------------------------------------------------------------------------------------
  /** pixels `[C][H][W]` to rows `[(H/P)·(W/P)][C·P·P]`: a convolution with stride = kernel = P is then one matrix product. */
  f32_patchify(out: number, pixels: number, C: number, H: number, W: number, P: number): void;
  /** x `[side·side][D]` to `[(side/s)²][D·s²]` in the order of the reference's pixel_shuffle (SmolVLMConnector). */
  f32_pixel_shuffle(out: number, x: number, side: number, D: number, s: number): void;
  /** 1 if all n values are zero (either sign), else 0. */
  f32_all_zero(x: number, n: number): number;

  // ---- heads -------------------------------------------------------------------------------------------------------------
  /** The index of the largest value, the lowest one on ties; −1 if any value is NaN. */
  f32_argmax(x: number, n: number): number;
  /** −log softmax(x)[label] in float64. */
  f64_cross_entropy(x: number, n: number, label: number): number;

  // ---- sampling: float64, sums in order of the index, −Infinity counts nothing -------------------------------------------
  /** log Σ e^x. */
  f64_log_sum_exp(x: number, n: number): number;
  /** x − log Σ e^x, rounded to float32. In place allowed. */
  f32_log_softmax(out: number, x: number, n: number): void;
  /** e^x / Σ e^x: float32 in, float64 out. */
  f64_softmax(out: number, x: number, n: number): void;
  /** The first i with Σ_{j <= i} e^x[j] > u · Σ e^x, u in [0, 1); −1 for NaN, +Infinity, or nothing above −Infinity. */
  f32_sample(x: number, n: number, u: number): number;
  f64_exp(x: number): number;
  f64_pow(x: number, y: number): number;

  // ---- digests -------------------------------------------------------------------------------------------------------------
  /** SipHash-2-4-128 of `bytes` bytes at x (any alignment); key and out are 16 bytes each. */
  u128_siphash(out: number, x: number, bytes: number, key: number): void;
}

/** @param panelK k rows of a stored panel, >= K. N needs no alignment: only N columns of out are written. */
export type Gemm = (
  out: number,
  a: number,
  w: number,
  bias: number,
  M: number,
  N: number,
  K: number,
  panelK: number,
  lda: number,
  ldc: number,
  accumulate: number,
) => void;

export type QuantisedPack = (out: number, src: number, rows: number, K: number, ld: number) => number;

/**
 * `ldc` in elements. N needs no alignment: only N columns of out are written. A product may be split into calls over rows (qa
 * advances by quantizedRowBytes) and over panels (w advances by weightBytes('panel', dtype, 8, K), out and bias by 8 columns).
 */
export type QuantizedGemm = (
  out: number,
  qa: number,
  w: number,
  bias: number,
  M: number,
  N: number,
  K: number,
  ldc: number,
) => void;

/** May be split over panels (w advances by weightBytes('panel', dtype, 8, K), out and bias by 8 columns). */
export type QuantizedGemv = (out: number, x: number, w: number, bias: number, N: number, K: number) => void;

/** A row's integers lie in the kernels' scratch. */
export const GEMV_MOST_K = 65536;

/** The kernels that quantise rows, and what those that compute a step before it call them by. */
export const ROW_FORMS = { q_rows_i8w: 0, q_rows_i8w_fine: 1, q_rows_i4w: 2 } as const;

export type RowForm = keyof typeof ROW_FORMS;

/** So do a row's float32 values in the kernels that quantise them at once. */
export const FUSED_MOST_K = 32768;

export type KvWrite = (
  pages: number,
  k: number,
  v: number,
  indices: number,
  count: number,
  start: number,
  headDim: number,
  ldk: number,
  ldv: number,
  heads: number,
  pageCount: number,
) => void;

export type Attention = (
  out: number,
  q: number,
  pages: number,
  probs: number,
  rows: number,
  keys: number,
  causalStart: number,
  headDim: number,
  ldq: number,
  ldo: number,
  scale: number,
  heads: number,
  pageCount: number,
) => void;
