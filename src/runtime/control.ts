/** The words by which the threads of an engine find each other, each in a cache line of its own. */

const LINE = 16;

/** Calls written to the ring so far (modulo 2^32). */
export const PRODUCED = 0;
/** Calls that are done, which is the number of the call under way. */
export const COMPLETED = LINE;
export const QUIT = 2 * LINE;
/** 1: what is left in the ring is passed over. */
export const SKIPPING = 3 * LINE;
/** 1: the caller's thread wants to hear of it when as many calls are done as the next word says. */
export const IS_AWAITED = 4 * LINE;
export const AWAITED = IS_AWAITED + 1;
/** Kernels that failed so far. */
export const FAILURES = 5 * LINE;

export const CONTROL_BYTES = 4 * 6 * LINE;

/** Threads that sleep on a word, or are about to, stand next to it: whoever changes the word must wake them. */
const SLEEPERS = 1;

/** Looks this often before it sleeps: a few tens of microseconds, about what waking up takes. */
const SPINS = 20_000;

/** Sets a word and wakes whoever sleeps on it. */
export function publish(control: Int32Array, word: number, value: number): void {
  Atomics.store(control, word, value);
  if (Atomics.load(control, word + SLEEPERS) > 0) Atomics.notify(control, word);
}

/** Whether the word has passed `value` (as a counter modulo 2^32), or is there. */
export function hasReached(control: Int32Array, word: number, value: number): boolean {
  return ((Atomics.load(control, word) - value) | 0) >= 0;
}

/** Waits for that for a moment, without sleeping. @returns whether it is there */
export function spinUntil(control: Int32Array, word: number, value: number): boolean {
  for (let i = 0; i < SPINS; i++) if (hasReached(control, word, value)) return true;
  return false;
}

/**
 * Waits for that.
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
  if (spinUntil(control, word, value)) return true;
  if (!maySleep) {
    const end = performance.now() + limit;
    while (performance.now() < end) if (spinUntil(control, word, value)) return true;
    return false;
  }
  Atomics.add(control, word + SLEEPERS, 1);
  let isThere = false;
  for (let isOver = false; !isThere && !isOver; ) {
    // The value is taken before the look at it, and `publish` looks for sleepers after its store: no wake-up is lost.
    const seen = Atomics.load(control, word);
    isThere = ((seen - value) | 0) >= 0;
    if (!isThere) isOver = Atomics.wait(control, word, seen, limit) === 'timed-out';
  }
  Atomics.sub(control, word + SLEEPERS, 1);
  return isThere;
}
