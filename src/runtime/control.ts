/** The words by which the threads of an engine find each other, each in a cache line of its own. */

const LINE = 16;

/** Calls written to the ring so far (modulo 2^32). */
export const PRODUCED = 0;
export const QUIT = LINE;
/** Threads that sleep, or are about to: whoever changes a word must wake them. */
const SLEEPERS = 2 * LINE;
/** 1: what is left in the ring is passed over. */
export const SKIPPING = 3 * LINE;

/** Calls that a worker is done with. */
export function progressOf(worker: number): number {
  return (4 + worker) * LINE;
}

export function controlBytes(threads: number): number {
  return 4 * (4 + threads) * LINE;
}

/** Looks this often before it sleeps: a few tens of microseconds, about what waking up takes. */
const SPINS = 20_000;

/** Sets a word and wakes whoever sleeps on it. */
export function publish(control: Int32Array, word: number, value: number): void {
  Atomics.store(control, word, value);
  if (Atomics.load(control, SLEEPERS) > 0) Atomics.notify(control, word);
}

/**
 * Waits until the word has passed `value` (as a counter modulo 2^32), or is there.
 * @param limit milliseconds after which it gives up where nothing changes
 * @returns whether it is there
 */
export function waitUntil(
  control: Int32Array,
  word: number,
  value: number,
  maySleep = true,
  limit = Number.POSITIVE_INFINITY,
): boolean {
  let end = Number.POSITIVE_INFINITY;
  for (let i = 0; i < SPINS || !maySleep; i++) {
    if (((Atomics.load(control, word) - value) | 0) >= 0) return true;
    if (i % SPINS > 0 || i === 0) continue;
    if (end === Number.POSITIVE_INFINITY) end = performance.now() + limit;
    else if (performance.now() > end) return false;
  }
  Atomics.add(control, SLEEPERS, 1);
  let isThere = false;
  for (let isOver = false; !isThere && !isOver; ) {
    // The value is taken before the look at it, and `publish` looks for sleepers after its store: no wake-up is lost.
    const seen = Atomics.load(control, word);
    isThere = ((seen - value) | 0) >= 0;
    if (!isThere) isOver = Atomics.wait(control, word, seen, limit) === 'timed-out';
  }
  Atomics.sub(control, SLEEPERS, 1);
  return isThere;
}
