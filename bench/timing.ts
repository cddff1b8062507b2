/** How long a call takes: several runs, their median, and how far they lie apart. */

export interface Timing {
  /** Seconds. */
  readonly median: number;
  readonly least: number;
  /** (slowest − fastest) / median. */
  readonly spread: number;
  readonly runs: number;
}

export interface TimingOptions {
  /** Stops after this many runs … */
  runs?: number;
  /** … or once this many seconds are used up, but not before `least` runs. */
  budget?: number;
  least?: number;
  /** Seconds, before the first that counts: engines compile for speed in the background. */
  warm?: number;
}

const DEFAULTS = { runs: 50, budget: 0.25, least: 3, warm: 0.05 };

export function time(call: () => void, options: TimingOptions = {}): Timing {
  const { runs, budget, least, warm } = { ...DEFAULTS, ...options };
  const warmEnd = performance.now() + 1000 * warm;
  while (performance.now() < warmEnd) call();
  const seconds: number[] = [];
  const end = performance.now() + 1000 * budget;
  while (seconds.length < least || (seconds.length < runs && performance.now() < end)) {
    const started = performance.now();
    call();
    seconds.push((performance.now() - started) / 1000);
  }
  return timing(seconds);
}

/** The same for calls that give a promise. */
export async function timeAsync(call: () => Promise<unknown>, options: TimingOptions = {}): Promise<Timing> {
  const { runs, budget, least, warm } = { ...DEFAULTS, ...options };
  const warmEnd = performance.now() + 1000 * warm;
  while (performance.now() < warmEnd) await call();
  const seconds: number[] = [];
  const end = performance.now() + 1000 * budget;
  while (seconds.length < least || (seconds.length < runs && performance.now() < end)) {
    const started = performance.now();
    await call();
    seconds.push((performance.now() - started) / 1000);
  }
  return timing(seconds);
}

export function timing(seconds: readonly number[]): Timing {
  const sorted = [...seconds].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
  const spread = (sorted[sorted.length - 1] - sorted[0]) / median;
  return { median, least: sorted[0], spread, runs: sorted.length };
}
