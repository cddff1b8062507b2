/** How long a call takes: several runs, their median, and how far they lie apart. */
import { Bench } from 'tinybench';

export interface Timing {
  /** Seconds. */
  readonly median: number;
  readonly least: number;
  /** (slowest − fastest) / median. */
  readonly spread: number;
  readonly runs: number;
}

export interface TimingOptions {
  /** Goes on until this many seconds are used up … */
  budget?: number;
  /** … and at least this many runs are made. */
  least?: number;
  /** Seconds, before the first that counts: engines compile for speed in the background. */
  warm?: number;
}

export function time(call: () => void, options: TimingOptions = {}): Timing {
  const bench = benchOf(call, options);
  bench.runSync();
  return timingOf(bench);
}

/** The same for calls that give a promise. */
export async function timeAsync(call: () => Promise<unknown>, options: TimingOptions = {}): Promise<Timing> {
  const bench = benchOf(call, options);
  await bench.run();
  return timingOf(bench);
}

/** Of runs that were timed already. */
export function timing(seconds: readonly number[]): Timing {
  const sorted = [...seconds].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
  return {
    median,
    least: sorted[0],
    spread: (sorted[sorted.length - 1] - sorted[0]) / median,
    runs: sorted.length,
  };
}

function benchOf(call: () => unknown, { budget = 0.25, least = 3, warm = 0.05 }: TimingOptions): Bench {
  return new Bench({
    time: 1000 * budget,
    iterations: least,
    warmup: warm > 0,
    warmupTime: 1000 * warm,
    warmupIterations: 1,
    throws: true,
  }).add('call', call);
}

function timingOf({ tasks: [{ result }] }: Bench): Timing {
  if (!('latency' in result)) throw new Error(`nothing was timed: ${result.state}`);
  const { p50, min, max, samplesCount } = result.latency;
  return { median: p50 / 1000, least: min / 1000, spread: (max - min) / p50, runs: samplesCount };
}
