/** Texts to one tensor of ids: truncation, padding and the masks (`PreTrainedTokenizerFast.__call__`). */
import { InputError, MemoryError } from '../errors.js';
import { byRows, type Steps } from './paced.js';
import type { SmolVLMTokenizer } from './tokenizer.js';

/** One text, or one text as a list of words (with `is_split_into_words`). */
export type TextSequence = string | readonly string[];

export interface PaddingOptions {
  /**
   * `true` or `longest`: to the longest row; `max_length`: to `max_length` or the tokenizer's model_max_length; `false`
   * or `do_not_pad`: rows of different lengths are an InputError. Left out, rows of different lengths are padded on the
   * left, ready to be continued, where the reference gives no tensor at all.
   */
  padding?: boolean | 'longest' | 'max_length' | 'do_not_pad';
  /**
   * Default: the tokenizer's `padding_side` (tokenizer_config.json); without one `right`, the reference's, where `padding`
   * is given, and `left` where it is left out. `generate` continues rows that are padded on the left.
   */
  padding_side?: 'left' | 'right';
  /** Default true: runs the tokenizer's post-processor. */
  add_special_tokens?: boolean;
  /** Cuts rows to `max_length`, on the tokenizer's `truncation_side`. `max_length` alone cuts as well. */
  truncation?: boolean | 'longest_first' | 'only_first' | 'only_second' | 'do_not_truncate';
  max_length?: number;
  pad_to_multiple_of?: number;
  /** Texts come as lists of words, each tokenized on its own. */
  is_split_into_words?: boolean;
  return_attention_mask?: boolean;
  return_token_type_ids?: boolean;
  return_special_tokens_mask?: boolean;
  return_length?: boolean;
  /** Only matters together with overflowing tokens, which are not returned here. */
  stride?: number;
  /** Accepted; nothing is logged. */
  verbose?: boolean;
}

/** int64 [batch, sequence]. */
export interface IdTensor {
  data: BigInt64Array;
  dims: [number, number];
}

export interface TextInputs {
  input_ids: IdTensor;
  /** 1 for tokens, 0 for padding. */
  attention_mask: IdTensor;
}

/** What is returned on request only. */
export interface ExtraTextOutputs {
  /** All zero. */
  token_type_ids?: IdTensor;
  /** 1 for padding and for what the post-processor added. */
  special_tokens_mask?: IdTensor;
  /** int64 [batch]: columns of each row, padding included. */
  length?: { data: BigInt64Array; dims: [number] };
}

/** What `model_max_length` must pass to count as "none" (`LARGE_INTEGER`). */
const NO_LIMIT = 1e20;

/** Batches of more ids than this are refused: 2 GiB a tensor. */
const MAX_IDS = 2 ** 28;

interface Strategy {
  pad: 'none' | 'longest' | 'max_length' | 'as needed';
  truncate: boolean;
  maxLength: number | undefined;
  side: 'left' | 'right';
}

/**
 * @throws InputError for options without meaning, for rows of different lengths that may not be padded, and where there
 *   is nothing to pad with
 */
export function* encodeBatch(
  tokenizer: SmolVLMTokenizer,
  texts: readonly TextSequence[],
  options: PaddingOptions,
): Steps<TextInputs & ExtraTextOutputs> {
  const strategy = resolve(tokenizer, options);
  const rows: Row[] = [];
  for (const text of texts) rows.push(yield* encodeRow(tokenizer, text, options, strategy));
  const length = paddedLength(rows, options, strategy);
  const padded = rows.some(({ ids }) => ids.length !== length);
  const pad = tokenizer.pad_token_id;
  if (pad === undefined && (padded || (strategy.pad !== 'none' && strategy.pad !== 'as needed'))) {
    throw new InputError({
      what: 'tokenizer has no token to pad with',
      where: 'tokenizer_config.json: pad_token',
      expected: 'a token of the vocabulary',
      got: String(tokenizer.pad_token),
    });
  }
  checkSize(rows.length, length);
  const dims: [number, number] = [rows.length, length];
  const tensor = (fill: number): IdTensor => ({
    data: new BigInt64Array(rows.length * length).fill(BigInt(fill)),
    dims: [...dims],
  });
  const input_ids = tensor(pad ?? 0);
  const attention_mask = tensor(0);
  const special_tokens_mask = tensor(1);
  for (const [index, { ids, special }] of rows.entries()) {
    const start = index * length + (strategy.side === 'left' ? length - ids.length : 0);
    yield* byRows(ids.length, 16, (from, to) => {
      for (let i = from; i < to; i++) {
        input_ids.data[start + i] = BigInt(ids[i]);
        attention_mask.data[start + i] = 1n;
        special_tokens_mask.data[start + i] = special(i) ? 1n : 0n;
      }
    });
  }
  const outputs: TextInputs & ExtraTextOutputs = { input_ids, attention_mask };
  if (options.return_attention_mask === false) delete (outputs as Partial<TextInputs>).attention_mask;
  if (options.return_token_type_ids) outputs.token_type_ids = tensor(0);
  if (options.return_special_tokens_mask) outputs.special_tokens_mask = special_tokens_mask;
  if (options.return_length) {
    outputs.length = { data: new BigInt64Array(rows.length).fill(BigInt(length)), dims: [rows.length] };
  }
  return outputs;
}

function checkSize(batch: number, length: number): void {
  if (batch * length <= MAX_IDS) return;
  throw new MemoryError({
    what: 'batch too large',
    where: 'text, max_length, pad_to_multiple_of',
    expected: `at most ${MAX_IDS} ids`,
    got: `${batch} rows of ${length}`,
  });
}

interface Row {
  ids: number[];
  /** Whether the post-processor added the id at this place. */
  special: (place: number) => boolean;
}

/** The text is cut first, so that what the post-processor adds is never cut off. */
function* encodeRow(
  tokenizer: SmolVLMTokenizer,
  text: TextSequence,
  { add_special_tokens = true }: PaddingOptions,
  { truncate, maxLength }: Strategy,
): Steps<Row> {
  let ids: number[] = [];
  if (typeof text === 'string') ids = yield* tokenizer.encodeSteps(text);
  else for (const word of text) for (const id of yield* tokenizer.encodeSteps(word)) ids.push(id);
  const { before, after } = add_special_tokens ? tokenizer.added_ids() : { before: [], after: [] };
  if (truncate && maxLength !== undefined) {
    const room = Math.max(0, maxLength - before.length - after.length);
    const left = tokenizer.truncation_side === 'left';
    if (ids.length > room) ids = left ? ids.slice(ids.length - room) : ids.slice(0, room);
  }
  const end = before.length + ids.length;
  return { ids: [...before, ...ids, ...after], special: (place) => place < before.length || place >= end };
}

function paddedLength(
  rows: readonly Row[],
  { pad_to_multiple_of }: PaddingOptions,
  strategy: Strategy,
): number {
  const lengths = rows.map(({ ids }) => ids.length);
  const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
  const ragged = lengths.some((length) => length !== longest);
  if (strategy.pad === 'none') {
    if (!ragged) return longest;
    throw new InputError({
      what: 'texts of different lengths cannot be one tensor',
      where: 'padding',
      expected: 'true (and truncation, if they are too long), or equal lengths',
      got: lengths.join(', '),
    });
  }
  const multiple = pad_to_multiple_of ?? 1;
  const fixed = strategy.pad === 'max_length' ? strategy.maxLength : undefined;
  const target = Math.ceil((fixed ?? longest) / multiple) * multiple;
  // Rows beyond the target are not padded to each other.
  if (lengths.some((length) => Math.max(length, target) !== Math.max(longest, target))) {
    throw new InputError({
      what: 'texts longer than max_length',
      where: 'max_length',
      expected: `at most ${target} tokens, or truncation: true`,
      got: lengths.join(', '),
    });
  }
  return Math.max(longest, target);
}

/** `_get_padding_truncation_strategies`. */
function resolve(tokenizer: SmolVLMTokenizer, options: PaddingOptions): Strategy {
  check(options);
  const { padding, truncation, pad_to_multiple_of } = options;
  let maxLength = options.max_length;
  let pad: Strategy['pad'] = 'none';
  if (padding === undefined) pad = 'as needed';
  else if (padding === true || padding === 'longest') pad = 'longest';
  else if (padding === 'max_length') pad = 'max_length';
  let truncate = truncation !== undefined && truncation !== false && truncation !== 'do_not_truncate';
  if (maxLength !== undefined && (padding === undefined || padding === false) && truncation === undefined) {
    truncate = true;
  }
  if (maxLength === undefined && (pad === 'max_length' || truncate)) {
    if (tokenizer.model_max_length <= NO_LIMIT) {
      maxLength = tokenizer.model_max_length;
    } else {
      if (pad === 'max_length') pad = 'none';
      truncate = false;
    }
  }
  const both = truncate && pad !== 'none' && pad !== 'as needed';
  if (both && pad_to_multiple_of && maxLength !== undefined && maxLength % pad_to_multiple_of !== 0) {
    throw new InputError({
      what: 'truncation and padding contradict each other',
      where: 'max_length, pad_to_multiple_of',
      expected: `a max_length that is a multiple of ${pad_to_multiple_of}`,
      got: String(maxLength),
    });
  }
  const fallback = pad === 'as needed' ? 'left' : 'right';
  return { pad, truncate, maxLength, side: options.padding_side ?? tokenizer.padding_side ?? fallback };
}

const FLAGS = [
  'add_special_tokens',
  'is_split_into_words',
  'return_attention_mask',
  'return_token_type_ids',
  'return_special_tokens_mask',
  'return_length',
  'verbose',
] as const;

function check(options: PaddingOptions): void {
  const among = (name: keyof PaddingOptions, values: readonly unknown[]) => {
    const value = options[name];
    if (value === undefined || values.includes(value)) return;
    const expected = values.join(', ');
    throw new InputError({ what: 'invalid option', where: name, expected, got: String(value) });
  };
  among('padding', [true, false, 'longest', 'max_length', 'do_not_pad']);
  among('padding_side', ['left', 'right']);
  const truncations = ['longest_first', 'only_first', 'only_second', 'do_not_truncate'];
  among('truncation', [true, false, ...truncations]);
  for (const name of FLAGS) among(name, [true, false]);
  for (const [name, least] of [
    ['max_length', 1],
    ['pad_to_multiple_of', 1],
    ['stride', 0],
  ] as const) {
    const value = options[name];
    if (value === undefined || (Number.isInteger(value) && value >= least)) continue;
    const expected = `an integer of at least ${least}`;
    throw new InputError({ what: 'invalid option', where: name, expected, got: String(value) });
  }
  if (options.truncation === 'only_second') {
    throw new InputError({
      what: 'only_second cuts the second text of a pair',
      where: 'truncation',
      expected: 'true, longest_first or only_first',
      got: 'only_second, and no pairs',
    });
  }
}
