/** What an answer took and used. */
export interface Usage {
  /** Tokens of the whole prompt: earlier turns and pictures included. */
  prompt_tokens: number;
  /** Those of them that did not have to be computed, because an earlier answer had. */
  cached_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  /** Pieces of the pictures that the vision transformer sees, and those of them that it had to see for this answer. */
  tiles: number;
  tiles_encoded: number;
}

/** Milliseconds; they count from the moment at which the answer had its turn in the session. */
export interface Timings {
  /** Reading, decoding and cutting pictures, making tokens. */
  processing_ms: number;
  /** Until the first token. */
  first_token_ms: number;
  total_ms: number;
  /** Tokens behind the first one by the time that they took; 0 for an answer of one token. */
  tokens_per_second: number;
}

export interface AnswerResult {
  /** Without special tokens, and without the blank that the template leaves to the answer. */
  text: string;
  /** Its tokens, the one that ended it included. */
  ids: number[];
  /** `stop`: the model, a stop string or a criterion ended it. `length`: max_new_tokens, or the end of the context. */
  finish_reason: 'stop' | 'length';
  usage: Usage;
  timings: Timings;
}

type Work = (emit: (piece: string) => void, signal: AbortSignal) => Promise<AnswerResult>;

/**
 * An answer as it is made. `for await (const piece of answer)` gives its text piece by piece, never half a character;
 * `await answer` the whole result. Both may be done, in any order, and several times. It is made whether or not somebody
 * looks; leaving a loop before the end cancels it.
 *
 * Both reject with what ended the answer early: an InputError and the like, or, after `abort()` or by the `signal`, an
 * AbortError (the signal's reason). `text` then has what there was.
 */
export class Answer implements AsyncIterable<string>, PromiseLike<AnswerResult> {
  readonly #pieces: string[] = [];
  readonly #result: Promise<AnswerResult>;
  readonly #controller = new AbortController();
  #ended = false;
  /** Who waits for the next piece. */
  #waiting: (() => void)[] = [];

  /** @param work makes the answer; it starts at once */
  constructor(work: Work, signal?: AbortSignal) {
    const forward = () => this.#controller.abort(signal?.reason);
    if (signal?.aborted) forward();
    else signal?.addEventListener('abort', forward);
    const emit = (piece: string) => {
      this.#pieces.push(piece);
      this.#wake();
    };
    this.#result = work(emit, this.#controller.signal).finally(() => {
      signal?.removeEventListener('abort', forward);
      this.#ended = true;
      this.#wake();
    });
    // Whoever only iterates learns of a failure there.
    this.#result.catch(() => {});
  }

  /** The text so far. */
  get text(): string {
    return this.#pieces.join('');
  }

  /** Cancels the answer, if it is not done. What was computed of its prompt is kept for the next one. */
  abort(reason?: unknown): void {
    this.#controller.abort(reason);
  }

  // biome-ignore lint/suspicious/noThenProperty: an answer is there to be awaited.
  then<T = AnswerResult, E = never>(
    fulfilled?: ((result: AnswerResult) => T | PromiseLike<T>) | null,
    rejected?: ((error: unknown) => E | PromiseLike<E>) | null,
  ): Promise<T | E> {
    return this.#result.then(fulfilled, rejected);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string, void, void> {
    let isWhole = false;
    try {
      for (let next = 0; ; ) {
        if (next < this.#pieces.length) yield this.#pieces[next++];
        else if (this.#ended) break;
        else await new Promise<void>((resolve) => this.#waiting.push(resolve));
      }
      isWhole = true;
      await this.#result;
    } finally {
      if (!isWhole) this.abort();
    }
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
