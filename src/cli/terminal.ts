import { paintFor } from './colors.js';
import { truncate } from './text-width.js';

/** Where a line of progress goes. */
export interface ProgressStream {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

const ERASE_LINE = '\r\x1b[2K';

/** A line of progress on a terminal, rewritten in place; nothing at all in a pipe, nor where the terminal is dumb. */
export class ProgressLine {
  readonly #stream: ProgressStream;
  readonly #enabled: boolean;
  #shown = false;
  #last = Number.NEGATIVE_INFINITY;
  /** What is shown when its time has come. */
  #next = '';
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(stream: ProgressStream = process.stderr, enabled = true) {
    this.#stream = stream;
    this.#enabled = enabled && stream.isTTY === true && process.env.TERM !== 'dumb';
  }

  /** What a line may take: one column less than there are, or some terminals begin another line. */
  get columns(): number {
    return Math.max((this.#stream.columns || 80) - 1, 1);
  }

  /** At most ten times a second; of what comes faster, the last one. */
  show(text: string): void {
    if (!this.#enabled) return;
    this.#next = text;
    const wait = this.#last + 100 - performance.now();
    if (wait <= 0) this.#draw();
    else {
      this.#timer ??= setTimeout(() => this.#draw(), wait);
      this.#timer.unref?.();
    }
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#shown) this.#stream.write(ERASE_LINE);
    this.#shown = false;
    this.#last = Number.NEGATIVE_INFINITY;
  }

  #draw(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#last = performance.now();
    this.#stream.write(`${ERASE_LINE}${paintFor(this.#stream)('dim', truncate(this.#next, this.columns))}`);
    this.#shown = true;
  }
}

/** The width that text is wrapped to: the terminal's, and what most have in a pipe. */
export function columnsOf(stream: { isTTY?: boolean; columns?: number }): number {
  return Math.min(Math.max((stream.isTTY && stream.columns) || 100, 20), 120);
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : bytes < 1e8 ? 1 : 0)} MB`;
}

export function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** A time to wait in the two largest units that say something: "about" is all that it can be. */
export function duration(ms: number): string {
  const total = Math.max(Math.round(ms / 1000), 1);
  if (total < 60) return `${total} s`;
  const minutes = Math.round(total / 60);
  if (total < 600) return `${Math.floor(total / 60)} min ${total % 60} s`;
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** "1 picture", "2 pictures". */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}
