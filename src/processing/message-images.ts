/** The pictures that a conversation's messages carry. */
import { InputError } from '../errors.js';
import { type ChatMessage, normalizeMessages } from './chat-template.js';
import type { ImageInput } from './image-input.js';

/** Reads a picture's bytes from where a message says it is. Supplied by the surfaces: this layer opens nothing. */
export type LoadImage = (source: { url: string } | { path: string }) => Promise<Uint8Array>;

/** Per conversation, in order, the pictures of all messages whose image pieces have a source. */
export async function conversationImages(
  conversations: readonly (readonly ChatMessage[])[],
  load: LoadImage | undefined,
): Promise<ImageInput[][]> {
  const all: ImageInput[][] = [];
  for (const [c, messages] of conversations.entries()) {
    const images: ImageInput[] = [];
    for (const [m, message] of normalizeMessages(messages).entries()) {
      for (const [p, piece] of message.content.entries()) {
        if (piece.type !== 'image') continue;
        const source = piece as { image?: unknown; url?: string; path?: string; base64?: string };
        const image = await loadSource(source, load, `conversation[${c}][${m}].content[${p}]`);
        if (image !== undefined) images.push(image);
      }
    }
    all.push(images);
  }
  return all;
}

async function loadSource(
  { image, url, path, base64 }: { image?: unknown; url?: string; path?: string; base64?: string },
  load: LoadImage | undefined,
  where: string,
): Promise<ImageInput | undefined> {
  if (image !== undefined && typeof image !== 'string') return image as ImageInput;
  const text = (image as string | undefined) ?? url ?? path ?? base64;
  if (text === undefined) return undefined;
  if (text === base64) return fromBase64(text, where);
  if (text.startsWith('data:')) return fromBase64(text.slice(text.indexOf(',') + 1), where);
  if (load === undefined) {
    throw new InputError({
      what: 'picture given by reference',
      where,
      expected: 'bytes, pixels, base64, or the option load_image',
      got: text.length > 80 ? `${text.slice(0, 80)}…` : text,
    });
  }
  const isUrl = url !== undefined || /^https?:\/\//.test(text);
  return load(isUrl ? { url: text } : { path: text });
}

function fromBase64(text: string, where: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text.replace(/^data:[^,]*,/, '')), (char) => char.charCodeAt(0));
  } catch (cause) {
    throw new InputError({
      what: 'damaged base64',
      where,
      expected: 'base64',
      got: (cause as Error).message,
      cause,
    });
  }
}
