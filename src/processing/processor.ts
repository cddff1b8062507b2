/** `SmolVLMProcessor`: prompts, pictures and videos to the model's inputs, and its output ids back to text. */
import { type CheckpointLocation, openCheckpoint } from '../checkpoint/folder.js';
import { type HubOptions, splitHubOptions } from '../checkpoint/hub/options.js';
import { CheckpointError, ConfigError } from '../errors.js';
import type { ChatTemplates } from './chat-template.js';
import type { SmolVLMImageProcessor } from './image-processor.js';
import type { SmolVLMImageProcessorFast } from './image-processor-fast.js';
import { Callable } from './processor-callable.js';
import { type Conversation, processChat, renderChat } from './processor-chat.js';
import type { ChatOptions, TokenizedChatOptions } from './processor-chat-options.js';
import {
  type ProcessorFiles,
  type ProcessorOptions,
  processorParts,
  readProcessorFiles,
} from './processor-files.js';
import type { CallOptions, ImageSources, ProcessOptions } from './processor-options.js';
import { type MediaOutputs, processInputs } from './processor-run.js';
import { type ProcessorTarget, processorFiles, writeFiles } from './processor-save.js';
import type { ExtraTextOutputs, IdTensor, TextInputs, TextSequence } from './text-batch.js';
import { TextStream } from './text-stream.js';
import type { DecodeTextOptions, SmolVLMTokenizer, TokenIds, TokenSequences } from './tokenizer.js';
import type { VideosInput } from './video/open.js';
import type { SmolVLMVideoProcessor } from './video/video-processor.js';

/** Model inputs, with rows and cols of the pictures, and on request metadata of the videos and more about the tokens. */
export type ProcessedInputs = TextInputs & ExtraTextOutputs & MediaOutputs;

/** A call: `processor(images, text, audio, videos, options)` in the reference's order, or `processor({ text, images })`. */
export interface SmolVLMProcessor {
  (inputs: ProcessOptions & { text: NonNullable<ProcessOptions['text']> }): Promise<ProcessedInputs>;
  (inputs: ProcessOptions): Promise<Partial<TextInputs> & MediaOutputs>;
  (
    images: ImageSources | null | undefined,
    text: string | readonly TextSequence[],
    audio?: null,
    videos?: VideosInput | null,
    options?: CallOptions,
  ): Promise<ProcessedInputs>;
  (
    images: ImageSources | null | undefined,
    text?: null,
    audio?: null,
    videos?: VideosInput | null,
    options?: CallOptions,
  ): Promise<Partial<TextInputs> & MediaOutputs>;
}

// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the call signatures are those of `_call`.
export class SmolVLMProcessor extends Callable {
  readonly image_seq_len: number;
  readonly image_token: string;
  readonly fake_image_token: string;
  readonly global_image_token: string;
  readonly end_of_utterance_token: string;
  readonly video_token: string;
  readonly image_token_id: number;
  readonly chat_template: ChatTemplates | undefined;

  /** `image_seq_len` is 169 by default, as in the reference. Throws ConfigError, CheckpointError. */
  constructor(
    readonly image_processor: SmolVLMImageProcessor | SmolVLMImageProcessorFast,
    readonly tokenizer: SmolVLMTokenizer,
    readonly video_processor: SmolVLMVideoProcessor,
    options: { image_seq_len?: number; chat_template?: ChatTemplates } = {},
  ) {
    super();
    this.chat_template = options.chat_template;
    this.image_seq_len = options.image_seq_len ?? 169;
    if (!Number.isInteger(this.image_seq_len) || this.image_seq_len < 1) {
      const got = String(this.image_seq_len);
      throw new ConfigError({
        what: 'invalid image_seq_len',
        where: 'processor_config.json',
        expected: 'a positive integer',
        got,
      });
    }
    const named = (name: string, fallback: string) => namedToken(tokenizer.config, name) ?? fallback;
    this.image_token = named('image_token', '<image>');
    this.fake_image_token = named('fake_image_token', '<fake_token_around_image>');
    this.global_image_token = named('global_image_token', '<global-img>');
    this.end_of_utterance_token = named('end_of_utterance_token', '<end_of_utterance>');
    this.video_token = named('video_token', '<video>');
    const id = tokenizer.convert_tokens_to_ids(this.image_token);
    if (id === undefined) {
      throw new CheckpointError({
        what: 'image token missing from the vocabulary',
        where: 'tokenizer.json',
        expected: this.image_token,
        got: 'none',
      });
    }
    this.image_token_id = id;
  }

  /**
   * The processor of a checkpoint: a repository (`org/name`), a folder's path, its URL, or its files by name. Options beside
   * those of the hub override what the files say. Throws HubError, CheckpointError, ConfigError; AbortError when `signal` is
   * aborted.
   */
  static async from_pretrained(
    location: CheckpointLocation,
    options: ProcessorOptions & HubOptions = {},
  ): Promise<SmolVLMProcessor> {
    const [hub, own] = splitHubOptions(options);
    const folder = await openCheckpoint(location, hub);
    try {
      const { files, image_seq_len } = await readProcessorFiles(folder);
      return SmolVLMProcessor.from_files(files, { image_seq_len, ...own });
    } finally {
      await folder.close();
    }
  }

  /** From the files' texts. Throws CheckpointError, naming the file, where one is missing or no JSON. */
  static from_files(files: ProcessorFiles, options: ProcessorOptions = {}): SmolVLMProcessor {
    const { image_processor, tokenizer, video_processor, ...rest } = processorParts(files, options);
    return new SmolVLMProcessor(image_processor, tokenizer, video_processor, rest);
  }

  /**
   * Writes tokenizer.json, tokenizer_config.json, special_tokens_map.json, preprocessor_config.json,
   * video_preprocessor_config.json, processor_config.json and chat_template.jinja to a folder, or puts them into a Map.
   * Throws InputError where nothing can be written; the signal's reason when it is aborted.
   */
  save_pretrained(target: ProcessorTarget, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    return writeFiles(target, processorFiles(this), signal);
  }

  override _call(...args: unknown[]): unknown {
    const [first] = args;
    if (args.length === 1 && typeof first === 'object' && first !== null) {
      if (['text', 'images', 'videos', 'audio'].some((name) => Object.hasOwn(first, name))) {
        return this.process(first as ProcessOptions);
      }
    }
    const [images, text, audio, videos, options] = args as [never, never, never, never, CallOptions?];
    return this.process({ ...options, ...given({ images, text, audio, videos }) });
  }

  /**
   * Tokens and pixels for one text or a batch; int64 [batch, sequence] ids and mask. `<image>` and `<video>` in the texts
   * stand for pictures and videos in turn; a row may have none, some, or both kinds. Throws InputError for options and
   * inputs that do not fit, each by name, and where the numbers of `<image>` and of pictures differ.
   */
  process(inputs: ProcessOptions & { text: NonNullable<ProcessOptions['text']> }): Promise<ProcessedInputs>;
  process(inputs: ProcessOptions): Promise<Partial<TextInputs> & MediaOutputs>;
  process(inputs: ProcessOptions): Promise<Partial<TextInputs> & MediaOutputs> {
    return processInputs(this, inputs);
  }

  /**
   * A conversation as a prompt, or several; with `tokenize: true` it goes on through `process`, pictures and videos of the
   * messages included: everything that `process` returns, or with `return_dict: false` the ids alone. Throws InputError
   * naming the message, CheckpointError for templates.
   */
  apply_chat_template(conversation: Conversation, options?: ChatOptions & { tokenize?: false }): string;
  apply_chat_template(
    conversations: readonly Conversation[],
    options?: ChatOptions & { tokenize?: false },
  ): string[];
  apply_chat_template(
    conversation: Conversation | readonly Conversation[],
    options: TokenizedChatOptions & { return_dict: false },
  ): Promise<IdTensor>;
  apply_chat_template(
    conversation: Conversation | readonly Conversation[],
    options: TokenizedChatOptions & { return_dict?: true },
  ): Promise<ProcessedInputs>;
  apply_chat_template(
    conversation: Conversation | readonly Conversation[],
    options: (ChatOptions & { tokenize?: boolean }) | TokenizedChatOptions = {},
  ): string | string[] | Promise<IdTensor | ProcessedInputs> {
    if (options.tokenize === true) return processChat(this, conversation, options as TokenizedChatOptions);
    const { prompts, batched } = renderChat(this, conversation, options);
    return batched ? prompts : prompts[0];
  }

  /** The text of one sequence of ids. */
  decode(ids: TokenIds, options?: DecodeTextOptions): string {
    return this.tokenizer.decode(ids, options);
  }

  /** The text of each sequence; of a single sequence, that of each id. */
  batch_decode(sequences: TokenSequences, options?: DecodeTextOptions): string[] {
    return this.tokenizer.batch_decode(sequences, options);
  }

  /** `batch_decode` of what `generate` gave, special tokens left out unless `skip_special_tokens` is false. */
  post_process_image_text_to_text(sequences: TokenSequences, options?: DecodeTextOptions): string[] {
    return this.batch_decode(sequences, { skip_special_tokens: true, ...options });
  }

  /** Names of what the parts of the processor return, as the reference lists them: the pictures' twice. */
  get model_input_names(): string[] {
    const pixels = ['pixel_values', 'pixel_attention_mask'];
    return [...pixels, ...this.tokenizer.model_input_names, ...pixels];
  }

  /** Turns generated ids into text one by one. */
  text_stream(options?: Pick<DecodeTextOptions, 'skip_special_tokens'>): TextStream {
    return new TextStream(this.tokenizer, options);
  }
}

function given(inputs: Record<string, unknown>): object {
  return Object.fromEntries(
    Object.entries(inputs).filter(([, value]) => value !== undefined && value !== null),
  );
}

/** A token that the tokenizer names as an attribute, on its own or among `extra_special_tokens`. */
function namedToken(config: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const extra = config.extra_special_tokens as Record<string, unknown> | undefined;
  const value = (Array.isArray(extra) ? undefined : extra?.[name]) ?? config[name];
  if (typeof value === 'string') return value;
  const content = (value as { content?: unknown } | undefined)?.content;
  return typeof content === 'string' ? content : undefined;
}
