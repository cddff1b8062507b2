import { InputError } from '../errors.js';
import type { SavedPrefix } from '../modeling.js';
import {
  type ChatContent,
  type ChatMessage,
  type MediaOptions,
  normalizeMessages,
} from '../processing/index.js';
import { orAborted } from '../runtime/steps.js';
import { Answer } from './answer.js';
import { type AnswerOptions, ask, type CallHooks, modelInputs, type Parts, promptOf } from './ask.js';
import { holdMedia, type MediaOption, readContent, text, type UserContent } from './content.js';
import { readSession, saveSession } from './saved-session.js';

/** Options of a session: how its answers are made unless a call says otherwise, and what it begins with. */
export interface SessionOptions extends AnswerOptions {
  /** What the model is told before everything else. */
  system?: string;
  /** Earlier messages, behind `system`. */
  messages?: readonly ChatMessage[];
}

export interface SaveSessionOptions {
  /**
   * Saves what was computed too (keys and values: 46 KB a token for the 256M model in float32), so that the restored
   * session goes on where this one stopped, with the same bits, if it is given to the same weights. Default: false.
   */
  cache?: boolean;
  signal?: AbortSignal;
}

export type SendOptions = AnswerOptions & CallHooks & MediaOption;

/**
 * A conversation. It holds messages alone: what was computed for them lies in the caches of the model, which all its
 * sessions share, so that a turn computes what no earlier one had, whichever session it was of, and gives the bits of a
 * fresh run of the same messages. Memory is bounded by the caches' limits; what fell out is computed again.
 *
 * Answers of one session come one after the other, those of several sessions side by side.
 */
export class ChatSession {
  /** Tokens that a restored session need not compute again: 0 where it was saved without cache, or by another model. */
  readonly restored_tokens: number;
  readonly #parts: Parts;
  readonly #options: AnswerOptions;
  #messages: ChatMessage[];
  #last: Promise<unknown> = Promise.resolve();
  /** Answers that are asked for and not done. */
  #asked = 0;

  /** @throws InputError for messages that are none */
  constructor(parts: Parts, { system, messages = [], ...options }: SessionOptions = {}, restored_tokens = 0) {
    this.restored_tokens = restored_tokens;
    this.#parts = parts;
    this.#options = options;
    this.#messages = [
      ...(system === undefined ? [] : [{ role: 'system', content: [text(system)] }]),
      ...(messages.length > 0 ? normalizeMessages(messages) : []),
    ];
  }

  /** What was said, the answers included: copies. */
  get messages(): ChatMessage[] {
    return this.#messages.map(copyOf);
  }

  /** How answers are made unless a call says otherwise. */
  get options(): AnswerOptions {
    return { ...this.#options };
  }

  /**
   * Says something, and lets the model answer. When the answer is whole, both are appended to the conversation; a call that
   * fails or is cancelled leaves it as it was. A call made while another one is answered waits for it.
   * @param content a text, or texts and media in their order
   * @throws (the answer rejects with) InputError for media that cannot be read, options that mean nothing, or a
   * conversation longer than the context; ImageError; MemoryError; AbortError; DisposedError
   */
  send(content: UserContent, { images, videos, ...options }: SendOptions = {}): Answer {
    const merged = { ...this.#options, ...options };
    return this.#answer(merged, async (signal) => {
      const said = { role: 'user', content: await readContent(content, { images, videos }) };
      const media = { ...mediaOptions(merged), signal };
      return [...(await holdMedia(this.#messages, media)), ...(await holdMedia([said], media))];
    });
  }

  /**
   * Answers the conversation as it is, for instance again after its last answer was dropped, or edited messages.
   * @throws (the answer rejects with) InputError where the last message is an answer already, and as `send`
   */
  answer(options: AnswerOptions & CallHooks = {}): Answer {
    const merged = { ...this.#options, ...options };
    return this.#answer(merged, async (signal) => {
      const last = this.#messages.at(-1)?.role ?? 'nothing';
      if (last !== 'user') {
        const expected = 'a last message of the user';
        throw new InputError({ what: 'nothing to answer', where: 'messages', expected, got: last });
      }
      return holdMedia(this.#messages, { ...mediaOptions(merged), signal });
    });
  }

  /** Adds a message without having it answered. @throws InputError while an answer is under way, or for no message */
  append(message: ChatMessage): void {
    this.#change();
    this.#messages.push(...normalizeMessages([message]));
  }

  /**
   * Puts another content in the place of a message's; what follows stays.
   * @throws InputError while an answer is under way, for a message that there is not, or for another kind of content
   */
  edit(index: number, content: string | readonly ChatContent[]): void {
    this.#change();
    const at = this.#index(index);
    const { role } = this.#messages[at];
    this.#messages[at] = normalizeMessages([{ role, content: content as ChatMessage['content'] }])[0];
  }

  /**
   * Takes messages out: by default the one, and returns them. A negative index counts from the end: `drop(-2, 2)` takes
   * the last question and its answer back.
   * @throws InputError while an answer is under way, or for a message that there is not
   */
  drop(index: number, count = 1): ChatMessage[] {
    this.#change();
    return this.#messages.splice(this.#index(index), count);
  }

  /** A second session that begins with the same messages and options, and goes its own way. */
  fork(): ChatSession {
    return new ChatSession(this.#parts, { ...this.#options, messages: this.#messages });
  }

  /**
   * The session as a file: its messages, options and pictures, in the safetensors format. `SmolVLM.restore` makes a session
   * of it.
   * @throws InputError for media that cannot be read or saved; AbortError
   */
  async save({ cache = false, signal }: SaveSessionOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    await this.#last;
    const messages = await holdMedia(this.#messages, { ...mediaOptions(this.#options), signal });
    this.#messages = messages;
    let prefix: SavedPrefix | undefined;
    if (cache && messages.length > 0) {
      const inputs = await promptOf(this.#parts, messages, this.#options.processor_options, { signal });
      prefix = await this.#parts.model.save_prefix(modelInputs(inputs), signal);
    }
    return saveSession(messages, this.#options, prefix);
  }

  /** What `save` gave. @throws CheckpointError for bytes that are no saved session; ImageError, AbortError */
  static async restore(parts: Parts, bytes: Uint8Array, signal?: AbortSignal): Promise<ChatSession> {
    const { prefix, ...options } = await readSession(bytes, signal);
    const { messages = [], processor_options } = options;
    if (!prefix || messages.length === 0) return new ChatSession(parts, options);
    const inputs = await promptOf(parts, messages, processor_options, { signal });
    const restored = await parts.model.restore_prefix(modelInputs(inputs), prefix, signal);
    return new ChatSession(parts, options, restored);
  }

  /** When its turn comes: makes the messages, has them answered, and keeps both. */
  #answer(
    options: AnswerOptions & CallHooks,
    prepare: (signal: AbortSignal) => Promise<ChatMessage[]>,
  ): Answer {
    const { signal: given, ...rest } = options;
    this.#asked++;
    return new Answer((emit, signal) => {
      const before = this.#last;
      const inTurn = async () => {
        await orAborted(before, signal);
        const messages = await prepare(signal);
        const answer = await ask(this.#parts, messages, rest, emit, signal);
        this.#messages = [...messages, { role: 'assistant', content: [text(answer.text)] }];
        return answer;
      };
      const result = inTurn().finally(() => this.#asked--);
      // One that gave up waiting must not let the next one overtake those before it.
      this.#last = Promise.allSettled([before, result]).then(() => {});
      return result;
    }, given);
  }

  #change(): void {
    if (this.#asked === 0) return;
    throw new InputError({
      what: 'the conversation cannot be changed now',
      where: 'ChatSession',
      expected: 'no answer under way (await or abort it first)',
      got: `${this.#asked}`,
    });
  }

  #index(index: number): number {
    const { length } = this.#messages;
    const at = index < 0 ? length + index : index;
    if (Number.isInteger(at) && at >= 0 && at < length) return at;
    const expected =
      length > 0 ? `an index from ${-length} to ${length - 1}` : 'a conversation with messages';
    throw new InputError({ what: 'no such message', where: 'index', expected, got: String(index) });
  }
}

/** How the session's pictures are read. */
function mediaOptions({ processor_options = {} }: AnswerOptions): MediaOptions {
  const { load_image, max_bytes } = processor_options;
  return { load_image, max_bytes };
}

function copyOf(message: ChatMessage): ChatMessage {
  const { content } = message;
  return {
    ...message,
    content: typeof content === 'string' ? content : content.map((piece) => ({ ...piece })),
  };
}
