import { InputError } from '../errors.js';
import { type LogitsProcessor, userProcessor } from './hooks.js';
import type { GenerationSettings } from './options.js';
import * as processors from './processors.js';
import type { ScoreMath } from './score-math.js';
import * as warpers from './warpers.js';

export interface ProcessorContext {
  /** Columns of the prompt, of the whole before an eos may come, and of the whole at most. */
  promptColumns: number;
  minColumns: number;
  maxColumns: number;
  vocabulary: number;
  math: ScoreMath;
  logits_processor?: readonly LogitsProcessor[];
  prefix_allowed_tokens_fn?: (row: number, ids: readonly number[]) => readonly number[];
}

/**
 * The processors that the options ask for, in the reference's order (`_get_logits_processor`): processors, the user's own,
 * the warpers where tokens are drawn, normalisation.
 * @throws InputError for ids outside the vocabulary
 */
export function processorList(
  options: GenerationSettings,
  context: ProcessorContext,
): processors.Processor[] {
  const own = context.logits_processor ?? [];
  return [
    ...penalties(options, context),
    ...lengths(options, context),
    ...suppressions(options, context),
    ...own.map(userProcessor),
    ...(options.do_sample ? warperList(options, context.math) : []),
    ...(options.renormalize_logits ? [processors.normalize(context.math)] : []),
  ];
}

function* penalties(options: GenerationSettings, { vocabulary }: ProcessorContext) {
  const { sequence_bias, repetition_penalty, no_repeat_ngram_size, bad_words_ids } = options;
  if (sequence_bias) {
    checkIds(
      'sequence_bias',
      sequence_bias.flatMap(([ids]) => ids),
      vocabulary,
    );
    yield processors.sequenceBias(sequence_bias);
  }
  if (repetition_penalty !== null && repetition_penalty !== 1) {
    yield processors.repetitionPenalty(repetition_penalty);
  }
  if (no_repeat_ngram_size) yield processors.noRepeatNgram(no_repeat_ngram_size);
  if (bad_words_ids) {
    checkIds('bad_words_ids', bad_words_ids.flat(), vocabulary);
    yield processors.noBadWords(bad_words_ids, options.eos_token_id);
  }
}

function* lengths(options: GenerationSettings, context: ProcessorContext) {
  const { eos_token_id: eos, forced_bos_token_id } = options;
  const { promptColumns, minColumns, maxColumns, prefix_allowed_tokens_fn } = context;
  if (minColumns > promptColumns && eos.length > 0) yield processors.minLength(minColumns, eos);
  if (prefix_allowed_tokens_fn) yield processors.prefixConstrained(prefix_allowed_tokens_fn);
  if (forced_bos_token_id !== null) yield forced('forced_bos_token_id', 1, forced_bos_token_id, context);
  const end = options.forced_eos_token_id;
  if (end !== null) yield forced('forced_eos_token_id', maxColumns - 1, end, context);
}

function forced(
  name: string,
  columns: number,
  ids: number | readonly number[],
  { vocabulary }: ProcessorContext,
) {
  const list = [ids].flat();
  checkIds(name, list, vocabulary);
  return processors.forcedTokens(columns, list);
}

function* suppressions(options: GenerationSettings, { promptColumns, math }: ProcessorContext) {
  const { exponential_decay_length_penalty: decay, suppress_tokens, begin_suppress_tokens } = options;
  if (options.remove_invalid_values) yield processors.removeInvalid();
  if (decay) yield processors.exponentialDecay(decay, options.eos_token_id, promptColumns, math);
  if (suppress_tokens) yield processors.suppressTokens(suppress_tokens);
  if (begin_suppress_tokens) {
    const shift = promptColumns > 1 || options.forced_bos_token_id === null ? 0 : 1;
    yield processors.suppressAtBegin(begin_suppress_tokens, promptColumns + shift);
  }
}

function* warperList(options: GenerationSettings, math: ScoreMath) {
  const { temperature, top_k, top_p, min_p, typical_p, epsilon_cutoff, eta_cutoff } = options;
  // Beam sampling needs one continuation beside each eos.
  const keep = options.num_beams > 1 ? (options.eos_token_id.length || 1) + 1 : 1;
  if (temperature !== null && temperature !== 1) yield warpers.temperature(temperature);
  if (top_k) yield warpers.topK(top_k, keep);
  if (top_p !== null && top_p < 1) yield warpers.topP(top_p, keep, math);
  if (min_p !== null) yield warpers.minP(min_p, keep, math);
  if (typical_p !== null && typical_p < 1) yield warpers.typicalP(typical_p, keep, math);
  if (epsilon_cutoff) yield warpers.epsilonCutoff(epsilon_cutoff, keep, math);
  if (eta_cutoff) yield warpers.etaCutoff(eta_cutoff, keep, math);
}

function checkIds(where: string, ids: readonly number[], vocabulary: number): void {
  const wrong = ids.find((id) => id >= vocabulary);
  if (wrong === undefined) return;
  const expected = `ids of the vocabulary, 0 … ${vocabulary - 1}`;
  throw new InputError({ what: 'id outside the vocabulary', where, expected, got: String(wrong) });
}
