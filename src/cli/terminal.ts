/** A line of progress on a terminal, rewritten in place; nothing at all in a pipe. */
export class ProgressLine {
  #stream: NodeJS.WriteStream;
  #shown = false;
  #last = 0;

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
  }

  /** At most ten times a second. */
  show(text: string): void {
    if (!this.#stream.isTTY || performance.now() - this.#last < 100) return;
    this.#last = performance.now();
    const width = Math.max(20, (this.#stream.columns || 80) - 1);
    this.#stream.write(`\r\x1b[2K${text.length > width ? `${text.slice(0, width - 1)}…` : text}`);
    this.#shown = true;
  }

  clear(): void {
    if (this.#shown) this.#stream.write('\r\x1b[2K');
    this.#shown = false;
    this.#last = 0;
  }
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : bytes < 1e8 ? 1 : 0)} MB`;
}

export function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
