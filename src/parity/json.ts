import type { Comparison } from './compare.js';
import { unflatten } from './compare.js';
import { type ParityReport, summarize } from './parity.js';
import { exceedsStrict, type TensorVerdict } from './verdict.js';

/**
 * A report as JSON text: `smolvlm-parity/1`. Numbers that JSON has no form for are the strings "NaN", "Infinity" and
 * "-Infinity"; indices have one number a dimension.
 */
export function parityJson(report: ParityReport, checkpoint: string, strict: boolean): string {
  const { holds, failures, firstDivergence, rated, overStrict, worst } = summarize(report, strict);
  const document = {
    format: 'smolvlm-parity/1',
    checkpoint,
    golden: report.golden,
    metadata: report.metadata,
    dtype: report.dtype,
    bound_nmse: report.bound,
    strict,
    holds,
    compared: report.tensors.length,
    failed: failures.length,
    first_divergence: firstDivergence?.name ?? null,
    worst_nmse: worst ? { name: worst.name, nmse: (worst.float64 ?? worst.reference)?.nmse } : null,
    over_twice_torch: { count: overStrict.length, of: rated },
    same_bits_without_taps: report.sameBits,
    threads: report.threads,
    relaxed_simd: report.relaxed,
    greedy: report.greedy ?? null,
    seconds: Number(report.seconds.toFixed(3)),
    tensors: report.tensors.map((verdict) => tensorRow(verdict, strict)),
  };
  return `${JSON.stringify(document, (_, value) => finite(value), 1)}\n`;
}

function tensorRow(verdict: TensorVerdict, strict: boolean) {
  const { name, shape, holds, problem, detail, ratio, float64, reference, torch } = verdict;
  const failsStrict = strict && holds && exceedsStrict(verdict);
  return {
    name,
    shape,
    verdict: holds && !failsStrict ? 'ok' : 'fail',
    problem: failsStrict ? 'ratio' : (problem ?? null),
    detail: detail ?? null,
    ratio: ratio ?? null,
    float64: side(float64, shape),
    float32: side(reference, shape),
    torch_float32_against_float64: torch ? { nmse: torch.nmse, max_abs: torch.maxAbs } : null,
  };
}

function side(comparison: Comparison | undefined, shape: readonly number[]) {
  if (!comparison) return null;
  const { nmse, maxAbs: max_abs, worst, ours, reference, count } = comparison;
  return { nmse, max_abs, worst_index: worst < 0 ? null : unflatten(worst, shape), ours, reference, count };
}

function finite(value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}
