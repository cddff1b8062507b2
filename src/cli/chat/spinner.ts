import { ProgressLine, type ProgressStream, seconds } from '../terminal.js';

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/** A line that turns while there is nothing else to see, with what is done and for how long. */
export class Spinner {
  readonly #line: ProgressLine;
  #timer: ReturnType<typeof setInterval> | undefined;
  #text = '';
  #begun = 0;
  #frame = 0;

  constructor(stream: ProgressStream) {
    this.#line = new ProgressLine(stream);
  }

  /** Begins, or goes on with another text. */
  show(text: string): void {
    this.#text = text;
    if (this.#timer) return;
    this.#begun = performance.now();
    this.#timer = setInterval(() => this.#draw(), 120);
    this.#timer.unref();
    this.#draw();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#line.clear();
  }

  #draw(): void {
    const elapsed = performance.now() - this.#begun;
    const time = elapsed < 1000 ? '' : ` · ${seconds(elapsed)}`;
    this.#line.show(`${FRAMES[this.#frame++ % FRAMES.length]} ${this.#text}${time}`);
  }
}
