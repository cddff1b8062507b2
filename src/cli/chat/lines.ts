/** Where questions come from: a terminal with line editing, or a pipe. */

export type Line =
  | { type: 'line'; text: string }
  /** Ctrl-C while a line was awaited; whether anything was typed. */
  | { type: 'interrupt'; typed: boolean }
  | { type: 'end' };

export interface LineSource {
  /** @param initial what the line begins with, to be edited */
  next(prompt: string, initial?: string): Promise<Line>;
  close(): void;
}

/** What came before it was asked for, and who asks. After the end there is nothing but the end. */
export class LineQueue {
  #lines: Line[] = [];
  #waiting: ((line: Line) => void) | undefined;

  push(line: Line): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (!waiting || line.type === 'end') this.#lines.push(line);
    waiting?.(line);
  }

  get isEmpty(): boolean {
    return this.#lines.length === 0;
  }

  next(): Promise<Line> {
    const [line] = this.#lines;
    if (line && line.type !== 'end') this.#lines = this.#lines.slice(1);
    if (line) return Promise.resolve(line);
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }
}

/** A text of several lines, made of lines that go on in the next one. */
export class Continuation {
  #lines: string[] = [];

  get isOpen(): boolean {
    return this.#lines.length > 0;
  }

  /** The whole text, unless the line ends in a backslash and so goes on; one before it makes it an ordinary character. */
  add(line: string): string | undefined {
    const isOpen = /(?<!\\)(?:\\\\)*\\$/.test(line);
    this.hold(isOpen ? line.slice(0, -1) : line);
    return isOpen ? undefined : this.take();
  }

  /** A line that goes on whatever it ends in. */
  hold(line: string): void {
    this.#lines.push(line);
  }

  /** What there is, without an end. */
  take(): string {
    const text = this.#lines.join('\n');
    this.#lines = [];
    return text;
  }
}
