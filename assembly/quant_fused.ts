/**
 * The step before a product and the quantising of its rows in one: a row's float32 values are in scratch only, where
 * they stay in the first-level cache, and no pass over memory writes or reads them. Each is the two kernels one after
 * the other for a row at a time. `form` says which products the rows are for.
 */
import { f32_gelu_tanh, f32_silu_mul } from './activation';
import { f32_layer_norm, f32_rms_norm } from './norm';
import { blocksOf, I4, I8, rowRecord } from './quant';
import { q_rows_i4w, q_rows_i8w, q_rows_i8w_fine } from './quant_rows';
import { rowScratch } from './scratch';

const I8_ROWS: i32 = 0;
const I8_FINE_ROWS: i32 = 1;

/** rows of n; what else there is to say says f32_layer_norm. */
export function q_rows_layer_norm(
  out: usize, x: usize, weight: usize, bias: usize, rows: usize, n: usize, eps: f64, branch: usize, form: i32,
): void {
  const rowBytes = n << 2;
  for (let r: usize = 0; r < rows; r++, x += rowBytes) {
    f32_layer_norm(rowScratch, x, weight, bias, 1, n, eps, branch ? branch + r * rowBytes : 0);
    out = quantizeRow(form, out, n);
  }
}

export function q_rows_rms_norm(
  out: usize, x: usize, weight: usize, rows: usize, n: usize, eps: f64, branch: usize, form: i32,
): void {
  const rowBytes = n << 2;
  for (let r: usize = 0; r < rows; r++, x += rowBytes) {
    f32_rms_norm(rowScratch, x, weight, 1, n, eps, branch ? branch + r * rowBytes : 0);
    out = quantizeRow(form, out, n);
  }
}

export function q_rows_gelu_tanh(out: usize, x: usize, rows: usize, n: usize, form: i32): void {
  for (let r: usize = 0; r < rows; r++, x += n << 2) {
    f32_gelu_tanh(rowScratch, x, n);
    out = quantizeRow(form, out, n);
  }
}

export function q_rows_silu_mul(out: usize, gate: usize, up: usize, rows: usize, n: usize, form: i32): void {
  const rowBytes = n << 2;
  for (let r: usize = 0; r < rows; r++, gate += rowBytes, up += rowBytes) {
    f32_silu_mul(rowScratch, gate, up, n);
    out = quantizeRow(form, out, n);
  }
}

/** The row in scratch, quantised; gives where the next one begins. */
function quantizeRow(form: i32, out: usize, n: usize): usize {
  if (form == I8_ROWS) q_rows_i8w(out, rowScratch, 1, n, n);
  else if (form == I8_FINE_ROWS) q_rows_i8w_fine(out, rowScratch, 1, n, n);
  else {
    q_rows_i4w(out, rowScratch, 1, n, n);
    return out + blocksOf(I4, n) * rowRecord(I4);
  }
  return out + blocksOf(I8, n) * rowRecord(I8);
}
