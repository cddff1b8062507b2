import { InputError } from '../errors.js';
import { type StoppingCriterion, userCriterion } from './hooks.js';
import type { GenerationSettings } from './options.js';
import { endsWith } from './processors.js';

/** As much of a tokenizer as stop strings need. */
export interface Decodes {
  decode(
    ids: number[],
    options?: { skip_special_tokens?: boolean; clean_up_tokenization_spaces?: boolean },
  ): string;
}

export interface StoppingContext {
  promptColumns: number;
  maxColumns: number;
  tokenizer?: Decodes;
  stop_token_sequences?: readonly (readonly number[])[];
  stopping_criteria?: readonly StoppingCriterion[];
}

/** Whether a row ends with its last id. `row` is the prompt's row in the batch. */
export type Stops = (ids: readonly number[], row: number) => boolean;

/**
 * All criteria of the options together (the reference's `_get_stopping_criteria`).
 * @throws InputError for stop strings without a tokenizer
 */
export function stoppingCriteria(options: GenerationSettings, context: StoppingContext): Stops {
  const { eos_token_id: eos, max_time, stop_strings } = options;
  const { maxColumns, promptColumns, stop_token_sequences: sequences = [] } = context;
  const all: Stops[] = [(ids) => ids.length >= maxColumns, (ids) => eos.includes(ids[ids.length - 1])];
  if (max_time !== null) {
    const end = performance.now() + 1000 * max_time;
    all.push(() => performance.now() > end);
  }
  if (stop_strings.length > 0) all.push(stopStrings(stop_strings, context.tokenizer));
  if (sequences.length > 0) {
    checkSequences(sequences);
    all.push((ids) => sequences.some((s) => ids.length - s.length >= promptColumns && endsWith(ids, s)));
  }
  all.push(...(context.stopping_criteria ?? []).map(userCriterion));
  // Every one is asked: a criterion may keep count.
  return (ids, row) => all.map((stops) => stops(ids, row)).includes(true);
}

/**
 * StopStringCriteria: the row's text holds a stop string that its last token completes, that is, one which is not there
 * without that token. The prompt's last tokens count, as in the reference. Unlike there, characters whose bytes are spread
 * over several tokens are matched too.
 */
function stopStrings(strings: readonly string[], tokenizer: Decodes | undefined): Stops {
  if (typeof tokenizer?.decode !== 'function') {
    const expected = 'an object with the method decode';
    const got = tokenizer === undefined ? 'none' : typeof tokenizer;
    throw new InputError({ what: 'stop_strings need a tokenizer', where: 'tokenizer', expected, got });
  }
  // A token that shows has at least one character, or is a byte of one of at most four.
  const window = 4 * Math.max(...strings.map((text) => text.length));
  const options = { skip_special_tokens: false, clean_up_tokenization_spaces: false };
  return (ids) => {
    const last = ids.slice(-window);
    const text = tokenizer.decode(last, options);
    const before = last.length > 1 ? tokenizer.decode(last.slice(0, -1), options) : '';
    // What an unfinished character was shown as does not count as text before.
    const known = before.replace(/\ufffd+$/, '').length;
    return strings.some((stop) => text.indexOf(stop, Math.max(0, known - stop.length + 1)) >= 0);
  };
}

function checkSequences(sequences: readonly (readonly number[])[]): void {
  const isSequence = (ids: unknown) => Array.isArray(ids) && ids.length > 0 && ids.every(Number.isInteger);
  if (Array.isArray(sequences) && sequences.every(isSequence)) return;
  throw new InputError({
    what: 'wrong value',
    where: 'stop_token_sequences',
    expected: 'a list of lists of token ids',
    got: JSON.stringify(sequences),
  });
}
