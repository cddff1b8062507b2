// The module's exports, one op family a file. Their arguments are documented in src/runtime/kernels.ts.
export { heap_base, scratch_bytes, set_scratch } from './scratch';
export { is_relaxed } from './multiply_add';
export { f32_f32w_gemm } from './gemm_f32';
export { f32_bf16w_gemm } from './gemm_bf16';
export { f32_f16w_gemm } from './gemm_f16';
export { q_rows_i8w, q_rows_i8w_fine, q_rows_i4w } from './quant_rows';
export { q_rows_layer_norm, q_rows_rms_norm, q_rows_gelu_tanh, q_rows_silu_mul } from './quant_fused';
export {
  f32_i8w_gemm, f32_i4w_gemm, f32_i8w_gemv, f32_i8w_fine_gemv, f32_i4w_gemv, set_dot_form,
} from './quant_gemm';
export { dot_probe } from './dot_probe';
export { f32_i8w_gather, f32_i4w_gather } from './quant_gather';
export {
  panel8_pack_32, panel8_pack_16, f32_f32w_gather, f32_bf16w_gather, f32_f16w_gather, f32_bf16_unpack, f32_f16_unpack,
  panel8_put_scales, panel8_take_scales,
} from './panel';
export {
  i8_f32_pack, i8_bf16_pack, i8_f16_pack, i4_f32_pack, i4_bf16_pack, i4_f16_pack,
} from './quantize';
export { i8_repack, i4_repack, i8_unpack_rows, i4_unpack_rows } from './quantize_rows';
export { f32_layer_norm, f32_rms_norm } from './norm';
export { f32_copy_rows } from './rows';
export { f32_add, f32_mul, f32_relu } from './elementwise';
export { f32_gelu_tanh, f32_gelu_erf, f32_gelu_quick, f32_selu, f32_silu, f32_silu_mul } from './activation';
export { f32_softmax } from './softmax';
export { f32_kv_write, bf16_kv_write } from './pages';
export { i8_kv_write, i16_kv_write } from './pages_int';
export { s8_kv_write } from './pages_smooth';
export { f32_attention, f32_bf16kv_attention } from './attention';
export { f32_i8kv_attention, f32_i16kv_attention } from './attention_int';
export { f32_s8kv_attention, f32_s8kv_attention_probs } from './attention_smooth';
export { f32_rope_inv_freq, f32_rope_table, f32_rope } from './rope';
export { f32_patchify, f32_pixel_shuffle, f32_all_zero } from './vision';
export { f32_argmax, f64_cross_entropy } from './head';
export { f64_log_sum_exp, f32_log_softmax, f64_softmax, f32_sample, f64_exp, f64_pow } from './sampling';
export { u128_siphash } from './digest';
