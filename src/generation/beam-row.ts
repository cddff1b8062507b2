/** A sequence in a beam search. */
export interface Hypothesis {
  ids: readonly number[];
  /** For each new id the beam (counted over the whole batch) that it was chosen from. */
  indices: readonly number[];
  /** float32: summed log-probability; of finished ones with the length penalty. */
  score: number;
}

export interface Candidate extends Hypothesis {
  /** Whether it ends with its last id. */
  stops: boolean;
}

interface Kept extends Hypothesis {
  finished: boolean;
}

export interface BeamOptions {
  num_beams: number;
  early_stopping: boolean | 'never';
  length_penalty: number;
  /** New tokens at most. */
  maxLength: number;
  /** x to the power y, the same on every engine. */
  pow: (x: number, y: number) => number;
}

/** Added to what must not be chosen. In float32 it swallows the score itself, as in the reference. */
const OUT = -1e9;

/**
 * The beams of one prompt row: `_get_running_beams_for_next_iteration`, `_update_finished_beams` and
 * `_check_early_stop_heuristic` of the reference's vectorised beam search, in its float32 arithmetic. Of equal scores the
 * first wins, where torch.topk promises no order.
 */
export class BeamRow {
  running: Hypothesis[];
  #kept: Kept[];
  #improvable = true;
  #options: BeamOptions;

  /** @param first index of the row's first beam, counted over the batch */
  constructor(ids: readonly number[], options: BeamOptions) {
    this.#options = options;
    const empty = { ids, indices: [], score: OUT };
    // All beams begin alike: only the first may be continued in the first step.
    this.running = Array.from({ length: options.num_beams }, (_, i) => ({
      ...empty,
      score: i === 0 ? 0 : OUT,
    }));
    this.#kept = this.running.map(() => ({ ...empty, finished: false }));
  }

  /** The best finished sequences, best first. */
  best(count: number): Hypothesis[] {
    return this.#kept.slice(0, count);
  }

  get full(): boolean {
    return this.#kept.every((kept) => kept.finished);
  }

  /** Whether an open beam may still do better than a finished one. */
  get improvable(): boolean {
    return this.#improvable;
  }

  /** Whether nothing that comes can change the result. */
  get closed(): boolean {
    return !this.#improvable || (this.full && this.#options.early_stopping === true);
  }

  /** @param candidates the best continuations of the running beams, or those drawn, more than num_beams of them */
  advance(candidates: readonly Candidate[]): void {
    const { num_beams: beams, early_stopping } = this.#options;
    const length = candidates[0].indices.length;
    const running = candidates.map((c) => ({ ...c, score: c.stops ? Math.fround(c.score + OUT) : c.score }));
    const penalty = Math.fround(this.#options.pow(length, this.#options.length_penalty));
    const isFull = this.full && early_stopping === true;
    const finished = candidates.map((candidate, i): Kept => {
      const done = candidate.stops && i < beams;
      let score = Math.fround(candidate.score / penalty);
      if (isFull) score = Math.fround(score + OUT);
      if (!this.#improvable) score = Math.fround(score + OUT);
      if (!done) score = Math.fround(score + OUT);
      return { ids: candidate.ids, indices: candidate.indices, score, finished: done };
    });
    this.running = best(running, beams);
    this.#kept = best([...this.#kept, ...finished], beams);
    this.#improvable &&= this.#mayImprove(length);
  }

  /** @param made new tokens of the running beams */
  #mayImprove(made: number): boolean {
    const { early_stopping, length_penalty, maxLength, pow } = this.#options;
    const length = early_stopping === 'never' && length_penalty > 0 ? maxLength : made;
    const possible = Math.fround(this.running[0].score / Math.fround(pow(length, length_penalty)));
    const worst = Math.min(...this.#kept.map(({ score }) => score));
    return this.#kept.some(({ finished }) => possible > (finished ? worst : OUT));
  }
}

/** The `count` best, best first. */
function best<T extends Hypothesis>(all: readonly T[], count: number): T[] {
  // Array.sort is stable: equal ones keep their order.
  return [...all].sort((a, b) => (a.score === b.score ? 0 : b.score > a.score ? 1 : -1)).slice(0, count);
}
