/** Conversations to prompts: the checkpoint's Jinja template over @huggingface/jinja. */
import { Template } from '@huggingface/jinja';
import { CheckpointError, InputError } from '../errors.js';

/** A piece of a message. A picture's source is only needed where the conversation is tokenized. */
export type ChatContent =
  | { type: 'text'; text: string }
  | { type: 'image'; image?: unknown; url?: string; path?: string; base64?: string }
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

/** The template used last, parsed: a checkpoint has one. */
let last: { text: string; template: Template } | undefined;

/** chat_template.jinja before chat_template.json before tokenizer_config.json; undefined if none has one. */
export function findChatTemplate(sources: ChatTemplateSources): string | undefined {
  if (sources.chat_template_jinja !== undefined) return sources.chat_template_jinja;
  for (const source of [sources.chat_template_json, sources.tokenizer_config]) {
    const template = (source as { chat_template?: unknown } | undefined)?.chat_template;
    if (typeof template === 'string') return template;
    // Several named templates: the one that is called default.
    if (Array.isArray(template)) {
      const entry = template.find((item) => item?.name === 'default');
      if (typeof entry?.template === 'string') return entry.template;
    }
  }
  return undefined;
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

/** Renders one conversation. `variables` are what templates see beside `messages`, special tokens among them. */
export function renderChatTemplate(
  template: string,
  messages: readonly ChatMessage[],
  variables: Record<string, unknown>,
): string {
  const normalized = normalizeMessages(messages);
  try {
    return parse(template).render({ ...variables, messages: normalized });
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

function parse(text: string): Template {
  if (last?.text !== text) last = { text, template: new Template(text) };
  return last.template;
}

function checkContent(content: ChatContent, where: string): void {
  const type = content?.type;
  if (type === 'image') return;
  if (type === 'text') {
    const text = (content as { text?: unknown }).text;
    if (typeof text === 'string') return;
    throw new InputError({ what: 'text piece without text', where, expected: 'a string', got: typeof text });
  }
  throw new InputError({
    what: 'unsupported kind of content',
    where,
    expected: 'text or image',
    got: String(type),
  });
}
