/** A conversation with what may be done to it: each change is whole, or leaves it as it was. */
import type { Answer, AnswerResult } from '../../chat/answer.js';
import type { AnswerOptions, CallHooks } from '../../chat/ask.js';
import type { MediaPiece } from '../../chat/content.js';
import type { ChatSession } from '../../chat/session.js';
import { InputError } from '../../errors.js';
import type { ChatContent, ChatMessage } from '../../processing/index.js';
import type { SmolVLM } from '../../smolvlm.js';
import type { ContentPiece } from './media-words.js';

/** How an answer ended: whole, or stopped with what there was of it. */
export type Outcome = { type: 'whole'; result: AnswerResult } | { type: 'stopped'; text: string };

/** Follows an answer while it is made. */
export interface Hooks extends Pick<CallHooks, 'signal' | 'progress_callback'> {
  piece(text: string): void;
}

export class Conversation {
  readonly #vlm: SmolVLM;
  #session: ChatSession;
  readonly #seed: number | undefined;
  #answers = 0;
  /** Pictures and videos that go with the next question. */
  attached: MediaPiece[] = [];
  /** Of the last answer that is whole. */
  last: AnswerResult | undefined;

  /** @param seed answers draw from it, each from a stream of its own, so that a second try is another one */
  constructor(
    vlm: SmolVLM,
    { system, seed, ...options }: Omit<AnswerOptions, 'seed'> & { system?: string; seed?: number } = {},
  ) {
    this.#vlm = vlm;
    this.#session = vlm.chat({ ...options, system });
    this.#seed = seed;
  }

  get messages(): ChatMessage[] {
    return this.#session.messages;
  }

  get system(): string | undefined {
    const [first] = this.messages;
    return first?.role === 'system' ? textOf(first) : undefined;
  }

  /** Puts another text before everything else, or nothing; what was said stays. */
  set system(text: string | undefined) {
    const said = this.messages.filter(({ role }) => role !== 'system');
    this.#session = this.#vlm.chat({ ...this.#session.options, system: text, messages: said });
  }

  /** The last question. */
  get question(): ChatMessage | undefined {
    return this.messages[lastQuestion(this.messages)];
  }

  /** Forgets what was said and attached, not the system's text. */
  reset(): void {
    this.#session = this.#vlm.chat({ ...this.#session.options, system: this.system });
    this.attached = [];
    this.last = undefined;
  }

  /**
   * Asks a question; what is attached goes before it. An answer that is stopped is kept as far as it got, so that one can go
   * on from there; one without a word leaves everything as it was.
   * @throws what the answer rejects with, except for the stop; the conversation is then as it was, but for what was attached:
   * it may be the cause
   */
  async ask(content: readonly ContentPiece[], hooks: Hooks): Promise<Outcome> {
    const pieces = [...this.attached, ...content];
    const question = { role: 'user', content: pieces.map(contentOf) };
    const { attached } = this;
    this.attached = [];
    const outcome = await this.#follow(this.#session.send(pieces, this.#options(hooks)), hooks);
    if (outcome.type === 'stopped' && outcome.text === '') this.attached = attached;
    if (outcome.type === 'stopped' && outcome.text !== '') this.#keep([question, answered(outcome.text)]);
    return outcome;
  }

  /** The last question again. @throws InputError if there is none; what the answer rejects with */
  retry(hooks: Hooks): Promise<Outcome> {
    return this.#again((session) => this.#cutAfter(session, this.#questionIndex()), hooks);
  }

  /** Puts another text in the place of the last question's, its media kept, and asks it. @throws as `retry` */
  edit(content: readonly ContentPiece[], hooks: Hooks): Promise<Outcome> {
    const index = this.#questionIndex();
    return this.#again((session) => {
      const before = session.messages[index].content;
      const media = typeof before === 'string' ? [] : before.filter(({ type }) => type !== 'text');
      this.#cutAfter(session, index);
      session.edit(index, [...media, ...content.map(contentOf)]);
    }, hooks);
  }

  /** Takes the last question back with its answer. @returns it; undefined if there is none */
  undo(): ChatMessage | undefined {
    const { messages } = this;
    const index = lastQuestion(messages);
    if (index < 0) return undefined;
    return this.#session.drop(index, messages.length - index)[0];
  }

  /** With what was computed for it, so that whoever loads it need not compute it again. */
  save(): Promise<Uint8Array> {
    return this.#session.save({ cache: true });
  }

  /** @throws CheckpointError for bytes that are no saved conversation; this one then goes on */
  async load(bytes: Uint8Array): Promise<void> {
    const { messages } = await this.#vlm.restore(bytes);
    this.#session = this.#vlm.chat({ ...this.#session.options, messages });
    this.attached = [];
    this.last = undefined;
  }

  /** Answers a changed copy of the session, which takes its place if anything comes of it. */
  async #again(change: (session: ChatSession) => void, hooks: Hooks): Promise<Outcome> {
    const before = this.#session;
    this.#session = before.fork();
    let isKept = false;
    try {
      change(this.#session);
      const outcome = await this.#follow(this.#session.answer(this.#options(hooks)), hooks);
      isKept = outcome.type === 'whole' || outcome.text !== '';
      if (outcome.type === 'stopped' && isKept) this.#keep([answered(outcome.text)]);
      return outcome;
    } finally {
      if (!isKept) this.#session = before;
    }
  }

  #questionIndex(): number {
    const index = lastQuestion(this.messages);
    if (index >= 0) return index;
    throw new InputError({ what: 'no question yet', where: 'conversation', expected: 'one', got: 'none' });
  }

  #cutAfter(session: ChatSession, index: number): void {
    const behind = session.messages.length - index - 1;
    if (behind > 0) session.drop(index + 1, behind);
  }

  #keep(messages: readonly ChatMessage[]): void {
    for (const message of messages) this.#session.append(message);
  }

  #options({ signal, progress_callback }: Hooks): AnswerOptions & CallHooks {
    const seed = this.#seed === undefined ? {} : { seed: this.#seed + this.#answers };
    this.#answers++;
    return { ...seed, signal, progress_callback };
  }

  async #follow(answer: Answer, { piece, signal }: Hooks): Promise<Outcome> {
    let said = '';
    try {
      for await (const text of answer) {
        // What was made while the stop was on its way is not said any more.
        if (signal?.aborted) continue;
        said += text;
        piece(text);
      }
      this.last = await answer;
      return { type: 'whole', result: this.last };
    } catch (error) {
      if (signal?.aborted !== true || (error as Error).name !== 'AbortError') throw error;
      return { type: 'stopped', text: said };
    }
  }
}

/** A message's words. */
export function textOf({ content }: ChatMessage): string {
  if (typeof content === 'string') return content;
  const texts = content.flatMap((piece) =>
    piece.type === 'text' ? [String((piece as { text: string }).text)] : [],
  );
  return texts.join(' ');
}

/** Where a message's pictures and videos come from. */
export function mediaOf({ content }: ChatMessage): string[] {
  if (typeof content === 'string') return [];
  return content
    .filter(({ type }) => type !== 'text')
    .map((piece) => {
      const { path, url, type } = piece as { path?: string; url?: string | URL; type: string };
      return String(path ?? url ?? `a ${type}`);
    });
}

function contentOf(piece: ContentPiece): ChatContent {
  return typeof piece === 'string' ? { type: 'text', text: piece } : piece;
}

/** Its index, or -1. */
function lastQuestion(messages: readonly ChatMessage[]): number {
  return messages.map(({ role }) => role).lastIndexOf('user');
}

function answered(text: string): ChatMessage {
  return { role: 'assistant', content: [{ type: 'text', text }] };
}
