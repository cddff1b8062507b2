/** `SmolVLMProcessor`: prompts and pictures to the model's inputs, and its output ids back to text. */
import { CheckpointError, ConfigError, InputError } from '../errors.js';
import {
  type ChatMessage,
  type ChatTemplateSources,
  findChatTemplate,
  renderChatTemplate,
} from './chat-template.js';
import type { ImageProcessorConfig } from './image-config.js';
import { type ImagesInput, nestImages } from './image-input.js';
import { type ImageFeatures, type PreprocessOptions, SmolVLMImageProcessor } from './image-processor.js';
import { countImageTokens, expandImageTokens, type ImagePromptTokens } from './image-prompt.js';
import { conversationImages, type LoadImage } from './message-images.js';
import { encodeBatch, type PaddingOptions, type TextInputs } from './text-batch.js';
import { TextStream } from './text-stream.js';
import { type DecodeTextOptions, SmolVLMTokenizer, type TokenIds } from './tokenizer.js';

/** The texts of a checkpoint folder's files; those that are absent are left out. */
export interface ProcessorFiles {
  'tokenizer.json': string;
  'tokenizer_config.json'?: string;
  'preprocessor_config.json'?: string;
  'processor_config.json'?: string;
  'chat_template.json'?: string;
  'chat_template.jinja'?: string;
}

export interface ProcessorOptions {
  /** `<image>` tokens per tile, ((image_size / patch_size)²) / scale_factor²; wins over processor_config.json. */
  image_seq_len?: number;
}

export interface ProcessOptions extends PreprocessOptions, PaddingOptions {
  text: string | string[];
  /** One list per text, or for a single text a picture or a flat list. */
  images?: ImagesInput;
}

/** Model inputs, with rows and cols of the pictures. */
export type ProcessedInputs = TextInputs & Partial<ImageFeatures>;

export interface ChatOptions {
  add_generation_prompt?: boolean;
  /** Another template than the checkpoint's. */
  chat_template?: string;
  /** What the template may use beside messages and special tokens. */
  variables?: Record<string, unknown>;
}

export interface TokenizedChatOptions extends ChatOptions, PreprocessOptions, PaddingOptions {
  tokenize: true;
  /** Reads a picture that a message gives by `url` or `path`; without it such messages are an InputError. */
  load_image?: LoadImage;
  /** Pictures for messages whose image pieces have no source of their own. */
  images?: ImagesInput;
}

type Conversation = readonly ChatMessage[];

export class SmolVLMProcessor {
  readonly image_seq_len: number;
  readonly image_token: string;
  readonly fake_image_token: string;
  readonly global_image_token: string;
  readonly end_of_utterance_token: string;
  readonly image_token_id: number;

  constructor(
    readonly image_processor: SmolVLMImageProcessor,
    readonly tokenizer: SmolVLMTokenizer,
    readonly chat_template: string | undefined,
    options: ProcessorOptions = {},
  ) {
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

  /** From the files' texts. Throws CheckpointError, naming the file, where one is missing or no JSON. */
  static from_files(files: ProcessorFiles, options: ProcessorOptions = {}): SmolVLMProcessor {
    const tokenizerConfig = parse(files, 'tokenizer_config.json') ?? {};
    const json = parse(files, 'tokenizer.json');
    if (json === undefined) {
      throw new CheckpointError({
        what: 'file missing',
        where: 'tokenizer.json',
        expected: 'its text',
        got: 'nothing',
      });
    }
    const sources: ChatTemplateSources = {
      chat_template_jinja: files['chat_template.jinja'],
      chat_template_json: parse(files, 'chat_template.json'),
      tokenizer_config: tokenizerConfig,
    };
    const processorConfig = (parse(files, 'processor_config.json') ?? {}) as { image_seq_len?: number };
    return new SmolVLMProcessor(
      new SmolVLMImageProcessor((parse(files, 'preprocessor_config.json') ?? {}) as ImageProcessorConfig),
      new SmolVLMTokenizer(json, tokenizerConfig),
      findChatTemplate(sources),
      { image_seq_len: options.image_seq_len ?? processorConfig.image_seq_len },
    );
  }

  /**
   * Tokens and pixels for one text or a batch; int64 [batch, sequence] ids and mask, padded on the left unless
   * `padding_side` or tokenizer_config.json says otherwise. Throws InputError for an empty text and where the numbers of
   * `<image>` and of pictures differ.
   */
  async process({ text, images, ...options }: ProcessOptions): Promise<ProcessedInputs> {
    let texts = Array.isArray(text) ? text : [text];
    for (const [row, value] of texts.entries())
      checkText(value, Array.isArray(text) ? `text[${row}]` : 'text');
    if (texts.length === 0) {
      throw new InputError({ what: 'empty batch', where: 'text', expected: 'at least one text', got: '0' });
    }
    const nested = images === undefined ? texts.map(() => []) : nestImages(images);
    this.#checkCounts(
      texts,
      nested.map((list) => list.length),
    );
    let features: ImageFeatures | undefined;
    if (nested.some((list) => list.length > 0)) {
      features = await this.image_processor.preprocess(nested, options);
      const { rows, cols } = features;
      texts = texts.map((value, row) => expandImageTokens(value, rows[row], cols[row], this.#promptTokens()));
    }
    return { ...encodeBatch(this.tokenizer, texts, options), ...features };
  }

  /** A conversation as a prompt; with `tokenize: true` it goes on through `process`, pictures from the messages included. */
  apply_chat_template(conversation: Conversation, options?: ChatOptions & { tokenize?: false }): string;
  apply_chat_template(
    conversations: readonly Conversation[],
    options?: ChatOptions & { tokenize?: false },
  ): string[];
  apply_chat_template(
    conversation: Conversation | readonly Conversation[],
    options: TokenizedChatOptions,
  ): Promise<ProcessedInputs>;
  apply_chat_template(
    conversation: Conversation | readonly Conversation[],
    options: (ChatOptions & { tokenize?: boolean }) | TokenizedChatOptions = {},
  ): string | string[] | Promise<ProcessedInputs> {
    const batched = Array.isArray(conversation) && Array.isArray(conversation[0]);
    const conversations = (batched ? conversation : [conversation]) as readonly Conversation[];
    const prompts = conversations.map((messages) => this.#render(messages, options));
    if (options.tokenize !== true) return batched ? prompts : prompts[0];
    return this.#processChat(conversations, prompts, options as TokenizedChatOptions);
  }

  decode(ids: TokenIds, options?: DecodeTextOptions): string {
    return this.tokenizer.decode(ids, options);
  }

  batch_decode(
    sequences: readonly TokenIds[] | { data: TokenIds; dims: readonly number[] },
    options?: DecodeTextOptions,
  ): string[] {
    return this.tokenizer.batch_decode(sequences, options);
  }

  /** Turns generated ids into text one by one. */
  text_stream(options?: Pick<DecodeTextOptions, 'skip_special_tokens'>): TextStream {
    return new TextStream(this.tokenizer, options);
  }

  async #processChat(
    conversations: readonly Conversation[],
    prompts: string[],
    {
      load_image,
      images,
      tokenize: _,
      add_generation_prompt,
      chat_template,
      variables,
      ...rest
    }: TokenizedChatOptions,
  ): Promise<ProcessedInputs> {
    const found = await conversationImages(conversations, load_image);
    const given = found.some((list) => list.length > 0);
    // The template brings its own special tokens, the beginning of the text included.
    const add_special_tokens = !(this.tokenizer.bos_token && prompts[0].startsWith(this.tokenizer.bos_token));
    return this.process({ add_special_tokens, ...rest, text: prompts, images: given ? found : images });
  }

  #render(
    messages: Conversation,
    { chat_template, add_generation_prompt = false, variables }: ChatOptions,
  ): string {
    const template = chat_template ?? this.chat_template;
    if (template === undefined) {
      throw new CheckpointError({
        what: 'checkpoint has no chat template',
        where: 'chat_template.jinja, chat_template.json, tokenizer_config.json',
        expected: 'a template in one of them, or the option chat_template',
        got: 'none',
      });
    }
    return renderChatTemplate(template, messages, {
      ...this.tokenizer.special_tokens_map,
      tools: null,
      documents: null,
      ...variables,
      add_generation_prompt,
    });
  }

  #promptTokens(): ImagePromptTokens {
    return this;
  }

  #checkCounts(texts: string[], pictures: number[]): void {
    const inTexts = texts.map((value) => countImageTokens(value, this.image_token));
    if (inTexts.length === pictures.length && inTexts.every((count, row) => count === pictures[row])) return;
    throw new InputError({
      what: `number of ${this.image_token} in the text and of pictures differ`,
      where: 'text, images',
      expected: `one ${this.image_token} per picture: ${pictures.join(', ')}`,
      got: inTexts.join(', '),
    });
  }
}

function checkText(value: unknown, where: string): void {
  if (typeof value === 'string' && value !== '') return;
  const got = value === '' ? 'an empty string' : typeof value;
  throw new InputError({
    what: value === '' ? 'empty prompt' : 'not a text',
    where,
    expected: 'a text',
    got,
  });
}

function parse(files: ProcessorFiles, name: keyof ProcessorFiles): object | undefined {
  const text = files[name];
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
    throw new Error(`a ${typeof value}`);
  } catch (cause) {
    throw new CheckpointError({
      what: 'no JSON object',
      where: name,
      expected: 'an object',
      got: (cause as Error).message,
      cause,
    });
  }
}

/** A token that the tokenizer names as an attribute, on its own or among `extra_special_tokens`. */
function namedToken(config: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const extra = config.extra_special_tokens as Record<string, unknown> | undefined;
  const value = (Array.isArray(extra) ? undefined : extra?.[name]) ?? config[name];
  if (typeof value === 'string') return value;
  const content = (value as { content?: unknown } | undefined)?.content;
  return typeof content === 'string' ? content : undefined;
}
