import type { PositionDtype } from '../model/config.js';
import type { HostTensor } from '../runtime/tensor.js';
import {
  PARITY_ERROR_FLOOR,
  PARITY_NMSE_BF16,
  PARITY_NMSE_F16,
  PARITY_NMSE_F32,
  PARITY_STRICT_RATIO,
} from './bounds.js';
import {
  type Comparison,
  compareValues,
  type ReferenceValues,
  type RowFilter,
  unflatten,
} from './compare.js';

/** Why a tensor does not hold. */
export type Problem = 'missing' | 'shape' | 'dtype' | 'non-finite' | 'nmse';

/** What is said of one tensor of a golden. */
export interface TensorVerdict {
  /** `modules.<path>` or `outputs.<name>`. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly holds: boolean;
  readonly problem?: Problem;
  /** The problem in words, with expected and got. */
  readonly detail?: string;
  /** NMSE that it must hold. */
  readonly bound: number;
  /** Ours against the float64 entry, and against the reference's own run. */
  readonly float64?: Comparison;
  readonly reference?: Comparison;
  /** The reference's own run against the float64 entry. */
  readonly torch?: Comparison;
  /** Our largest error over PyTorch's own, both against float64; PyTorch's is at least 2⁻²³·max|float64|. */
  readonly ratio?: number;
}

export interface ReferenceTensor {
  readonly reference?: ReferenceValues;
  readonly float64?: ReferenceValues;
}

/** The NMSE bound for goldens whose reference ran in `dtype`. */
export function nmseBound(dtype: PositionDtype): number {
  return { float32: PARITY_NMSE_F32, float16: PARITY_NMSE_F16, bfloat16: PARITY_NMSE_BF16 }[dtype];
}

/** Judges one tensor against the golden's entries, of the same shape. `rows`: which of its rows count; default: all. */
export function judge(
  name: string,
  ours: HostTensor<Float32Array>,
  golden: ReferenceTensor,
  bound: number,
  rows?: RowFilter,
): TensorVerdict {
  const shape = ours.dims;
  const { reference, float64 } = golden;
  const against = (b: ReferenceValues | undefined) => b && compareValues(ours.data, b, rows);
  const comparisons = {
    float64: against(float64),
    reference: against(reference),
    torch: reference && float64 && compareValues(reference, float64, rows),
  };
  const verdict = { name, shape, bound, ...comparisons, ratio: errorRatio(comparisons) };
  for (const label of ['float64', 'reference'] as const) {
    const comparison = comparisons[label];
    if (!comparison || comparison.nmse <= bound) continue;
    const problem = comparison.nonFinite ? 'non-finite' : 'nmse';
    const detail = describeDivergence(comparison, shape, bound, label === 'float64' ? 'float64' : 'PyTorch');
    return { ...verdict, holds: false, problem, detail };
  }
  return { ...verdict, holds: true };
}

/** A tensor that could not be compared at all. */
export function failed(
  name: string,
  shape: readonly number[],
  bound: number,
  problem: Problem,
  detail: string,
): TensorVerdict {
  return { name, shape, holds: false, problem, detail, bound };
}

/** Whether a tensor's error is more than twice PyTorch's own: fails with `--strict`. */
export function exceedsStrict({ ratio }: TensorVerdict): boolean {
  return ratio !== undefined && !(ratio <= PARITY_STRICT_RATIO);
}

function errorRatio({ float64, torch }: { float64?: Comparison; torch?: Comparison }): number | undefined {
  if (!float64 || !torch || float64.nonFinite || torch.nonFinite) return undefined;
  const own = Math.max(torch.maxAbs, PARITY_ERROR_FLOOR * torch.maxReference);
  return own === 0 && float64.maxAbs === 0 ? 0 : float64.maxAbs / own;
}

function describeDivergence(
  { nonFinite, nmse, maxAbs, worst, ours, reference }: Comparison,
  shape: readonly number[],
  bound: number,
  against: string,
): string {
  const place = `at [${unflatten(worst, shape).join(', ')}]: ours ${ours}, ${against} ${reference}`;
  if (nonFinite) return `a value that is not finite ${place}`;
  return `NMSE ${nmse.toExponential(2)} > ${bound.toExponential()}, max-abs ${maxAbs.toExponential(2)} ${place}`;
}

/** What decides which rows of a golden's tensors are compared. */
export interface Masked {
  readonly batch: number;
  readonly sequence: number;
  /** [B, S], 0 is a pad; without one there are none. */
  readonly attention_mask?: HostTensor;
  /** The columns that logits were computed for. */
  readonly columns: readonly number[];
}

/**
 * Text positions as query rows with attention_mask 0 are not compared; all columns are, and everything of the vision
 * side, the connector and the rotary tables.
 * @returns undefined where every row counts
 */
export function comparedRows(name: string, dims: readonly number[], masked: Masked): RowFilter | undefined {
  const { batch, sequence, attention_mask: mask, columns } = masked;
  if (!mask || !isText(name)) return undefined;
  const kept = (row: number, column: number) => (Number(mask.data[row * sequence + column]) ? 1 : 0);
  const filter = (rows: readonly (readonly [number, number])[]): RowFilter => {
    const length = dims.reduce((product, n) => product * n, 1) / Math.max(1, rows.length);
    return { keep: rows.map(([row, column]) => kept(row, column)), length };
  };
  const rows = range(batch);
  if (name.startsWith('outputs.attentions.')) {
    if (dims.length !== 4 || dims[0] !== batch || dims[2] !== sequence) return undefined;
    const heads = range(dims[1]);
    return filter(rows.flatMap((row) => heads.flatMap(() => range(sequence).map((c) => [row, c] as const))));
  }
  const places = name === 'outputs.logits' || name === 'modules.lm_head' ? columns : range(sequence);
  if (dims.length < 2 || dims[0] !== batch || dims[1] !== places.length) return undefined;
  return filter(rows.flatMap((row) => places.map((column) => [row, column] as const)));
}

/** Whether a tensor has the tokens of the text as its rows. */
function isText(name: string): boolean {
  if (name.startsWith('modules.model.text_model.rotary_emb')) return false;
  if (name === 'modules.model' || name === 'modules.lm_head' || name === 'outputs.logits') return true;
  return /^(modules\.model\.text_model|outputs\.hidden_states|outputs\.attentions)(\.|$)/.test(name);
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
