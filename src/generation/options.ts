import { InputError } from '../errors.js';

/**
 * What steers a generation, under the names of the reference's `GenerationConfig`. Undefined: the value of the
 * checkpoint's generation_config.json, else the reference's default. null: off.
 */
export interface GenerationOptions {
  // ---- length
  /** New tokens at most. Goes before max_length. */
  max_new_tokens?: number | null;
  /** Columns at most, the prompt's (pads and image tokens too) included. Default: 20 more than the prompt has. */
  max_length?: number | null;
  /** New tokens before an eos may come. */
  min_new_tokens?: number | null;
  /** Columns before an eos may come, the prompt's included. */
  min_length?: number | null;
  /** Seconds after which no further token is begun. */
  max_time?: number | null;
  /** A row ends with the token that completes one of them; needs `tokenizer`. */
  stop_strings?: string | readonly string[] | null;

  // ---- strategy
  /** Draw tokens instead of taking the best. Default: false. */
  do_sample?: boolean | null;
  /** Above 1: beam search. Default: 1. */
  num_beams?: number | null;
  /** Sequences for each prompt row, side by side in the output. Default: 1. */
  num_return_sequences?: number | null;
  /** When a beam search ends: true as soon as there are num_beams finished sequences, false by a heuristic, "never" when none can improve. */
  early_stopping?: boolean | 'never' | null;
  /** Finished beams are ranked by their summed log-probability divided by length to this power. Default: 1. */
  length_penalty?: number | null;

  // ---- scores
  repetition_penalty?: number | null;
  no_repeat_ngram_size?: number | null;
  bad_words_ids?: readonly (readonly number[])[] | null;
  /** [[ids, bias], …]: added to the score of the last id where the ids before it have just been made. */
  sequence_bias?: readonly (readonly [readonly number[], number])[] | null;
  suppress_tokens?: readonly number[] | null;
  begin_suppress_tokens?: readonly number[] | null;
  forced_bos_token_id?: number | null;
  forced_eos_token_id?: number | readonly number[] | null;
  /** [start, factor]: eos grows ever likelier from `start` new tokens on. */
  exponential_decay_length_penalty?: readonly [number, number] | null;
  remove_invalid_values?: boolean | null;
  renormalize_logits?: boolean | null;

  // ---- sampling
  /** Default: 1. */
  temperature?: number | null;
  /** Default: 50; 0 is off. */
  top_k?: number | null;
  top_p?: number | null;
  min_p?: number | null;
  typical_p?: number | null;
  epsilon_cutoff?: number | null;
  eta_cutoff?: number | null;

  // ---- tokens
  /** Ids that end a row. */
  eos_token_id?: number | readonly number[] | null;
  /** What rows that have ended are filled up with. Default: the first eos. */
  pad_token_id?: number | null;
  bos_token_id?: number | null;

  // ---- output
  /** An object instead of the sequences alone. */
  return_dict_in_generate?: boolean | null;
  /** With it: the processed scores of each step. */
  output_scores?: boolean | null;
  /** With it: the scores of each step as the model gives them. */
  output_logits?: boolean | null;
  /** Has no effect on the result: a cached run has the bits of an uncached one. */
  use_cache?: boolean | null;
}

/** The options with all defaults filled in; eos always a list. */
export interface GenerationSettings
  extends Required<Omit<GenerationOptions, 'eos_token_id' | 'stop_strings'>> {
  do_sample: boolean;
  num_beams: number;
  num_return_sequences: number;
  early_stopping: boolean | 'never';
  length_penalty: number;
  eos_token_id: readonly number[];
  stop_strings: readonly string[];
}

/** Defaults of the reference's GenerationConfig; what is not here is off. */
const DEFAULTS = {
  do_sample: false,
  num_beams: 1,
  num_return_sequences: 1,
  early_stopping: false,
  length_penalty: 1,
  repetition_penalty: 1,
  no_repeat_ngram_size: 0,
  min_length: 0,
  temperature: 1,
  top_k: 50,
  top_p: 1,
  typical_p: 1,
  epsilon_cutoff: 0,
  eta_cutoff: 0,
};

type Check = [expected: string, holds: (value: unknown) => boolean];

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);
const isId = (value: unknown) => Number.isInteger(value) && (value as number) >= 0;
const isIds = (value: unknown) => Array.isArray(value) && value.every(isId);
const isBias = (value: unknown) =>
  Array.isArray(value) &&
  value.length === 2 &&
  isIds(value[0]) &&
  value[0].length > 0 &&
  !Number.isNaN(value[1]);
const listOf = (value: unknown, check: (entry: unknown) => boolean) =>
  Array.isArray(value) && value.length > 0 && value.every(check);

const COUNT: Check = ['an integer above 0', (v) => isId(v) && (v as number) > 0];
const SIZE: Check = ['an integer of 0 or more', isId];
const POSITIVE: Check = ['a number above 0', (v) => isNumber(v) && v > 0];
const SHARE: Check = ['a number from 0 to 1', (v) => isNumber(v) && v >= 0 && v <= 1];
const CUTOFF: Check = ['a number from 0 to below 1', (v) => isNumber(v) && v >= 0 && v < 1];
const SWITCH: Check = ['true or false', (v) => typeof v === 'boolean'];
const IDS: Check = ['a list of token ids', isIds];
/** Negative eos ids are legal: no token has them, so nothing ends. */
const EOS: Check = ['a token id or a list of them', (v) => [v].flat().every(Number.isInteger)];

const CHECKS: Readonly<Record<keyof GenerationOptions, Check>> = {
  max_new_tokens: COUNT,
  max_length: COUNT,
  min_new_tokens: SIZE,
  min_length: SIZE,
  max_time: POSITIVE,
  stop_strings: [
    'a text or a list of texts',
    (v) => listOf([v].flat(), (s) => typeof s === 'string' && s !== ''),
  ],
  do_sample: SWITCH,
  num_beams: COUNT,
  num_return_sequences: COUNT,
  early_stopping: ['true, false or "never"', (v) => typeof v === 'boolean' || v === 'never'],
  length_penalty: ['a number', isNumber],
  repetition_penalty: POSITIVE,
  no_repeat_ngram_size: SIZE,
  bad_words_ids: [
    'a list of lists of token ids',
    (v) => listOf(v, (ids) => isIds(ids) && (ids as []).length > 0),
  ],
  sequence_bias: ['a list of [ids, number]', (v) => listOf(v, isBias)],
  suppress_tokens: IDS,
  begin_suppress_tokens: IDS,
  forced_bos_token_id: ['a token id', isId],
  forced_eos_token_id: ['a token id or a list of them', (v) => isIds([v].flat())],
  exponential_decay_length_penalty: [
    '[start, factor]',
    (v) => Array.isArray(v) && v.length === 2 && isId(v[0]) && isNumber(v[1]),
  ],
  remove_invalid_values: SWITCH,
  renormalize_logits: SWITCH,
  // Only sampling looks at it: a temperature of 0 beside do_sample false is common, and harmless.
  temperature: ['a number', isNumber],
  top_k: SIZE,
  top_p: SHARE,
  min_p: SHARE,
  typical_p: ['a number above 0, at most 1', (v) => isNumber(v) && v > 0 && v <= 1],
  epsilon_cutoff: CUTOFF,
  eta_cutoff: CUTOFF,
  eos_token_id: EOS,
  pad_token_id: ['a token id', Number.isInteger],
  bos_token_id: ['a token id', isId],
  return_dict_in_generate: SWITCH,
  output_scores: SWITCH,
  output_logits: SWITCH,
  use_cache: SWITCH,
};

/** What the reference's generate also knows and this one does not do, with the values that ask for nothing. */
const UNSUPPORTED: Readonly<Record<string, readonly unknown[]>> = {
  num_beam_groups: [1],
  diversity_penalty: [0],
  encoder_repetition_penalty: [1],
  encoder_no_repeat_ngram_size: [0],
  force_words_ids: [],
  constraints: [],
  guidance_scale: [1],
  token_healing: [false],
  watermarking_config: [],
  penalty_alpha: [0],
  dola_layers: [],
  low_memory: [false],
  prompt_lookup_num_tokens: [],
  assistant_early_exit: [],
  output_attentions: [false],
  output_hidden_states: [false],
  cache_implementation: ['dynamic'],
  prefill_chunk_size: [],
  return_legacy_cache: [false],
  decoder_start_token_id: [],
};

export const OPTION_NAMES = Object.keys(CHECKS) as readonly (keyof GenerationOptions)[];

/** Whether a name is the reference's, supported or not. */
export function isReferenceOption(name: string): boolean {
  return Object.hasOwn(CHECKS, name) || Object.hasOwn(UNSUPPORTED, name);
}

/**
 * Options by precedence: `layers` later ones first overridden by earlier ones, the reference's defaults last.
 * @throws InputError for a wrong value, or one that asks for what is not implemented
 */
export function resolveOptions(...layers: readonly Readonly<Record<string, unknown>>[]): GenerationSettings {
  const names = new Set([...OPTION_NAMES, ...Object.keys(UNSUPPORTED)]);
  const merged: Record<string, unknown> = { ...DEFAULTS };
  for (const name of names) {
    const value = layers.find((layer) => layer[name] !== undefined)?.[name];
    if (value !== undefined) merged[name] = value;
    checkOption(name, merged[name] ?? null);
    merged[name] ??= null;
  }
  for (const name of [
    'do_sample',
    'num_beams',
    'num_return_sequences',
    'early_stopping',
    'length_penalty',
  ] as const) {
    merged[name] ??= DEFAULTS[name];
  }
  merged.eos_token_id = list(merged.eos_token_id);
  merged.stop_strings = list(merged.stop_strings);
  const settings = merged as unknown as GenerationSettings;
  checkTogether(settings);
  return settings;
}

function list(value: unknown): unknown[] {
  return value === null ? [] : [value].flat();
}

function checkOption(name: string, value: unknown): void {
  if (value === null) return;
  const harmless = UNSUPPORTED[name];
  if (harmless) {
    if (harmless.includes(value)) return;
    const expected = ['absent', ...harmless.map(String)].join(' or ');
    throw new InputError({ what: 'not implemented', where: name, expected, got: show(value) });
  }
  const [expected, holds] = CHECKS[name as keyof GenerationOptions];
  if (!holds(value)) throw wrong(name, expected, value);
}

/** What the reference's GenerationConfig.validate and the warpers' constructors refuse. */
function checkTogether(settings: GenerationSettings): void {
  const { do_sample, num_beams, num_return_sequences: count, temperature } = settings;
  if (do_sample && temperature !== null && temperature <= 0) {
    throw wrong('temperature', 'a number above 0 (for greedy decoding: do_sample false)', temperature);
  }
  if (num_beams === 1 && !do_sample && count !== 1) {
    throw wrong(
      'num_return_sequences',
      '1, for greedy decoding has one result (or do_sample, or num_beams)',
      count,
    );
  }
  if (num_beams > 1 && count > num_beams) {
    throw wrong('num_return_sequences', `at most num_beams, ${num_beams}`, count);
  }
}

function wrong(where: string, expected: string, value: unknown): InputError {
  return new InputError({ what: 'wrong value', where, expected, got: show(value) });
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
}
