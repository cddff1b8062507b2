import { createInterface, type Interface } from 'node:readline';
import { Continuation, type Line, LineQueue, type LineSource } from './lines.js';

/** A question a line; no prompts, no editing. */
export class PipeLines implements LineSource {
  readonly #interface: Interface;
  readonly #queue = new LineQueue();
  readonly #continuation = new Continuation();

  constructor(input: NodeJS.ReadableStream) {
    this.#interface = createInterface({ input, terminal: false, crlfDelay: Infinity });
    this.#interface.on('line', (line) => {
      const text = this.#continuation.add(line);
      if (text !== undefined) this.#queue.push({ type: 'line', text });
    });
    this.#interface.on('close', () => {
      const rest = this.#continuation.take();
      if (rest !== '') this.#queue.push({ type: 'line', text: rest });
      this.#queue.push({ type: 'end' });
    });
  }

  next(): Promise<Line> {
    return this.#queue.next();
  }

  close(): void {
    this.#interface.close();
  }
}
