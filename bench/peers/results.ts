import type { Answer } from './child.js';
import { type Configuration, titleOf } from './configurations.js';
import { WORKS, type Work } from './works.js';

/** A configuration at a work, over all rounds. */
export interface Row {
  readonly work: string;
  readonly title: string;
  readonly engine: string;
  /** The median. */
  readonly seconds: number;
  /** Of the work's unit; higher is better unless the unit is seconds. */
  readonly value: number;
  readonly unit: string;
  readonly runs: number;
  /** The middle half of the runs, in the work's unit. */
  readonly quartiles: readonly [number, number];
  /** How much of its threads' time it was given, 1 on a quiet machine; undefined where that is not known. */
  readonly share: number | undefined;
}

/** What a process of a configuration took, whatever the work. */
export interface ProcessRow {
  readonly title: string;
  readonly engine: string;
  readonly group: string;
  readonly version: string;
  readonly node: string;
  readonly loadSeconds: number;
  readonly peakBytes: number | null;
}

/** What could not be measured, and why. */
export interface Gap {
  readonly title: string;
  readonly group: string;
  readonly unsupported?: string;
  readonly failed?: string;
}

export interface Ceiling {
  /** Multiply and add in registers of WebAssembly SIMD, GFLOP/s. */
  readonly multiplyAdd: number;
  /** The load-sum loop over memory, GB/s. */
  readonly loadSum: number;
}

export interface Results {
  readonly ceilings: Ceiling;
  readonly rows: readonly Row[];
  readonly processes: readonly ProcessRow[];
  readonly gaps: readonly Gap[];
  /** NMSE of each engine's states of a tile against ours in float32: they did the same work. */
  readonly agreement: Record<string, number>;
}

/** Collects the processes' answers. */
export class Collector {
  #answers = new Map<string, { configuration: Configuration; group: string; answers: Answer[] }>();
  #ceilings: Ceiling[] = [];

  ceiling(ceiling: Ceiling): void {
    this.#ceilings.push(ceiling);
  }

  add(configuration: Configuration, group: string, answer: Answer): void {
    const key = `${titleOf(configuration)} ${group}`;
    const entry = this.#answers.get(key) ?? { configuration, group, answers: [] };
    entry.answers.push(answer);
    this.#answers.set(key, entry);
  }

  results(): Results {
    const entries = [...this.#answers.values()];
    return {
      ceilings: {
        multiplyAdd: median(this.#ceilings.map(({ multiplyAdd }) => multiplyAdd)),
        loadSum: median(this.#ceilings.map(({ loadSum }) => loadSum)),
      },
      rows: WORKS.flatMap((work) =>
        entries.flatMap((entry) => rowOf(work, entry.configuration, entry.answers)),
      ),
      processes: entries.flatMap(({ configuration, group, answers }) =>
        processOf(configuration, group, answers),
      ),
      gaps: entries.flatMap(({ configuration, group, answers }) => gapOf(configuration, group, answers)),
      agreement: agreementOf(entries),
    };
  }
}

function rowOf(work: Work, configuration: Configuration, answers: readonly Answer[]): Row[] {
  const all = answers.flatMap(({ seconds }) => seconds?.[work.id] ?? []);
  if (all.length === 0) return [];
  const rate = (seconds: number) => (work.amount === null ? seconds : work.amount / seconds);
  const seconds = median(all);
  return [
    {
      work: work.id,
      title: titleOf(configuration),
      engine: configuration.engine,
      seconds,
      value: rate(seconds),
      unit: work.unit,
      runs: all.length,
      share: median(answers.map(({ share }) => share?.[work.id] ?? Number.NaN)) || undefined,
      quartiles: [rate(quantile(all, 0.25)), rate(quantile(all, 0.75))],
    },
  ];
}

function processOf(configuration: Configuration, group: string, answers: readonly Answer[]): ProcessRow[] {
  const good = answers.filter(({ version }) => version !== undefined);
  if (good.length === 0) return [];
  const peaks = good.flatMap(({ peakBytes }) => (peakBytes ? [peakBytes] : []));
  return [
    {
      title: titleOf(configuration),
      engine: configuration.engine,
      group,
      version: good[0].version as string,
      node: good[0].node,
      loadSeconds: median(good.map(({ loadSeconds }) => loadSeconds as number)),
      peakBytes: peaks.length > 0 ? median(peaks) : null,
    },
  ];
}

function gapOf(configuration: Configuration, group: string, answers: readonly Answer[]): Gap[] {
  const bad = answers.find(({ unsupported, failed }) => unsupported ?? failed);
  if (!bad) return [];
  return [{ title: titleOf(configuration), group, unsupported: bad.unsupported, failed: bad.failed }];
}

/** The reference is ours in float32 without relaxed instructions. */
function agreementOf(entries: readonly { configuration: Configuration; group: string; answers: Answer[] }[]) {
  const tiles = entries.filter(({ group, answers }) => group === 'tile' && answers[0].output?.length);
  const reference = tiles.find(
    ({ configuration: c }) => c.engine === 'smolvlm-wasm' && c.dtype === 'float32' && !c.relaxed,
  )?.answers[0].output;
  if (!reference) return {};
  const nmse = (values: readonly number[]) => {
    const difference = values.reduce((sum, value, i) => sum + (value - reference[i]) ** 2, 0);
    return difference / reference.reduce((sum, value) => sum + value ** 2, 0);
  };
  return Object.fromEntries(
    tiles.map(({ configuration, answers }) => [titleOf(configuration), nmse(answers[0].output as number[])]),
  );
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return low + (high - low) * (at - Math.floor(at));
}
