import type { Golden } from './golden.js';
import type { GreedyMismatch, GreedyVerdict } from './greedy.js';
import { type ParityReport, summarize } from './parity.js';
import { exceedsStrict, type TensorVerdict } from './verdict.js';

/** What a report says of the build whose bits are not everybody's. */
export const RELAXED = 'with relaxed SIMD: bits depend on the processor';

const HALF = { float16: 'float16', bfloat16: 'bfloat16' } as const;

/** Writes a report as text, line by line as the verdicts come. */
export class ParityTable {
  #nameWidth: number;
  #shapeWidth: number;
  #strict: boolean;

  constructor(golden: Golden, strict: boolean) {
    const entries = [...golden.entries];
    this.#nameWidth = Math.max(6, ...entries.map(([name]) => name.length));
    const shapes = entries.map(([, entry]) => shapeText((entry.reference ?? entry.float64)!.shape));
    this.#shapeWidth = Math.max(5, ...shapes.map((shape) => shape.length));
    this.#strict = strict;
  }

  head(): string {
    const columns = ['max-abs', 'NMSE f64', 'NMSE f32', 'torch abs', 'torch NMSE', 'ratio'];
    const numbers = columns.map((column) => column.padStart(10)).join(' ');
    return `${'tensor'.padEnd(this.#nameWidth)}  ${'shape'.padEnd(this.#shapeWidth)} ${numbers}  verdict`;
  }

  row(verdict: TensorVerdict): string {
    const { name, shape, float64, reference, torch, ratio } = verdict;
    const numbers = [
      small((float64 ?? reference)?.maxAbs),
      small(float64?.nmse),
      small(reference?.nmse),
      small(torch?.maxAbs),
      small(torch?.nmse),
      ratioText(ratio),
    ];
    const cells = numbers.map((text) => text.padStart(10)).join(' ');
    const left = `${name.padEnd(this.#nameWidth)}  ${shapeText(shape).padEnd(this.#shapeWidth)}`;
    return `${left} ${cells}  ${verdictText(verdict, this.#strict)}`;
  }
}

/** The lines after the table: first divergence, greedy run, summary. */
export function closing(report: ParityReport, strict: boolean): string[] {
  const summary = summarize(report, strict);
  const { failures, firstDivergence, rated, overStrict, worst } = summary;
  const lines: string[] = [];
  if (firstDivergence) {
    const ratio = `error ${ratioText(firstDivergence.ratio)} × PyTorch's own (--strict)`;
    lines.push(`first divergence: ${firstDivergence.name}: ${firstDivergence.detail ?? ratio}`);
  }
  lines.push(...greedyLines(report.greedy));
  if (!report.sameBits) lines.push('logits: not the same bits with and without taps: FAIL');
  const share = rated > 0 ? ` (${((100 * overStrict.length) / rated).toFixed(1)} %)` : '';
  const parts = [
    `${report.tensors.length - failures.length} of ${report.tensors.length} tensors hold at NMSE ${report.bound.toExponential()}${strict ? ' and 2 × the error' : ''}`,
    worst ? `worst ${small((worst.float64 ?? worst.reference)?.nmse)} at ${worst.name}` : '',
    rated > 0 ? `${overStrict.length} of ${rated}${share} over 2 × PyTorch's own error` : '',
    report.dtype === 'float32' ? '' : `judged as ${HALF[report.dtype]}, in which torch ran`,
    report.relaxed ? RELAXED : '',
    `${report.seconds.toFixed(1)} s`,
  ];
  lines.push(`${summary.holds ? 'HOLDS' : 'FAILS'}: ${parts.filter(Boolean).join('; ')}`);
  return lines;
}

function greedyLines(greedy: GreedyVerdict | undefined): string[] {
  if (!greedy) return [];
  const { rows, steps, mismatches, ties, detail } = greedy;
  if (detail) return [`generate.sequences: ${detail}: FAIL`];
  const show = ({ row, step, expected, got, gap, gapOf }: GreedyMismatch) =>
    `row ${row}, new token ${step}: expected ${expected}, got ${got}, gap ${small(gap)} (${gapOf})`;
  const lines = ties.map((tie) => `generate.sequences: tie: ${show(tie)}`);
  if (mismatches.length > 0) {
    const more = mismatches.length > 1 ? `, and ${mismatches.length - 1} more` : '';
    return [...lines, `generate.sequences: ${show(mismatches[0])}${more}: FAIL`];
  }
  return [...lines, `generate.sequences: ${rows} × ${steps} greedy tokens identical: ok`];
}

export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

/** A small number in three digits, '–' for none. */
export function small(value: number | undefined): string {
  if (value === undefined) return '–';
  if (value === 0 || !Number.isFinite(value)) return String(value);
  return value.toExponential(2);
}

export function ratioText(ratio: number | undefined): string {
  if (ratio === undefined) return '–';
  return Number.isFinite(ratio) && ratio < 1e4 ? ratio.toFixed(2) : small(ratio);
}

export function verdictText(verdict: TensorVerdict, strict: boolean): string {
  if (!verdict.holds) return `FAIL (${verdict.problem})`;
  if (strict && exceedsStrict(verdict)) return 'FAIL (ratio > 2)';
  const nothing = verdict.float64 ?? verdict.reference;
  return nothing?.count === 0 ? 'ok (every row masked)' : 'ok';
}
