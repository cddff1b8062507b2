import { abortError } from '../errors.js';

/**
 * A computation that can pause: it yields between kernel calls, each of which takes a few milliseconds at most. Whoever
 * drives it decides what happens there: nothing, a turn of the event loop, or the end. Where it yields a promise, it cannot
 * go on before that is settled.
 */
export type Steps<T> = Generator<undefined | Promise<unknown>, T, void>;

/** How long the event loop may have to wait for its turn, with room for one more step: the promise is 20 ms. */
const SLICE_MS = 6;

/** Runs to the end in one go a computation that waits for nothing. */
export function runSync<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
    if (value) throw new Error('a computation that waits was run in one go');
  }
}

/**
 * When the event loop had its last turn. One pace is shared by all computations of an engine: many short ones in a row
 * must not keep the event loop waiting either.
 */
export class Pace {
  #sliceEnd = 0;

  /** A turn of the event loop, if it has waited long enough. */
  async turnIfDue(): Promise<void> {
    if (!this.isDue) return;
    await turn();
    this.#sliceEnd = performance.now() + SLICE_MS;
  }

  get isDue(): boolean {
    return performance.now() >= this.#sliceEnd;
  }
}

/**
 * Runs to the end, giving the event loop a turn at least every 20 ms. `look` is called after each turn and may throw: the
 * computation then releases what it holds and ends. An abort of the signal ends a wait too.
 */
export async function runSteps<T>(
  steps: Steps<T>,
  pace: Pace,
  look: () => void,
  signal?: AbortSignal,
): Promise<T> {
  try {
    for (;;) {
      if (pace.isDue) {
        await pace.turnIfDue();
        look();
      }
      const { done, value } = steps.next();
      if (done) return value;
      if (value) {
        await orAborted(value, signal);
        look();
      }
    }
  } finally {
    // Lets the computation release its scopes when it is left early.
    steps.return(undefined as T);
  }
}

/** What comes of a promise, or the signal's reason as soon as it is aborted: for work that cannot be called off. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = () => reject(abortError(signal));
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

/** One turn of the event loop: timers, I/O and signals get through. */
export const turn: () => Promise<void> = makeTurn();

function makeTurn(): () => Promise<void> {
  if (typeof setImmediate === 'function') return () => new Promise((resolve) => setImmediate(resolve));
  // setTimeout is clamped to 4 ms in browsers; a message is not.
  if (typeof MessageChannel === 'function') {
    const { port1, port2 } = new MessageChannel();
    const waiting: (() => void)[] = [];
    port1.onmessage = () => waiting.shift()?.();
    return () =>
      new Promise((resolve) => {
        waiting.push(resolve);
        port2.postMessage(0);
      });
  }
  return () => new Promise((resolve) => setTimeout(resolve, 0));
}
