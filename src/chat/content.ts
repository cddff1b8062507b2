/** What people say in a conversation, as the messages that the chat template takes. */
import { nodeFileSystem } from '../checkpoint/node.js';
import { InputError } from '../errors.js';
import {
  type ChatContent,
  type ChatMessage,
  decodeBase64,
  detectFormat,
  type ImageSource,
  loadPicture,
  type MediaOptions,
  type VideoInput,
} from '../processing/index.js';
import { orAborted } from '../runtime/steps.js';

/** A picture or video: where it is (path, URL, data URL), its file's bytes, its pixels, or a piece that says which it is. */
export type MediaSource = ImageSource | Extract<VideoInput, Uint8Array | ArrayBuffer | Blob> | MediaPiece;

/** A piece as transformers' messages have it: `{ type: 'image', path }`, `{ type: 'video', url }`, … */
export type MediaPiece = Extract<ChatContent, { type: 'image' | 'video' }>;

/** A text, or texts and media in their order; strings in the list are texts. */
export type UserContent = string | readonly (string | Exclude<MediaSource, string>)[];

/** Media that go before the text. */
export interface MediaOption {
  images?: ImageSource | readonly ImageSource[];
  videos?: VideoInput | URL | readonly (VideoInput | URL)[];
}

/** @throws InputError for nothing to say, or pieces of another kind */
export async function readContent(content: UserContent, media: MediaOption = {}): Promise<ChatContent[]> {
  const list = typeof content === 'string' ? (content === '' ? [] : [content]) : content;
  if (!Array.isArray(list)) {
    throw refused('not the content of a message', 'content', 'a string or a list', typeof content);
  }
  const pieces: ChatContent[] = [
    ...listOf(media.images).map((image) => ({ type: 'image' as const, image })),
    ...listOf(media.videos).map((video) => ({ type: 'video' as const, video })),
  ];
  for (const [i, piece] of list.entries()) {
    pieces.push(typeof piece === 'string' ? text(piece) : await mediaPiece(piece, `content[${i}]`));
  }
  if (pieces.length > 0) return pieces;
  throw refused('nothing to answer', 'content', 'a text, pictures or videos', 'nothing');
}

export function text(value: string): ChatContent {
  return { type: 'text', text: value };
}

/** Whether a picture or a video is told by the piece itself, by a name's ending, or by the first bytes. */
export async function mediaPiece(source: MediaSource, where: string): Promise<ChatContent> {
  if (typeof source === 'string' || source instanceof URL) {
    return isVideoName(String(source)) ? { type: 'video', video: source } : { type: 'image', image: source };
  }
  if (typeof source !== 'object' || source === null) {
    throw refused(
      'neither picture nor video',
      where,
      'a path, URL, bytes, Blob, pixels or a piece',
      show(source),
    );
  }
  if ('type' in source && !(source instanceof Blob)) return { ...(source as ChatContent) };
  if (await isVideo(source)) return { type: 'video', video: source };
  return { type: 'image', image: source };
}

const VIDEO_NAME = /^data:(video\/|image\/gif)|\.(gif|mp4|m4v|mov|webm|mkv|avi)([?#].*)?$/i;

function isVideoName(name: string): boolean {
  return VIDEO_NAME.test(name);
}

const VIDEO_FORMATS = ['GIF', 'MP4 video', 'WebM'];

async function isVideo(source: object): Promise<boolean> {
  if ('dims' in source) return (source.dims as unknown[]).length === 4;
  let start: Uint8Array | undefined;
  if (source instanceof Uint8Array) start = source;
  else if (source instanceof ArrayBuffer) start = new Uint8Array(source);
  else if (source instanceof Blob) {
    if (/^video\//.test(source.type)) return true;
    start = new Uint8Array(await source.slice(0, 32).arrayBuffer());
  }
  return start !== undefined && (isWebm(start) || VIDEO_FORMATS.includes(detectFormat(start) ?? ''));
}

/** EBML, as Matroska files begin too. */
function isWebm([a, b, c, d]: Uint8Array): boolean {
  return a === 0x1a && b === 0x45 && c === 0xdf && d === 0xa3;
}

/** Larger videos stay where they are, and are read again for each turn. */
const MAX_VIDEO_BYTES = 64 << 20;

/**
 * The same messages with the bytes of pictures and videos in the place of paths, URLs and Blobs: what is said once stays what
 * it was when it was said. Folders of frames, and videos of more than 64 MiB, stay where they are.
 * @throws InputError, naming the message's piece, for what cannot be read
 */
export async function holdMedia(
  messages: readonly ChatMessage[],
  options: MediaOptions,
): Promise<ChatMessage[]> {
  const held: ChatMessage[] = [];
  for (const [m, message] of messages.entries()) {
    if (typeof message.content === 'string') {
      held.push(message);
      continue;
    }
    const content: ChatContent[] = [];
    for (const [p, piece] of message.content.entries()) {
      content.push(await holdPiece(piece, options, `messages[${m}].content[${p}]`));
    }
    held.push({ ...message, content });
  }
  return held;
}

async function holdPiece(piece: ChatContent, options: MediaOptions, where: string): Promise<ChatContent> {
  const { type } = piece;
  if (type !== 'image' && type !== 'video') return piece;
  const { [type]: given, url, path, base64 } = piece as Record<string, unknown>;
  if (typeof base64 === 'string') return { type, [type]: await decodeBase64(base64, { ...options, where }) };
  const source = given ?? url ?? path;
  if (source instanceof Blob) {
    const bytes = await orAborted(source.arrayBuffer(), options.signal);
    return { ...piece, [type]: new Uint8Array(bytes) };
  }
  if (typeof source !== 'string' && !(source instanceof URL)) return piece;
  const place = String(source);
  if (type === 'video' && !(await canHold(place))) return { type, video: place };
  // Where it came from stays readable, but for what carries the picture itself.
  const from = /^data:/i.test(place) || place.length > 4096 ? {} : reference(place);
  return { type, ...from, [type]: await loadPicture(place, options, where) };
}

function reference(place: string): { url: string } | { path: string } {
  return /^[a-z][a-z0-9+.-]+:\/\//i.test(place) ? { url: place } : { path: place };
}

/** Whether a video is a file of moderate size, or comes over a network. */
async function canHold(place: string): Promise<boolean> {
  if (/^(https?|data):/i.test(place)) return true;
  const files = await nodeFileSystem().catch(() => undefined);
  const path = /^file:/i.test(place) ? new URL(place) : place;
  const stats = await files?.stat(path).catch(() => undefined);
  return stats?.isFile() === true && stats.size <= MAX_VIDEO_BYTES;
}

function listOf<T>(value: T | readonly T[] | undefined): T[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? [...value] : [value as T];
}

function refused(what: string, where: string, expected: string, got: string): InputError {
  return new InputError({ what, where, expected, got });
}

function show(value: unknown): string {
  return value === null ? 'null' : typeof value;
}
