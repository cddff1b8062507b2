/** What a person reads of an answer's progress. */
import type { AnswerProgress } from '../chat/ask.js';
import { stringWidth, truncateStart } from './text-width.js';

/** How far an answer is, in a few words. Tiles are counted from 1: the one that is being encoded. */
export function stageOf(progress: AnswerProgress): string {
  switch (progress.status) {
    case 'processing':
      return 'processing';
    case 'encoding': {
      const tile = Math.min(Math.floor(progress.done) + 1, progress.total);
      return progress.total > 0 ? `encoding tile ${tile} of ${progress.total}` : 'encoding';
    }
    case 'prefill':
      return `prefill ${Math.floor(progress.done)} of ${progress.total} tokens`;
    case 'decoding':
      return `decoding, ${progress.done} ${progress.done === 1 ? 'token' : 'tokens'}`;
  }
}

export interface ProgressParts {
  counter: string;
  name: string;
  stage: string;
  rate?: string;
  left?: string;
}

const BETWEEN = ' · ';

/** One line: where it is too long, the rate goes first, then the beginning of the name, then the name, then the time. */
export function progressText({ counter, name, stage, rate, left }: ProgressParts, columns: number): string {
  const join = (...parts: (string | undefined)[]) => parts.filter(Boolean).join(BETWEEN);
  const whole = join(counter, name, stage, rate, left);
  if (stringWidth(whole) <= columns) return whole;
  const room = columns - stringWidth(join(counter, stage, left)) - BETWEEN.length;
  if (room >= 8) return join(counter, truncateStart(name, room), stage, left);
  const short = join(counter, stage, left);
  return stringWidth(short) <= columns ? short : join(counter, stage);
}
