import { InputError } from '../errors.js';
import type { PositionDtype } from '../model/config.js';
import type { Model } from '../model/model.js';
import type { HostTensor } from '../runtime/tensor.js';
import { beamSearch } from './beam.js';
import type { GenerationConfig } from './config.js';
import { Decoder } from './decoder.js';
import type { LogitsProcessor, StoppingCriterion } from './hooks.js';
import {
  type GenerationOptions,
  type GenerationSettings,
  isReferenceOption,
  resolveOptions,
} from './options.js';
import type { GenerateOutput } from './output.js';
import { processorList } from './processor-list.js';
import type { GenerationProgress } from './progress.js';
import { type GenerateInputs, type Prompt, readPrompt } from './prompt.js';
import { freshSeed, Random } from './random.js';
import type { GenerationRun, Streamer } from './run.js';
import { sample } from './sample.js';
import { ScoreMath } from './score-math.js';
import { type Decodes, stoppingCriteria } from './stopping.js';

/** What `generate` takes: the processor's inputs, the options under the reference's names, and hooks. */
export interface GenerateArguments extends GenerateInputs, GenerationOptions {
  /** Options for this call in one object; those beside it go first. */
  generation_config?: GenerationOptions;
  /**
   * Makes draws repeatable: an integer from 0 to 2^53 − 1. Row r of the batch draws from the streams (seed, r, 0 … n − 1).
   * A list gives each row a seed of its own and the streams (seed[r], 0, 0 … n − 1): what it draws alone with that seed.
   * Default: a fresh one.
   */
  seed?: number | readonly number[];
  /** For stop_strings. */
  tokenizer?: Decodes;
  /** A row ends when its new ids end with one of these. */
  stop_token_sequences?: readonly (readonly number[])[];
  logits_processor?: readonly LogitsProcessor[];
  stopping_criteria?: readonly StoppingCriterion[];
  /** The ids that may come next, by the prompt's row and the ids so far. */
  prefix_allowed_tokens_fn?: (batch_id: number, input_ids: readonly number[]) => readonly number[];
  /** Gets the prompt's ids, then one id for each row as they are made, then `end()`. Not for beam search. */
  streamer?: Streamer;
  /** Is told how far the call is, from the first tile to the last token. What it throws ends the call. */
  progress_callback?: (progress: GenerationProgress) => void;
  position_dtype?: PositionDtype;
  /**
   * Whether the keys and values of a beginning that an earlier call had too (a system prompt, earlier turns, the same
   * picture) are used again, with the bits of a fresh run, and this call's kept. Prompts of embeddings never are.
   * Default: true.
   */
  reuse_prefix?: boolean;
  signal?: AbortSignal;
}

const INPUTS = [
  'input_ids',
  'inputs_embeds',
  'attention_mask',
  'pixel_values',
  'pixel_attention_mask',
  'image_hidden_states',
] as const;

/** What the processor says of pictures and videos beside the model's inputs: its result may be passed on whole. */
export const PROCESSOR_EXTRAS: readonly string[] = ['rows', 'cols', 'decoders', 'video_metadata'];

const HOOKS = [
  'generation_config',
  'seed',
  'tokenizer',
  'stop_token_sequences',
  'logits_processor',
  'stopping_criteria',
  'prefix_allowed_tokens_fn',
  'streamer',
  'progress_callback',
  'position_dtype',
  'reuse_prefix',
  'signal',
] as const;

const SAMPLING_ONLY = [
  'temperature',
  'top_k',
  'top_p',
  'min_p',
  'typical_p',
  'epsilon_cutoff',
  'eta_cutoff',
] as const;
const BEAMS_ONLY = ['early_stopping', 'length_penalty'] as const;
const DICT_ONLY = ['output_scores', 'output_logits'] as const;

/** The reference's default: 20 new tokens. */
const DEFAULT_NEW_TOKENS = 20;

/**
 * Continues each row of a batch (GenerationMixin.generate): greedy decoding, sampling, beam search, beam sampling.
 * @returns the sequences, or the whole output where return_dict_in_generate asks for it
 * @throws InputError for unknown options, wrong values, or inputs that do not fit; MemoryError; AbortError. What the call
 * held is given back, however it ends.
 */
export async function generate(
  model: Model,
  defaults: GenerationConfig,
  args: GenerateArguments,
): Promise<GenerateOutput | HostTensor<Int32Array>> {
  checkNames(args);
  const layers = [args, args.generation_config ?? {}, defaults] as Record<string, unknown>[];
  const options = resolveOptions(...layers);
  options.pad_token_id ??= options.eos_token_id[0] ?? null;
  if (args.streamer && options.num_beams > 1) {
    const got = `num_beams ${options.num_beams}`;
    throw new InputError({
      what: 'no streaming from a beam search',
      where: 'streamer',
      expected: 'num_beams 1',
      got,
    });
  }
  warnUnused(options, { ...args.generation_config, ...args });
  const prompt = readPrompt(model, pick(args, INPUTS), options);
  const { position_dtype, progress_callback: progress, signal } = args;
  const reuse_prefix = reuses(args);
  const decoder = new Decoder(model, prompt, { position_dtype, reuse_prefix, progress, signal });
  try {
    const run = prepare(model, prompt, decoder, options, args);
    const output = await (options.num_beams > 1 ? beamSearch(run) : sample(run));
    return options.return_dict_in_generate ? output : output.sequences;
  } finally {
    decoder.dispose();
  }
}

function reuses({ reuse_prefix }: GenerateArguments): boolean {
  const value = reuse_prefix ?? true;
  if (typeof value === 'boolean') return value;
  const got = JSON.stringify(value) ?? String(value);
  throw new InputError({ what: 'wrong value', where: 'reuse_prefix', expected: 'true or false', got });
}

function prepare(
  model: Model,
  prompt: Prompt,
  decoder: Decoder,
  options: GenerationSettings,
  args: GenerateArguments,
): GenerationRun {
  const math = new ScoreMath(model.ops.engine);
  const promptColumns = prompt.ids[0].length;
  const maxColumns = longest(options, prompt, args.max_length ?? undefined);
  const minColumns = shortest(options, prompt);
  const vocabulary = model.config.text_config.vocab_size;
  const context = { ...args, promptColumns, minColumns, maxColumns, vocabulary, math };
  const seeds = seedsOf(args.seed, prompt.batch);
  return {
    prompt,
    decoder,
    options,
    maxColumns,
    math,
    processors: processorList(options, context),
    stops: stoppingCriteria(options, context),
    random: (row, sequence) => new Random(seeds[row].seed, seeds[row].row, sequence),
    streamer: args.streamer,
    progress: args.progress_callback,
  };
}

/**
 * @param given the call's own max_length; a default of 20 is one of new tokens, as in the reference
 * @throws InputError as the reference's `_validate_generated_length`
 */
function longest(options: GenerationSettings, { ids, sequence }: Prompt, given?: number): number {
  const columns = ids[0].length;
  const { max_new_tokens, max_length } = options;
  if (max_new_tokens !== null) return columns + max_new_tokens;
  if (max_length === null || (given === undefined && max_length === DEFAULT_NEW_TOKENS)) {
    return columns + DEFAULT_NEW_TOKENS;
  }
  // Embeddings alone count in max_length too, though the output does not have them.
  const most = columns === sequence ? max_length : max_length - sequence;
  if (columns < most) return most;
  const what = 'the prompt is as long as max_length allows or longer';
  const expected = `more than the prompt's ${sequence} columns`;
  throw new InputError({ what, where: 'max_length', expected, got: String(max_length) });
}

/** Columns before an eos may come. */
function shortest({ min_new_tokens, min_length }: GenerationSettings, { ids, sequence }: Prompt): number {
  const columns = ids[0].length;
  if (min_new_tokens !== null) return columns + min_new_tokens;
  return (min_length ?? 0) - (columns === sequence ? 0 : sequence);
}

function seedsOf(seed: GenerateArguments['seed'], batch: number): { seed: number; row: number }[] {
  const given = seed ?? freshSeed();
  const rows = Array.from({ length: batch }, (_, row) =>
    typeof given === 'number' ? { seed: given, row } : { seed: given[row], row: 0 },
  );
  const isSeed = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  const fits = typeof given === 'number' || (Array.isArray(given) && given.length === batch);
  if (fits && rows.every((row) => isSeed(row.seed))) return rows;
  const expected = `an integer from 0 to 2^53 - 1, or one for each of the ${batch} rows`;
  throw new InputError({ what: 'wrong value', where: 'seed', expected, got: JSON.stringify(given) });
}

function pick(args: GenerateArguments, names: readonly (typeof INPUTS)[number][]): GenerateInputs {
  return Object.fromEntries(names.map((name) => [name, args[name]])) as GenerateInputs;
}

function checkNames(args: GenerateArguments): void {
  const known = new Set<string>([...INPUTS, ...PROCESSOR_EXTRAS, ...HOOKS]);
  for (const [name, value] of Object.entries(args)) {
    if (!known.has(name) && value !== undefined && value !== null) checkOption(name, 'generate');
  }
  for (const name of Object.keys(args.generation_config ?? {})) checkOption(name, 'generation_config');
}

function checkOption(name: string, where: string): void {
  if (isReferenceOption(name)) return;
  const expected = 'an input of the model, an option of generation, or a hook';
  throw new InputError({ what: 'unknown argument', where: `${where}: ${name}`, expected, got: name });
}

const warned = new Set<string>();

/** Says once which of the call's options have no effect, as the reference's GenerationConfig.validate does. */
function warnUnused(options: GenerationSettings, given: GenerationOptions): void {
  for (const [needs, used, names] of [
    ['do_sample: true', options.do_sample, SAMPLING_ONLY],
    ['num_beams above 1', options.num_beams > 1, BEAMS_ONLY],
    ['return_dict_in_generate: true', options.return_dict_in_generate, DICT_ONLY],
  ] as const) {
    const unused = names.filter(
      (name) => given[name] !== undefined && given[name] !== null && given[name] !== false,
    );
    const text = `generate: ${unused.join(', ')} has no effect without ${needs}`;
    if (used || unused.length === 0 || warned.has(text)) continue;
    warned.add(text);
    console.warn(text);
  }
}
