/** The pictures and videos that a conversation's messages carry, and pictures and videos that are given by reference. */
import { checkSignal, InputError } from '../errors.js';
import { type ChatMessage, normalizeMessages } from './chat-template.js';
import type { ArrayInput } from './fast/planes.js';
import type { FeatureCache } from './feature-cache.js';
import type { ImageInput } from './image-input.js';
import { decodeBase64, load_image } from './load-image.js';
import { orAborted } from './paced.js';
import type { ImageSource } from './processor-options.js';
import type { VideoInput } from './video/open.js';

/**
 * Reads the bytes of a picture or video from where it is said to be, instead of the file system and `fetch`. An abort is
 * answered at once, whatever it does; it may listen to the signal itself to end early.
 */
export type LoadImage = (
  source: { url: string } | { path: string },
  options: { signal?: AbortSignal },
) => Promise<Uint8Array>;

/** How pictures and videos given by reference are read. */
export interface MediaOptions {
  /** In place of `fetch` and the file system. */
  load_image?: LoadImage;
  signal?: AbortSignal;
  /** The largest file that is read; 256 MiB by default. */
  max_bytes?: number;
  /** Keeps what pictures and videos became, for calls with the same ones. */
  feature_cache?: FeatureCache;
}

/** A picture in memory. */
export type Picture = ImageInput | ArrayInput;

export interface ConversationMedia {
  /** Per conversation, in order, those of all messages that have a source. */
  images: Picture[][];
  videos: VideoInput[][];
}

/** @throws InputError, naming the message's piece, for sources that cannot be read */
export async function conversationMedia(
  conversations: readonly (readonly ChatMessage[])[],
  options: MediaOptions,
): Promise<ConversationMedia> {
  const media: ConversationMedia = { images: [], videos: [] };
  for (const [c, messages] of conversations.entries()) {
    const images: Picture[] = [];
    const videos: VideoInput[] = [];
    for (const [m, message] of normalizeMessages(messages).entries()) {
      for (const [p, piece] of message.content.entries()) {
        const where = `conversation[${c}][${m}].content[${p}]`;
        const given = piece as Record<string, unknown>;
        if (piece.type === 'image') {
          const source = given.image ?? given.url ?? given.path;
          if (source !== undefined) images.push(await loadPicture(source as ImageSource, options, where));
          else if (given.base64 !== undefined)
            images.push(await decodeBase64(String(given.base64), { ...options, where }));
        } else if (piece.type === 'video') {
          const source = given.video ?? given.url ?? given.path;
          if (source !== undefined) videos.push(await loadVideo(source as VideoInput | URL, options, where));
        }
      }
    }
    media.images.push(images);
    media.videos.push(videos);
  }
  return media;
}

/** A picture as it is; of a string or URL, what it leads to. */
export async function loadPicture(
  source: ImageSource,
  options: MediaOptions,
  where: string,
): Promise<Picture> {
  checkSignal(options.signal);
  if (typeof source !== 'string' && !(source instanceof URL)) return source;
  const text = String(source);
  const { load_image: load } = options;
  if (load === undefined || text.startsWith('data:')) return load_image(text, { ...options, where });
  return checkBytes(
    await orAborted(load(reference(text), { signal: options.signal }), options.signal),
    where,
  );
}

/** A video as it is: the video processor opens paths and URLs, unless `load_image` is there to read them. */
export async function loadVideo(
  source: VideoInput | URL,
  options: MediaOptions,
  where: string,
): Promise<VideoInput> {
  const { load_image: load } = options;
  if (Array.isArray(source)) {
    if (load === undefined) return source;
    const frames: Picture[] = [];
    for (const [i, frame] of source.entries()) {
      frames.push(await loadPicture(frame as ImageSource, options, `${where}[${i}]`));
    }
    return frames;
  }
  if (typeof source !== 'string' && !(source instanceof URL)) return source;
  const text = String(source);
  if (load === undefined || text.startsWith('data:')) return text;
  return checkBytes(
    await orAborted(load(reference(text), { signal: options.signal }), options.signal),
    where,
  );
}

function reference(text: string): { url: string } | { path: string } {
  return /^[a-z][a-z0-9+.-]+:\/\//i.test(text) ? { url: text } : { path: text };
}

function checkBytes(bytes: Uint8Array, where: string): Uint8Array {
  if (bytes instanceof Uint8Array) return bytes;
  throw new InputError({
    what: 'load_image gave no bytes',
    where,
    expected: 'a Uint8Array',
    got: bytes === null ? 'null' : typeof bytes,
  });
}
