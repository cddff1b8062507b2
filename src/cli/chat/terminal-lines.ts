import { createInterface, type Interface } from 'node:readline';
import { Continuation, type Line, LineQueue, type LineSource } from './lines.js';

export type Completer = (line: string, done: (error: null, result: [string[], string]) => void) => void;

export interface TerminalLinesOptions {
  /** Oldest first. */
  history?: readonly string[];
  completer?: Completer;
  /** Is told each line that was typed. */
  onLine?: (line: string) => void;
}

interface TerminalInput extends NodeJS.ReadableStream {
  setRawMode?(on: boolean): unknown;
}

const PASTE_ON = '\x1b[?2004h';
const PASTE_OFF = '\x1b[?2004l';
const CONTINUATION = '… ';

/**
 * Questions from a terminal, with readline's editing, history and completion. Only while a line is awaited is the terminal
 * in raw mode: during an answer Ctrl-C is a signal, and what is typed ahead waits in the terminal.
 */
export class TerminalLines implements LineSource {
  /** `clearLine` is what Node's own prompt uses; other runtimes may lack it. */
  readonly #interface: Interface & { clearLine?(): void };
  readonly #input: TerminalInput;
  readonly #output: NodeJS.WritableStream;
  readonly #queue = new LineQueue();
  readonly #continuation = new Continuation();
  /** Between the marks that the terminal puts around what is pasted: its line breaks send nothing. */
  #isPasting = false;
  #areMarked = false;
  #isClosed = false;

  constructor(
    input: TerminalInput,
    output: NodeJS.WritableStream,
    { history = [], completer, onLine }: TerminalLinesOptions = {},
  ) {
    this.#input = input;
    this.#output = output;
    this.#interface = createInterface({
      input,
      output,
      completer,
      terminal: true,
      history: [...history].reverse(),
      historySize: 1000,
      removeHistoryDuplicates: true,
    });
    input.on('keypress', this.#onKey);
    this.#interface.on('line', (line) => {
      if (line.trim() !== '') onLine?.(line);
      const text = this.#isPasting ? this.#continuation.hold(line) : this.#continuation.add(line);
      if (text === undefined) this.#prompt(CONTINUATION);
      else this.#queue.push({ type: 'line', text });
    });
    this.#interface.on('SIGINT', () => {
      const typed = this.#interface.line !== '' || this.#continuation.isOpen;
      this.#continuation.take();
      // Begins another line, what was typed left on the screen.
      this.#interface.clearLine?.();
      this.#queue.push({ type: 'interrupt', typed });
    });
    this.#interface.on('close', () => {
      this.#isClosed = true;
      this.#markPastes(false);
      this.#queue.push({ type: 'end' });
    });
    this.#rest();
  }

  async next(prompt: string, initial = ''): Promise<Line> {
    if (this.#queue.isEmpty && !this.#isClosed) {
      this.#input.setRawMode?.(true);
      this.#markPastes(true);
      this.#interface.resume();
      this.#prompt(prompt);
      if (initial !== '') this.#interface.write(initial);
    }
    const line = await this.#queue.next();
    if (line.type === 'end') this.#output.write('\n');
    this.#rest();
    return line;
  }

  close(): void {
    this.#input.off('keypress', this.#onKey);
    if (!this.#isClosed) this.#interface.close();
  }

  readonly #onKey = (_: unknown, key: { name?: string } | undefined) => {
    if (key?.name === 'paste-start') this.#isPasting = true;
    if (key?.name === 'paste-end') this.#isPasting = false;
  };

  #prompt(prompt: string): void {
    this.#interface.setPrompt(prompt);
    this.#interface.prompt();
  }

  /** Nothing is read until the next line is awaited. */
  #rest(): void {
    if (this.#isClosed) return;
    this.#interface.pause();
    this.#markPastes(false);
    this.#input.setRawMode?.(false);
  }

  #markPastes(on: boolean): void {
    if (process.env.TERM === 'dumb') return;
    if (on !== this.#areMarked) this.#output.write(on ? PASTE_ON : PASTE_OFF);
    this.#areMarked = on;
  }
}
