/**
 * Logits processors: what changes a row's scores before a token is chosen, one function each, named after the reference's
 * class. `ids` is the row as it stands, pads and image tokens of the prompt included, as the reference passes it.
 */
import type { ScoreMath } from './score-math.js';

/** Changes the scores of one row in place. `row` is the prompt's row in the batch. */
export type Processor = (ids: readonly number[], scores: Float32Array, row: number) => void;

const NONE = Number.NEGATIVE_INFINITY;
const FLOAT32_MAX = (2 - 2 ** -23) * 2 ** 127;

function ban(scores: Float32Array, ids: readonly number[]): void {
  // Ids outside the vocabulary match nothing.
  for (const id of ids) if (id >= 0 && id < scores.length) scores[id] = NONE;
}

/** SequenceBiasLogitsProcessor. */
export function sequenceBias(biases: readonly (readonly [readonly number[], number])[]): Processor {
  return (ids, scores) => {
    const sums = new Map<number, number>();
    for (const [sequence, bias] of biases) {
      const last = sequence.length - 1;
      if (last > 0 && (sequence.length > ids.length || !endsWith(ids, sequence.slice(0, last)))) continue;
      sums.set(sequence[last], Math.fround((sums.get(sequence[last]) ?? 0) + Math.fround(bias)));
    }
    for (const [id, bias] of sums) scores[id] += bias;
  };
}

/** NoBadWordsLogitsProcessor: sequences that are one eos are left out. */
export function noBadWords(words: readonly (readonly number[])[], eos: readonly number[]): Processor {
  const banned = words.filter((word) => word.length > 1 || !eos.includes(word[0]));
  return sequenceBias(banned.map((word) => [word, NONE]));
}

export function endsWith(ids: readonly number[], suffix: readonly number[]): boolean {
  const start = ids.length - suffix.length;
  return start >= 0 && suffix.every((id, i) => ids[start + i] === id);
}

/** RepetitionPenaltyLogitsProcessor: every id of the row counts once, those of the prompt too. */
export function repetitionPenalty(penalty: number): Processor {
  const factor = Math.fround(penalty);
  let seen = new Uint8Array(0);
  return (ids, scores) => {
    if (seen.length !== scores.length) seen = new Uint8Array(scores.length);
    for (const id of ids) {
      if (seen[id]) continue;
      seen[id] = 1;
      const score = scores[id];
      scores[id] = score < 0 ? score * factor : score / factor;
    }
    for (const id of ids) seen[id] = 0;
  };
}

/** NoRepeatNGramLogitsProcessor. */
export function noRepeatNgram(size: number): Processor {
  return (ids, scores) => {
    if (ids.length + 1 < size) return;
    const prefix = ids.slice(ids.length - size + 1);
    for (let start = 0; start + size <= ids.length; start++) {
      if (prefix.every((id, i) => ids[start + i] === id)) scores[ids[start + size - 1]] = NONE;
    }
  };
}

/** MinLengthLogitsProcessor; with the prompt's columns added, MinNewTokensLengthLogitsProcessor. */
export function minLength(columns: number, eos: readonly number[]): Processor {
  return (ids, scores) => {
    if (ids.length < columns) ban(scores, eos);
  };
}

/** PrefixConstrainedLogitsProcessor: the ids that may come next, by the row so far. */
export function prefixConstrained(
  allowed: (row: number, ids: readonly number[]) => readonly number[],
): Processor {
  return (ids, scores, row) => {
    const kept = allowed(row, ids).map((id): [number, number] => [id, scores[id]]);
    scores.fill(NONE);
    for (const [id, score] of kept) scores[id] = score;
  };
}

/** ForcedBOSTokenLogitsProcessor (columns 1) and ForcedEOSTokenLogitsProcessor (columns max_length − 1). */
export function forcedTokens(columns: number, forced: readonly number[]): Processor {
  return (ids, scores) => {
    if (ids.length !== columns) return;
    scores.fill(NONE);
    for (const id of forced) scores[id] = 0;
  };
}

/** InfNanRemoveLogitsProcessor. */
export function removeInvalid(): Processor {
  return (_, scores) => {
    for (let i = 0; i < scores.length; i++) {
      const score = scores[i];
      if (Number.isNaN(score)) scores[i] = 0;
      else if (!Number.isFinite(score)) scores[i] = score > 0 ? FLOAT32_MAX : -FLOAT32_MAX;
    }
  };
}

/** ExponentialDecayLengthPenalty. */
export function exponentialDecay(
  [start, factor]: readonly [number, number],
  eos: readonly number[],
  promptColumns: number,
  math: ScoreMath,
): Processor {
  return (ids, scores) => {
    const over = ids.length - promptColumns - start;
    if (over <= 0) return;
    const growth = Math.fround(math.pow(factor, over) - 1);
    for (const id of new Set(eos)) {
      if (id >= 0 && id < scores.length) scores[id] += Math.fround(Math.abs(scores[id]) * growth);
    }
  };
}

/** SuppressTokensLogitsProcessor. */
export function suppressTokens(tokens: readonly number[]): Processor {
  return (_, scores) => ban(scores, tokens);
}

/** SuppressTokensAtBeginLogitsProcessor. */
export function suppressAtBegin(tokens: readonly number[], columns: number): Processor {
  return (ids, scores) => {
    if (ids.length === columns) ban(scores, tokens);
  };
}

/** LogitNormalization. */
export function normalize(math: ScoreMath): Processor {
  return (_, scores) => math.logSoftmax(scores);
}
