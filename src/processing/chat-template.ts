/** Conversations to prompts: the checkpoint's Jinja template over @huggingface/jinja. */
import { CheckpointError, InputError } from '../errors.js';
import { parseTemplate } from './chat-template-parse.js';

/** A piece of a message. The source of a picture or video is only needed where the conversation is tokenized. */
export type ChatContent =
  | { type: 'text'; text: string }
  | { type: 'image'; image?: unknown; url?: string | URL; path?: string; base64?: string }
  | { type: 'video'; video?: unknown; url?: string | URL; path?: string }
  | { type: string; [key: string]: unknown };

export interface ChatMessage {
  role: string;
  /** Pieces, or a string, which means one piece of text. */
  content: string | ChatContent[];
}

/** The three places where a checkpoint may keep its template. */
export interface ChatTemplateSources {
  chat_template_jinja?: string;
  chat_template_json?: unknown;
  tokenizer_config?: unknown;
}

/** One template, or several by name. */
export type ChatTemplates = string | Readonly<Record<string, string>>;

/** chat_template.jinja before chat_template.json before tokenizer_config.json; undefined if none has one. */
export function findChatTemplate(sources: ChatTemplateSources): ChatTemplates | undefined {
  if (sources.chat_template_jinja !== undefined) return sources.chat_template_jinja;
  for (const source of [sources.chat_template_json, sources.tokenizer_config]) {
    const template = (source as { chat_template?: unknown } | undefined)?.chat_template;
    if (typeof template === 'string') return template;
    const list = Array.isArray(template)
      ? template.map((item) => [item?.name, item?.template])
      : Object.entries((template as Record<string, unknown> | null | undefined) ?? {});
    const named = list.filter(([name, text]) => typeof name === 'string' && typeof text === 'string');
    if (named.length > 0) return Object.fromEntries(named) as Record<string, string>;
  }
  return undefined;
}

/**
 * The template that `asked` means: a name among several, a template itself, or by default the only one or `default`.
 * @throws CheckpointError if there is none
 */
export function chooseChatTemplate(templates: ChatTemplates | undefined, asked?: string): string {
  const named = typeof templates === 'object' ? templates : undefined;
  if (asked !== undefined) return (named && Object.hasOwn(named, asked) && named[asked]) || asked;
  const found = named === undefined ? (templates as string | undefined) : named.default;
  if (found !== undefined) return found;
  throw new CheckpointError({
    what: named ? 'several chat templates, none of them named default' : 'checkpoint has no chat template',
    where: 'chat_template.jinja, chat_template.json, tokenizer_config.json',
    expected: 'a template in one of them, or the option chat_template',
    got: named ? Object.keys(named).join(', ') : 'none',
  });
}

/** Messages with every content as a list of pieces. Throws InputError, naming the message, for anything else. */
export function normalizeMessages(
  messages: readonly ChatMessage[],
): { role: string; content: ChatContent[] }[] {
  if (!Array.isArray(messages) || messages.length === 0) {
    const got = Array.isArray(messages) ? 'an empty list' : typeof messages;
    throw new InputError({ what: 'no messages', where: 'conversation', expected: 'a list of messages', got });
  }
  return messages.map((message, index) => {
    const where = `conversation[${index}]`;
    if (typeof message?.role !== 'string') {
      throw new InputError({
        what: 'message without role',
        where,
        expected: 'a string',
        got: typeof message?.role,
      });
    }
    if (typeof message.content === 'string') {
      return { ...message, content: [{ type: 'text', text: message.content }] };
    }
    if (!Array.isArray(message.content)) {
      const got = typeof message.content;
      throw new InputError({ what: 'message without content', where, expected: 'a string or a list', got });
    }
    for (const [piece, content] of message.content.entries())
      checkContent(content, `${where}.content[${piece}]`);
    return { ...message, content: message.content };
  });
}

/**
 * Renders one conversation. `variables` are what templates see beside `messages`, special tokens among them. Contents
 * that are strings reach the template as they are if it shows them, and else as one piece of text.
 */
export function renderChatTemplate(
  template: string,
  messages: readonly ChatMessage[],
  variables: Record<string, unknown>,
): string {
  const normalized = normalizeMessages(messages);
  try {
    const parsed = parseTemplate(template);
    const render = (list: readonly unknown[]) => parsed.render({ ...variables, messages: list });
    if (messages.some(({ content }) => typeof content === 'string') && showsStrings(render, messages)) {
      return render(messages);
    }
    return render(normalized);
  } catch (cause) {
    throw new CheckpointError({
      what: 'chat template cannot be rendered',
      where: 'chat_template',
      expected: 'a Jinja template for these messages',
      got: String((cause as Error).message),
      cause,
    });
  }
}

/** Whether the template shows contents that are strings: marks in their place must come out. */
function showsStrings(
  render: (messages: readonly unknown[]) => string,
  messages: readonly ChatMessage[],
): boolean {
  const mark = (index: number) => `\u{e000}${index}\u{e001}`;
  const marked = messages.map((message, index) =>
    typeof message.content === 'string' ? { ...message, content: mark(index) } : message,
  );
  try {
    const text = render(marked);
    return messages.every(({ content }, index) => typeof content !== 'string' || text.includes(mark(index)));
  } catch {
    return false;
  }
}

/**
 * `continue_final_message`: the prompt cut off after the last message's last text, for the model to go on with.
 * @throws InputError if the last message has no text or the prompt does not show it
 */
export function cutAfterFinalText(prompt: string, messages: readonly ChatMessage[]): string {
  const refuse = (expected: string, got: string) =>
    new InputError({ what: 'no final message to continue', where: 'continue_final_message', expected, got });
  const last = messages[messages.length - 1].content;
  const pieces = typeof last === 'string' ? [{ type: 'text', text: last }] : last;
  const piece = [...pieces].reverse().find((part) => 'text' in part) as { text: string } | undefined;
  if (piece === undefined) throw refuse('a last message with text', 'none');
  const core = piece.text.trim();
  const at = prompt.lastIndexOf(core);
  if (at < 0) throw refuse('a template that shows the last message', JSON.stringify(core.slice(0, 80)));
  const spaced = piece.text.trimStart();
  // Spaces after the text stay if the template kept them.
  const kept = prompt.slice(at, at + spaced.length) === piece.text;
  return prompt.slice(0, at + (kept ? spaced.length : core.length));
}

function checkContent(content: ChatContent, where: string): void {
  const type = content?.type;
  if (type === 'image' || type === 'video') return;
  if (type === 'text') {
    const text = (content as { text?: unknown }).text;
    if (typeof text === 'string') return;
    throw new InputError({ what: 'text piece without text', where, expected: 'a string', got: typeof text });
  }
  throw new InputError({
    what: type === 'audio' ? 'audio is not supported' : 'unsupported kind of content',
    where,
    expected: 'text, image or video',
    got: String(type),
  });
}
