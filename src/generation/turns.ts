import { turn } from '../runtime/steps.js';

/** How long a chain of short runs may keep the event loop waiting; a run of its own turns at least every 20 ms. */
const SLICE_MS = 10;

/** Turns of the event loop between the steps of a generation, each of which may be too short to take one itself. */
export class Turns {
  #last = performance.now();

  async take(): Promise<void> {
    if (performance.now() - this.#last < SLICE_MS) return;
    await turn();
    this.#last = performance.now();
  }
}
