import type { Engine } from './engine.js';
import { GEMV_MOST_K, type Kernels, type RowForm } from './kernels.js';
import { Prepared } from './prepared.js';
import { quantizedRowBytes } from './quantized-rows.js';
import { evenAxis, productSteps } from './splits.js';
import type { Steps } from './steps.js';
import { Tensor } from './tensor.js';
import {
  isQuantized,
  type PanelDtype,
  panelBytes,
  type QuantizedDtype,
  type Weight,
  weightBytes,
} from './weight.js';

/** Rows of a product taken at once. */
const STEP_ROWS = 120;
/** The same for quantised products. */
const STEP_QUANTIZED_ROWS = 128;

/** One of several products with the same left side. */
export interface Linear {
  readonly weight: Weight;
  readonly bias?: Weight | null;
  /** With int8 weights: x in more than 7 bits in every build, which costs time where many rows are multiplied. */
  readonly fine?: boolean;
}

const ROW_DTYPES: Readonly<Record<RowForm, QuantizedDtype>> = {
  q_rows_i8w: 'I8',
  q_rows_i8w_fine: 'I8',
  q_rows_i4w: 'I4',
};

const GEMM: Readonly<Record<PanelDtype, keyof Kernels>> = {
  F32: 'f32_f32w_gemm',
  BF16: 'f32_bf16w_gemm',
  F16: 'f32_f16w_gemm',
  I8: 'f32_i8w_gemm',
  I4: 'f32_i4w_gemm',
};

/**
 * x [M, K] · weightᵀ (+ bias) → [M, N] for several weights; x is quantised once for those that need it.
 * @param given tensors for the results; else new ones
 */
export function* products(
  engine: Engine,
  x: Tensor | Prepared,
  linears: readonly Linear[],
  given?: readonly Tensor[],
): Steps<Tensor[]> {
  if (x instanceof Prepared) {
    const form = x.rows > 1 && x.isFusible ? commonForm(linears) : undefined;
    if (form) return yield* fusedProducts(engine, x, form, linears, given);
    return yield* products(engine, yield* x.tensor(), linears, given);
  }
  const M = x.size / linears[0].weight.K;
  if (M === 1 && !given && isRun(linears)) return yield* productOfRun(engine, x, linears);
  const outs = given ?? newOuts(engine, M, linears);
  const mark = engine.activations.mark();
  const quantized = new Map<RowForm, number>();
  for (const [i, linear] of linears.entries()) {
    const { K } = linear.weight;
    const form = rowForm(linear);
    if (outs[i].size === 0) continue;
    if (!form) yield* product(engine, outs[i], x, linear);
    else if (M === 1 && K <= GEMV_MOST_K) yield* rowProduct(engine, outs[i], x, linear);
    else {
      const rowBytes = quantizedRowBytes(ROW_DTYPES[form], K);
      const rows = quantized.get(form) ?? quantize(engine, x, K, form, rowBytes);
      quantized.set(form, rows);
      yield* quantizedProduct(engine, outs[i], rows, rowBytes, linear);
    }
  }
  engine.activations.release(mark);
  return [...outs];
}

/** The same where all weights take rows of one form, and x has them made without its float32 values. */
function* fusedProducts(
  engine: Engine,
  x: Prepared,
  form: RowForm,
  linears: readonly Linear[],
  given?: readonly Tensor[],
): Steps<Tensor[]> {
  const outs = given ?? newOuts(engine, x.rows, linears);
  const mark = engine.activations.mark();
  const rowBytes = quantizedRowBytes(ROW_DTYPES[form], x.columns);
  const rows = engine.activations.allocate(x.rows * rowBytes);
  yield* x.quantize(form, rows, rowBytes);
  for (const [i, linear] of linears.entries()) {
    if (outs[i].size > 0) yield* quantizedProduct(engine, outs[i], rows, rowBytes, linear);
  }
  engine.activations.release(mark);
  return [...outs];
}

function newOuts(engine: Engine, M: number, linears: readonly Linear[]): Tensor[] {
  return linears.map(({ weight: { N } }) => engine.tensor(M, N));
}

/** The form of the quantised rows that a product takes; undefined: it takes float32 values. */
function rowForm({ weight: { dtype }, fine }: Linear): RowForm | undefined {
  if (!isQuantized(dtype)) return undefined;
  if (dtype === 'I4') return 'q_rows_i4w';
  return fine ? 'q_rows_i8w_fine' : 'q_rows_i8w';
}

/** The one form that all of them take. */
function commonForm(linears: readonly Linear[]): RowForm | undefined {
  const form = rowForm(linears[0]);
  return linears.every((linear) => rowForm(linear) === form) ? form : undefined;
}

/** Whether several weights follow each other in memory so that together they are one matrix of whole panels. */
function isRun(linears: readonly Linear[]): boolean {
  return linears.every(({ weight, bias, fine }, i) => {
    if (i === 0) return linears.length > 1;
    const before = linears[i - 1];
    const { dtype, N, K, pointer } = before.weight;
    if (weight.dtype !== dtype || weight.K !== K || N % 8 !== 0 || fine !== before.fine) return false;
    if (weight.pointer !== pointer + weightBytes('panel', dtype, N, K)) return false;
    return bias ? bias.pointer === (before.bias?.pointer ?? 0) + 4 * N : !before.bias;
  });
}

/** One row's products with such weights in one go: a kernel call each would cost more than it computes. */
function* productOfRun(engine: Engine, x: Tensor, linears: readonly Linear[]): Steps<Tensor[]> {
  const [{ weight, bias, fine }] = linears;
  const N = linears.reduce((sum, linear) => sum + linear.weight.N, 0);
  const [out] = yield* products(engine, x, [{ weight: { ...weight, N }, bias, fine }]);
  let pointer = out.pointer;
  return linears.map((linear) => {
    const part = new Tensor(pointer, [1, linear.weight.N]);
    pointer += 4 * linear.weight.N;
    return part;
  });
}

function product(engine: Engine, out: Tensor, x: Tensor, { weight, bias }: Linear): Steps<void> {
  const { N, K } = weight;
  const M = out.rows;
  const args = [out.pointer, x.pointer, weight.pointer, bias ? bias.pointer : 0, M, N, K, K, K, N, 0];
  return split(engine, out, weight, args, STEP_ROWS, 4 * K);
}

/** Rows of K values for quantised products: their pointer. */
function quantize(engine: Engine, x: Tensor, K: number, kernel: RowForm, rowBytes: number): number {
  const M = x.size / K;
  const rows = engine.activations.allocate(M * rowBytes);
  engine.call({
    kernel,
    args: [rows, x.pointer, M, K, K],
    axes: [evenAxis(engine.threads, 2, M, K, [0, rowBytes, 1, 4 * K])],
  });
  return rows;
}

function quantizedProduct(
  engine: Engine,
  out: Tensor,
  rows: number,
  rowBytes: number,
  { weight, bias }: Linear,
): Steps<void> {
  const { N, K } = weight;
  const args = [out.pointer, rows, weight.pointer, bias ? bias.pointer : 0, out.rows, N, K, N];
  return split(engine, out, weight, args, STEP_QUANTIZED_ROWS, rowBytes);
}

/** One row, quantised within the call: a call of its own would cost more than it computes. */
function rowProduct(engine: Engine, out: Tensor, x: Tensor, { weight, bias, fine }: Linear): Steps<void> {
  const { N, K, dtype } = weight;
  const { panelStep } = productSteps(engine.threads, 1, 1, Math.ceil(N / 8), 8 * K);
  const moves = [0, 4, 2, panelBytes(dtype, K) / 8];
  if (bias) moves.push(3, 4);
  return engine.steps({
    kernel: dtype === 'I4' ? 'f32_i4w_gemv' : fine ? 'f32_i8w_fine_gemv' : 'f32_i8w_gemv',
    args: [out.pointer, x.pointer, weight.pointer, bias ? bias.pointer : 0, N, K],
    axes: [{ size: 4, units: N, step: 8 * panelStep, moves }],
  });
}

/** A product's call, split over columns and rows. @param args out, rows, weight, bias, M, N … */
function split(
  engine: Engine,
  { rows }: Tensor,
  { N, K, dtype }: Weight,
  args: readonly number[],
  mostRows: number,
  rowBytes: number,
): Steps<void> {
  const { rowStep, panelStep } = productSteps(engine.threads, rows, mostRows, Math.ceil(N / 8), 8 * K);
  const moves = [0, 4, 2, panelBytes(dtype, K) / 8];
  if (args[3]) moves.push(3, 4);
  return engine.steps({
    kernel: GEMM[dtype],
    args,
    axes: [
      { size: 5, units: N, step: 8 * panelStep, moves },
      { size: 4, units: rows, step: rowStep, moves: [0, 4 * N, 1, rowBytes] },
    ],
  });
}
