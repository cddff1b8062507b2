/**
 * Ctrl-C: the first one asks the work to stop and clean up, the second ends the process at once, as does one that comes
 * when the work did not end by itself.
 */
export class Interrupt {
  readonly #controller = new AbortController();
  readonly #listener = () => {
    if (this.#controller.signal.aborted) process.exit(130);
    this.#controller.abort();
  };

  constructor() {
    process.on('SIGINT', this.#listener);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Ctrl-C ends the process again, as it does without all this; on the way out it still ends it with status 130. */
  release(): void {
    if (!this.signal.aborted) process.off('SIGINT', this.#listener);
  }
}
