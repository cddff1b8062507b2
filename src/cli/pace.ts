/** How fast pictures are described, and how long the rest will take: only from what was finished. */
import type { AnswerProgress } from '../chat/ask.js';

type Clock = () => number;

export class Pace {
  readonly #total: number;
  readonly #now: Clock;
  #finished = 0;
  #failed = 0;
  #begun = 0;
  /** Milliseconds of the finished ones. */
  #spent = 0;
  /** When the first of the current picture's tiles was begun, and how far they are. */
  #tiles: { begun: number; done: number; total: number } | undefined;

  /** @param total pictures to describe */
  constructor(total: number, now: Clock = () => performance.now()) {
    this.#total = total;
    this.#now = now;
  }

  /** A picture is begun. */
  begin(): void {
    this.#begun = this.#now();
    this.#tiles = undefined;
  }

  progress(event: AnswerProgress): void {
    if (event.status !== 'encoding') return;
    this.#tiles ??= { begun: this.#now(), done: 0, total: 0 };
    this.#tiles.done = event.done;
    this.#tiles.total = event.total;
  }

  /** It is done; a picture that failed tells nothing about the others. */
  finish(succeeded: boolean): void {
    this.#finished++;
    if (succeeded) this.#spent += this.#now() - this.#begun;
    else this.#failed++;
  }

  /** Milliseconds a picture; undefined before one is finished. */
  get perPicture(): number | undefined {
    const good = this.#finished - this.#failed;
    return good > 0 ? this.#spent / good : undefined;
  }

  /**
   * Milliseconds until all are done; undefined while nothing is known. The pictures to come take what the finished ones
   * took. So does the current one, unless its tiles take longer.
   */
  get left(): number | undefined {
    const mean = this.perPicture;
    const inTiles = this.#tilesLeft();
    if (mean === undefined) return this.#total === 1 ? inTiles : undefined;
    const waiting = this.#total - this.#finished - 1;
    const current = Math.max(mean - (this.#now() - this.#begun), inTiles ?? 0, 0);
    return waiting * mean + current;
  }

  #tilesLeft(): number | undefined {
    const { begun, done, total } = this.#tiles ?? { begun: 0, done: 0, total: 0 };
    return done > 0 && done < total ? ((this.#now() - begun) * (total - done)) / done : undefined;
  }
}
