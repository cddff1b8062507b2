import { abortError, checkSignal, type HubError } from '../../errors.js';

export interface RetryPolicy {
  /** Failures in a row without progress, after which it is given up. */
  readonly attempts: number;
  /** The first pause, which doubles from failure to failure up to `capMs`; up to half of each is drawn at random. */
  readonly baseMs: number;
  readonly capMs: number;
  /** A server that asks for a longer pause than this (Retry-After) gets this one. */
  readonly retryAfterCapMs: number;
  /** A connection that gives no byte for so long counts as dead. */
  readonly idleMs: number;
}

export const RETRIES: RetryPolicy = {
  attempts: 6,
  baseMs: 500,
  capMs: 20_000,
  retryAfterCapMs: 120_000,
  idleMs: 30_000,
};

/** A fault that may pass: what to throw when it does not, and when the server wants to be asked again. */
export class TransientError extends Error {
  readonly error: HubError;
  readonly retryAfterMs: number | undefined;

  constructor(error: HubError, retryAfterMs?: number) {
    super(error.message);
    this.error = error;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Counts failures and makes the pauses between them. */
export class Patience {
  #policy: RetryPolicy;
  #failures = 0;

  constructor(policy: RetryPolicy) {
    this.#policy = policy;
  }

  /** Something was gained: failures are counted from 0 again. */
  renew(): void {
    this.#failures = 0;
  }

  /** Waits before another try. @throws the fault's HubError when there were enough; AbortError */
  async wait(fault: TransientError, signal: AbortSignal | undefined): Promise<void> {
    const { attempts, baseMs, capMs, retryAfterCapMs } = this.#policy;
    if (++this.#failures >= attempts) throw fault.error;
    const longest = Math.min(capMs, baseMs * 2 ** (this.#failures - 1));
    const own = longest * (0.5 + 0.5 * Math.random());
    await pause(Math.max(own, Math.min(fault.retryAfterMs ?? 0, retryAfterCapMs)), signal);
  }
}

/** Does it until it succeeds or fails for good. @throws HubError; AbortError */
export async function withRetries<T>(
  policy: RetryPolicy,
  signal: AbortSignal | undefined,
  run: () => Promise<T>,
): Promise<T> {
  const patience = new Patience(policy);
  for (;;) {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof TransientError)) throw error;
      await patience.wait(error, signal);
    }
  }
}

/** @throws AbortError as soon as the signal is aborted */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  checkSignal(signal);
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(abortError(signal!));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal?.addEventListener('abort', stop, { once: true });
  });
}

/** Milliseconds of a Retry-After header: seconds, or a date. */
export function retryAfterMs(header: string | null, now = Date.now()): number | undefined {
  if (header === null) return undefined;
  const seconds = Number(header);
  if (header.trim() !== '' && Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** Watches over one connection: aborts it where nothing comes for `idleMs`, or the caller's signal says so. */
export class Watch {
  /** Whether it was the silence that ended it. */
  stalled = false;
  #controller = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #outer: AbortSignal | undefined;
  #idleMs: number;
  #abort = () => this.#controller.abort(abortError(this.#outer!));

  constructor(idleMs: number, outer: AbortSignal | undefined) {
    checkSignal(outer);
    this.#idleMs = idleMs;
    this.#outer = outer;
    outer?.addEventListener('abort', this.#abort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** What the promise gives, or an error when the watch ends it first: a runtime may leave a dead connection's promise alone. */
  async race<T>(promise: Promise<T>): Promise<T> {
    const { signal } = this;
    this.#timer = setTimeout(() => {
      this.stalled = true;
      this.#controller.abort(new Error('no byte came'));
    }, this.#idleMs);
    let stop: (() => void) | undefined;
    const ended = new Promise<never>((_, reject) => {
      stop = () => reject(signal.reason);
      if (signal.aborted) stop();
      else signal.addEventListener('abort', stop, { once: true });
    });
    try {
      return await Promise.race([promise, ended]);
    } finally {
      clearTimeout(this.#timer);
      signal.removeEventListener('abort', stop!);
      promise.catch(() => {});
    }
  }

  /** The connection is done with. */
  end(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener('abort', this.#abort);
  }

  /** Drops the connection. */
  drop(): void {
    this.end();
    this.#controller.abort(new Error('dropped'));
  }
}
