/** What is written about one picture. */
import type { AnswerResult, Timings, Usage } from '../../chat/answer.js';

export interface ResultRecord {
  path: string;
  /** The answer; without it, `error` says why. */
  text?: string;
  finish_reason?: AnswerResult['finish_reason'];
  usage?: Usage;
  timings?: Timings;
  model: string;
  prompt: string;
  system?: string;
  /** The error's name and message. */
  error?: string;
}

/** Records of the same picture, question and model: the one makes the other needless. */
export function recordKey({ path, prompt, model, system }: ResultRecord): string {
  return JSON.stringify([path, prompt, model, system ?? null]);
}

/** How records lie in a file. */
export interface ResultFormat {
  name: 'jsonl' | 'csv';
  /** What a file begins with. */
  head: string;
  write(record: ResultRecord): string;
  /**
   * The records of a file, and how many of its characters are whole: what is behind was not written to its end.
   * @throws InputError naming the line that is no record
   */
  read(text: string, where: string): { entries: ResultEntry[]; whole: number };
}

/** A record in a file. Not all formats give back all that was written, but what picture it is of, and whether it failed. */
export interface ResultEntry {
  record: ResultRecord;
  /** Its characters, the line's end included. */
  source: string;
}
