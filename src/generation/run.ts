import { InputError } from '../errors.js';
import type { Decoder } from './decoder.js';
import type { GenerationSettings } from './options.js';
import { type GenerateOutput, stackRows } from './output.js';
import type { Processor } from './processors.js';
import type { GenerationProgress } from './progress.js';
import type { Prompt } from './prompt.js';
import type { Random } from './random.js';
import type { ScoreMath } from './score-math.js';
import type { Stops } from './stopping.js';

/** Receives ids as they are made. */
export interface Streamer {
  /** First the prompt's ids, row after row; then the new id of each row, step by step. */
  put(token_ids: Int32Array): void;
  end(): void;
}

/** Everything that a decoding strategy works with. */
export interface GenerationRun {
  prompt: Prompt;
  decoder: Decoder;
  options: GenerationSettings;
  /** Columns at most, the prompt's included. */
  maxColumns: number;
  processors: readonly Processor[];
  stops: Stops;
  math: ScoreMath;
  /** The stream of a prompt row's sequence. */
  random(row: number, sequence: number): Random;
  streamer?: Streamer;
  progress?: (progress: GenerationProgress) => void;
}

/** Tells that every row has got one more id. @param columns that rows have now, the prompt's included */
export function reportStep({ progress, prompt, maxColumns }: GenerationRun, columns: number): void {
  const first = prompt.ids[0].length;
  progress?.({ status: 'decoding', done: columns - first, total: maxColumns - first, cached: 0 });
}

/** Applies the processors to a row's scores in place; the row as the model gave it must hold no NaN. */
export function processScores(
  { processors, options }: GenerationRun,
  ids: readonly number[],
  scores: Float32Array,
  row: number,
): void {
  if (!options.remove_invalid_values && holdsNan(scores)) throw nanError(row);
  for (const process of processors) process(ids, scores, row);
}

function holdsNan(scores: Float32Array): boolean {
  // A plain loop takes a tenth of the time of `some`.
  for (let i = 0; i < scores.length; i++) if (Number.isNaN(scores[i])) return true;
  return false;
}

export function nanError(row: number): InputError {
  const expected = 'finite inputs and weights';
  return new InputError({ what: 'the scores hold NaN', where: `row ${row}`, expected, got: 'NaN' });
}

/** Nothing can be drawn: NaN or infinities, or every id filtered out. */
export function emptyError(row: number): InputError {
  return new InputError({
    what: 'no token can be drawn',
    where: `row ${row}, processed scores`,
    expected: 'finite scores for enough tokens',
    got: 'NaN, +Infinity, or too few scores above -Infinity',
  });
}

/** Keeps the scores of each step where the options ask for them. */
export class ScoreRecord {
  readonly #scores?: GenerateOutput['scores'];
  readonly #logits?: GenerateOutput['logits'];

  constructor({ return_dict_in_generate: dict, output_scores, output_logits }: GenerationSettings) {
    if (dict && output_scores) this.#scores = [];
    if (dict && output_logits) this.#logits = [];
  }

  /** Whether rows that have ended must be computed on, for their scores are given out too. */
  get wantsAll(): boolean {
    return this.#scores !== undefined || this.#logits !== undefined;
  }

  addLogits(rows: readonly (Float32Array | undefined)[]): void {
    this.#logits?.push(stackRows(rows as Float32Array[]));
  }

  addScores(rows: readonly (Float32Array | undefined)[]): void {
    this.#scores?.push(stackRows(rows as Float32Array[]));
  }

  get output(): Pick<GenerateOutput, 'scores' | 'logits'> {
    return {
      ...(this.#scores && { scores: this.#scores }),
      ...(this.#logits && { logits: this.#logits }),
    };
  }
}
