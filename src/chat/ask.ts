import { checkSignal, InputError } from '../errors.js';
import type { GenerateArguments } from '../generation/generate.js';
import type { GenerationOptions } from '../generation/options.js';
import type { GenerationProgress } from '../generation/progress.js';
import type { GenerateInputs } from '../generation/prompt.js';
import type { SmolVLMForConditionalGeneration } from '../modeling.js';
import type {
  ChatMessage,
  FeatureCache,
  ProcessedInputs,
  SmolVLMProcessor,
  TokenizedChatOptions,
} from '../processing/index.js';
import type { AnswerResult } from './answer.js';

/** How far an answer is: pictures are read and cut, tiles encoded, the prompt computed, tokens made. */
export type AnswerProgress = { status: 'processing' } | GenerationProgress;

/** How answers are made: `generate`'s options, and the processor's in an object of their own. */
export interface AnswerOptions
  extends Omit<
      GenerationOptions,
      'num_return_sequences' | 'return_dict_in_generate' | 'output_scores' | 'output_logits'
    >,
    Pick<GenerateArguments, 'seed' | 'reuse_prefix'> {
  /** No more than the context has room for. Default: what generation_config.json says, else 512. */
  max_new_tokens?: number | null;
  /** Options of `apply_chat_template`, such as `do_image_splitting: false`, `size`, `num_frames`, `chat_template`. */
  processor_options?: Omit<
    TokenizedChatOptions,
    | 'tokenize'
    | 'return_dict'
    | 'return_tensors'
    | 'add_generation_prompt'
    | 'images'
    | 'videos'
    | 'signal'
    | 'feature_cache'
  >;
}

/** What may go with a single call. */
export interface CallHooks
  extends Pick<
    GenerateArguments,
    'logits_processor' | 'stopping_criteria' | 'prefix_allowed_tokens_fn' | 'stop_token_sequences'
  > {
  progress_callback?: (progress: AnswerProgress) => void;
  /** Cancels the answer: it rejects with the signal's reason. */
  signal?: AbortSignal;
}

export interface Parts {
  readonly model: SmolVLMForConditionalGeneration;
  readonly processor: SmolVLMProcessor;
  readonly feature_cache: FeatureCache;
}

const DEFAULT_NEW_TOKENS = 512;

/** Options of `generate` that mean nothing for a single streamed answer. */
const REFUSED = [
  'num_return_sequences',
  'return_dict_in_generate',
  'output_scores',
  'output_logits',
  'streamer',
] as const;

/** The answer to a conversation, its text given out as it is made. */
export async function ask(
  parts: Parts,
  messages: readonly ChatMessage[],
  { processor_options, progress_callback, ...options }: AnswerOptions & CallHooks,
  emit: (piece: string) => void,
  signal: AbortSignal,
): Promise<AnswerResult> {
  for (const name of REFUSED) refuse(name, (options as Record<string, unknown>)[name]);
  const { model, processor } = parts;
  const started = performance.now();
  checkSignal(signal);
  progress_callback?.({ status: 'processing' });
  const add_generation_prompt = true;
  const inputs = await promptOf(parts, messages, processor_options, { add_generation_prompt, signal });
  checkSignal(signal);
  const processed = performance.now();
  const prompt = inputs.input_ids.dims[1];
  const known = { cached: 0, tiles: 0, encoded: 0 };
  const written = new AnswerText(processor, emit);
  const max_new_tokens = newTokens(model, options, prompt);
  const args = {
    ...options,
    max_new_tokens,
    tokenizer: processor,
    signal,
    progress_callback: (progress: GenerationProgress) => {
      if (progress.status === 'encoding') {
        known.tiles = progress.total + progress.cached;
        known.encoded = progress.total;
      } else if (progress.status === 'prefill') known.cached = progress.cached;
      progress_callback?.(progress);
    },
  };
  const isStreamed = (options.num_beams ?? model.generation_config.num_beams ?? 1) === 1;
  const sequences = await model.generate({
    ...inputs,
    ...args,
    ...(isStreamed && { streamer: written }),
  });
  const ended = performance.now();
  const ids = Array.from(sequences.data.subarray(prompt), Number);
  if (!isStreamed) written.whole(ids);
  const first = (written.firstToken ?? ended) - started;
  return {
    text: written.text,
    ids,
    finish_reason: ids.length === max_new_tokens && !isStop(model, options, ids) ? 'length' : 'stop',
    usage: {
      prompt_tokens: prompt,
      cached_tokens: known.cached,
      completion_tokens: ids.length,
      total_tokens: prompt + ids.length,
      tiles: known.tiles,
      tiles_encoded: known.encoded,
    },
    timings: {
      processing_ms: processed - started,
      first_token_ms: first,
      total_ms: ended - started,
      tokens_per_second: ids.length > 1 ? (1000 * (ids.length - 1)) / (ended - started - first) : 0,
    },
  };
}

/** A conversation as the model's inputs, with what else the processor says. */
export function promptOf(
  { processor, feature_cache }: Parts,
  messages: readonly ChatMessage[],
  options: AnswerOptions['processor_options'],
  call: { add_generation_prompt?: boolean; signal?: AbortSignal },
): Promise<ProcessedInputs> {
  return processor.apply_chat_template(messages, {
    ...options,
    ...call,
    tokenize: true,
    return_dict: true,
    feature_cache,
  });
}

/** The model's inputs alone. */
export function modelInputs(inputs: ProcessedInputs): GenerateInputs {
  const { input_ids, attention_mask, pixel_values, pixel_attention_mask } = inputs;
  return { input_ids, attention_mask, pixel_values, pixel_attention_mask };
}

/** Turns ids into the answer's text; a streamer of `generate`. */
class AnswerText {
  text = '';
  /** When it came. */
  firstToken: number | undefined;
  readonly #stream;
  readonly #emit: (piece: string) => void;
  #isPrompt = true;

  constructor(processor: SmolVLMProcessor, emit: (piece: string) => void) {
    this.#stream = processor.text_stream({ skip_special_tokens: true });
    this.#emit = emit;
  }

  put(ids: Int32Array): void {
    const isPrompt = this.#isPrompt;
    this.#isPrompt = false;
    if (isPrompt) return;
    this.firstToken ??= performance.now();
    for (const id of ids) this.#give(this.#stream.push(id));
  }

  end(): void {
    this.#give(this.#stream.end());
  }

  whole(ids: readonly number[]): void {
    for (const id of ids) this.#give(this.#stream.push(id));
    this.end();
  }

  #give(piece: string): void {
    // The template ends in "Assistant:", so that answers begin with a blank, which is no part of them.
    const shown = this.text === '' ? piece.trimStart() : piece;
    if (shown === '') return;
    this.text += shown;
    this.#emit(shown);
  }
}

/** New tokens at most: what is asked for, as far as the context has room. A prompt that leaves none is refused by `generate`. */
function newTokens(
  { config, generation_config: defaults }: SmolVLMForConditionalGeneration,
  { max_new_tokens, max_length }: GenerationOptions,
  prompt: number,
): number {
  const asked = [
    max_new_tokens ?? (max_length ? undefined : (defaults.max_new_tokens ?? DEFAULT_NEW_TOKENS)),
    max_new_tokens ? undefined : remaining(max_length ?? defaults.max_length, prompt),
    remaining(Number(config.text_config.max_position_embeddings), prompt),
  ];
  return Math.min(...asked.filter((count) => count !== undefined));
}

function remaining(columns: number | null | undefined, prompt: number): number | undefined {
  return columns ? Math.max(1, columns - prompt) : undefined;
}

/** Whether the last token ended the answer, also where it was the last one allowed. */
function isStop(
  { generation_config }: SmolVLMForConditionalGeneration,
  { eos_token_id }: GenerationOptions,
  ids: readonly number[],
): boolean {
  const eos = [eos_token_id ?? generation_config.eos_token_id].flat();
  return eos.includes(ids[ids.length - 1]);
}

function refuse(name: string, value: unknown): void {
  if (value === undefined || value === null || value === false || value === 1) return;
  throw new InputError({
    what: 'an option that single answers do not have',
    where: name,
    expected: 'no such option (model.generate has it)',
    got: typeof value === 'object' ? 'an object' : String(value),
  });
}
