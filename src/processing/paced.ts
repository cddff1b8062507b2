/** Long work on pixels and texts in pieces, so that the event loop gets its turns and an abort is seen. */
import { checkSignal } from '../errors.js';
import { Pace, runSteps, type Steps } from '../runtime/steps.js';

export { orAborted, runSync, type Steps } from '../runtime/steps.js';

/** Values that are touched between two looks at the clock: a millisecond of the slowest work, or less. */
const PIECE_VALUES = 1 << 16;

/** One for all that this thread processes: many short calls in a row must not keep the event loop waiting either. */
const pace = new Pace();

/** Runs to the end. Throws the signal's reason when it is aborted, before the work begins or at any of its turns. */
export async function paced<T>(steps: Steps<T>, signal: AbortSignal | undefined): Promise<T> {
  checkSignal(signal);
  return runSteps(steps, pace, () => checkSignal(signal));
}

/**
 * Work on `count` rows, a few at a time, with a pause behind each few.
 * @param values that a row touches
 */
export function* byRows(
  count: number,
  values: number,
  work: (from: number, to: number) => void,
): Steps<void> {
  const step = Math.max(1, Math.floor(PIECE_VALUES / Math.max(1, values)));
  for (let from = 0; from < count; from += step) {
    work(from, Math.min(from + step, count));
    yield;
  }
}
