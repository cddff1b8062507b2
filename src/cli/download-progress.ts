import type { LoadProgress, ProgressCallback } from '../checkpoint/progress.js';
import { megabytes, type ProgressLine, seconds } from './terminal.js';

/** Shows files that are fetched on a line of progress: how much of all that was begun, how fast, how long yet. */
export function downloadProgress(line: Pick<ProgressLine, 'show' | 'clear'>): ProgressCallback {
  const files = new Map<string, { loaded: number; total: number }>();
  const rate = new Rate();
  return ({ status, file, loaded, total }: LoadProgress) => {
    if (status === 'load' || status === 'ready') return;
    const before = files.get(file);
    // What an earlier run left is no speed of this one.
    if (status === 'progress' && before) rate.add(Math.max(0, loaded - before.loaded));
    files.set(file, { loaded: status === 'done' ? total : loaded, total });
    const sum = (part: 'loaded' | 'total') => [...files.values()].reduce((all, one) => all + one[part], 0);
    const [done, all] = [sum('loaded'), sum('total')];
    if (done === all && status === 'done') {
      line.clear();
      return;
    }
    line.show(`${file}: ${progressText(done, all, rate.perSecond())}`);
  };
}

/** "12.3 MB of 513 MB (2 %), 8.10 MB/s, 62 s left" */
export function progressText(loaded: number, total: number, perSecond: number | undefined): string {
  const share = total > 0 ? ` (${Math.floor((100 * loaded) / total)} %)` : '';
  const text = `${megabytes(loaded)} of ${megabytes(total)}${share}`;
  if (!perSecond) return text;
  const left = ((total - loaded) / perSecond) * 1000;
  return `${text}, ${megabytes(perSecond)}/s, ${left < 60_000 ? seconds(left) : minutes(left)} left`;
}

function minutes(ms: number): string {
  const all = Math.round(ms / 1000);
  const [h, m, s] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  return h > 0 ? `${h} h ${m} min` : `${m} min ${s} s`;
}

/** Bytes a second over the last few seconds. */
class Rate {
  #samples: { time: number; bytes: number }[] = [];
  #started: number | undefined;

  add(bytes: number): void {
    const now = performance.now();
    this.#started ??= now;
    this.#samples.push({ time: now, bytes });
    while (this.#samples[0].time < now - 5_000) this.#samples.shift();
  }

  /** Undefined in the first moments, when it would be a guess. */
  perSecond(): number | undefined {
    const now = performance.now();
    const span = Math.min(5_000, now - (this.#started ?? now));
    if (span < 500) return undefined;
    return this.#samples.reduce((sum, { bytes }) => sum + bytes, 0) / (span / 1000);
  }
}
