import { abortError, checkSignal } from '../../errors.js';

/** Connections at once: more would share the same line, fewer leave it idle while one is set up. */
const AT_ONCE = 3;

/**
 * Runs over all items in their order, a few at a time. The first failure ends the others, and is thrown when they have ended.
 * @throws AbortError too
 */
export async function inParallel<T>(
  items: readonly T[],
  run: (item: T, signal: AbortSignal) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  checkSignal(signal);
  const controller = new AbortController();
  const stop = () => controller.abort(abortError(signal!));
  signal?.addEventListener('abort', stop, { once: true });
  let failure: { error: unknown } | undefined;
  let next = 0;
  const work = async () => {
    while (next < items.length && !failure) {
      try {
        await run(items[next++], controller.signal);
      } catch (error) {
        failure ??= { error };
        controller.abort(error);
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, work));
  } finally {
    signal?.removeEventListener('abort', stop);
  }
  if (failure) throw failure.error;
}
