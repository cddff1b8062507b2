import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Kernels } from '../../src/runtime/kernels.js';
import { kernels } from './harness.js';

/** How many arguments each kernel takes. The type makes the compiler ask for every entry of the registry. */
const arity: Record<keyof Kernels, number> = {
  f32_f32w_gemm: 11,
  f32_bf16w_gemm: 11,
  f32_f16w_gemm: 11,
  q_rows_i8w: 5,
  q_rows_i8w_fine: 5,
  q_rows_i4w: 5,
  q_rows_layer_norm: 9,
  q_rows_rms_norm: 8,
  q_rows_gelu_tanh: 5,
  q_rows_silu_mul: 6,
  f32_i8w_gemm: 8,
  f32_i4w_gemm: 8,
  f32_i8w_gemv: 6,
  f32_i8w_fine_gemv: 6,
  f32_i4w_gemv: 6,
  f32_i8w_gather: 5,
  f32_i4w_gather: 5,
  set_dot_form: 1,
  dot_probe: 2,
  panel8_pack_32: 5,
  panel8_pack_16: 5,
  f32_f32w_gather: 5,
  f32_bf16w_gather: 5,
  f32_f16w_gather: 5,
  f32_bf16_unpack: 3,
  f32_f16_unpack: 3,
  i8_f32_pack: 5,
  i8_bf16_pack: 5,
  i8_f16_pack: 5,
  i4_f32_pack: 5,
  i4_bf16_pack: 5,
  i4_f16_pack: 5,
  i8_repack: 4,
  i4_repack: 4,
  i8_unpack_rows: 4,
  i4_unpack_rows: 4,
  panel8_put_scales: 5,
  panel8_take_scales: 5,
  f32_layer_norm: 8,
  f32_rms_norm: 7,
  f32_add: 4,
  f32_mul: 4,
  f32_gelu_tanh: 3,
  f32_gelu_erf: 3,
  f32_gelu_quick: 3,
  f32_relu: 3,
  f32_selu: 3,
  f32_silu: 3,
  f32_silu_mul: 4,
  f32_kv_write: 11,
  bf16_kv_write: 11,
  i8_kv_write: 11,
  i16_kv_write: 11,
  f32_attention: 13,
  f32_bf16kv_attention: 13,
  f32_i8kv_attention: 13,
  f32_i16kv_attention: 13,
  s8_kv_write: 11,
  f32_s8kv_attention: 13,
  f32_s8kv_attention_probs: 13,
  f32_softmax: 4,
  f32_rope_inv_freq: 3,
  f32_rope_table: 6,
  f32_rope: 7,
  f32_copy_rows: 6,
  f32_patchify: 6,
  f32_pixel_shuffle: 5,
  f32_all_zero: 2,
  f32_argmax: 2,
  f64_cross_entropy: 3,
  f64_log_sum_exp: 2,
  f32_log_softmax: 3,
  f64_softmax: 3,
  f32_sample: 3,
  f64_exp: 1,
  f64_pow: 2,
  u128_siphash: 4,
};

const OWN = { heap_base: 0, scratch_bytes: 0, set_scratch: 1, is_relaxed: 0 };

test('the module exports the registry, with its numbers of arguments, and where its memory lies', () => {
  const exported = kernels as unknown as Record<string, (...args: number[]) => unknown>;
  assert.equal(Object.keys(exported).sort(), [...Object.keys(arity), ...Object.keys(OWN)].sort());
  for (const [name, count] of Object.entries({ ...arity, ...OWN }))
    assert.is(exported[name]!.length, count, name);
});

test('heap_base is 16-byte aligned and leaves the module less than 512 KB', () => {
  const base = (kernels as unknown as { heap_base(): number }).heap_base();
  assert.is(base % 16, 0);
  assert.ok(base > 0 && base < 512 * 1024, String(base));
});

test.run();
