/** Pictures and videos named in a question: a file's path among the words, as it is typed, quoted, or dropped by a terminal. */
import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MediaPiece } from '../../chat/content.js';
import { isPictureName, isUrl, isVideoName } from '../inputs.js';

export type ContentPiece = string | MediaPiece;

export interface MediaWords {
  /** Media before the text, as models were trained; media named in several places of a line stay in theirs. */
  pieces: ContentPiece[];
  /** Words that are called like pictures or videos, and are no files. */
  missing: string[];
}

export type IsFile = (path: string) => Promise<boolean>;

/** A word of a line, and the path that it may be. */
interface Word {
  begin: number;
  end: number;
  path: string;
}

const isFileHere: IsFile = (path) =>
  stat(path).then(
    (stats) => stats.isFile(),
    () => false,
  );

export async function findMedia(line: string, isFile: IsFile = isFileHere): Promise<MediaWords> {
  const missing: string[] = [];
  const found: { begin: number; end: number; piece: MediaPiece }[] = [];
  for (const word of words(line)) {
    const media = await mediaOf(line, word, isFile);
    if (media) found.push(media);
    else if (isMediaName(word.path) && /[\\/]/.test(word.path)) missing.push(word.path);
  }
  const pieces: ContentPiece[] = [];
  let at = 0;
  for (const { begin, end, piece } of found) {
    addText(pieces, line.slice(at, begin));
    pieces.push(piece);
    at = end;
  }
  addText(pieces, line.slice(at));
  return { pieces: mediaFirst(pieces), missing };
}

/** A picture or video by its path or URL, as it is typed behind a command: quotes, escapes, file:// and ~ are undone. */
export function mediaPath(text: string): string {
  const [word] = words(text);
  // Spaces in a path that stands alone need no quotes.
  return word && word.end - word.begin === text.trim().length ? word.path : localPath(text.trim());
}

/** The piece for a path or URL. */
export function pieceOf(path: string, type?: MediaPiece['type']): MediaPiece {
  const name = isUrl(path) ? new URL(path).pathname : path;
  const kind = type ?? (isVideoName(name) ? 'video' : 'image');
  return { type: kind, ...(isUrl(path) ? { url: path } : { path }) } as MediaPiece;
}

/**
 * Media named one after the other go before the text. Amid a sentence a name leaves a hole, which a word fills: "what is in
 * cat.jpg?" asks what is in this image. In "compare a.png with b.png" each stays where it is.
 */
function mediaFirst(pieces: readonly ContentPiece[]): ContentPiece[] {
  const first = pieces.findIndex((piece) => typeof piece !== 'string');
  if (first < 0) return [...pieces];
  const rest = pieces.slice(first);
  const end = rest.findIndex((piece) => typeof piece === 'string');
  const media = (end < 0 ? rest : rest.slice(0, end)) as MediaPiece[];
  const after = end < 0 ? [] : rest.slice(end);
  if (after.length > 1) return [...pieces];
  const [head, tail] = [pieces.slice(0, first), after].map(([text]) => ((text as string) ?? '').trim());
  // "cat.jpg: what is it?"
  if (head === '') return [...media, ...[tail.replace(/^[:,;–—-]\s*/, '')].filter(Boolean)];
  const isOwnSentence = tail === '' && /[.?!:]$/.test(head);
  if (isOwnSentence) return [...media, head];
  const gap = /^[\p{L}\p{N}("'\-–—]/u.test(tail) ? ' ' : '';
  return [...media, `${head} ${nameOf(media)}${gap}${tail}`];
}

function nameOf(media: readonly MediaPiece[]): string {
  const word = media.every(({ type }) => type === 'video') ? 'video' : 'image';
  return media.length === 1 ? `this ${word}` : `these ${word}s`;
}

function addText(pieces: ContentPiece[], text: string): void {
  if (text.trim() !== '') pieces.push(text);
}

async function mediaOf(
  line: string,
  { begin, end, path }: Word,
  isFile: IsFile,
): Promise<{ begin: number; end: number; piece: MediaPiece } | undefined> {
  if (isMediaName(path) && (isUrl(path) || (await isFile(path)))) return { begin, end, piece: pieceOf(path) };
  // "Is there a dog in park.jpg?" ends in a mark that is none of the name's.
  const marks = /[?!.,;:)]+$/.exec(line.slice(begin, end))?.[0].length ?? 0;
  const bare = path.slice(0, path.length - marks);
  if (marks === 0 || !isMediaName(bare) || !(isUrl(bare) || (await isFile(bare)))) return undefined;
  return { begin, end: end - marks, piece: pieceOf(bare) };
}

function isMediaName(path: string): boolean {
  const name = isUrl(path) ? (URL.canParse(path) ? new URL(path).pathname : '') : path;
  return isPictureName(name) || isVideoName(name);
}

/** Words as a shell has them: quotes hold one together, and so does a backslash before a space. */
function words(line: string): Word[] {
  const found: Word[] = [];
  // A quote only opens a word; "what's" has none. On Windows a backslash parts folders.
  const pattern =
    sep === '\\'
      ? /"([^"]*)"|'([^']*)'|\S+/g
      : /"([^"]*)"(?=\s|[?!.,;:)]|$)|'([^']*)'(?=\s|[?!.,;:)]|$)|(?:\\.|[^\s\\])+/g;
  for (const match of line.matchAll(pattern)) {
    const quoted = match[1] ?? match[2];
    const begin = match.index;
    const bare = sep === '\\' ? match[0] : match[0].replace(/\\(.)/g, '$1');
    found.push({ begin, end: begin + match[0].length, path: localPath(quoted ?? bare) });
  }
  return found;
}

function localPath(path: string): string {
  if (/^file:\/\//i.test(path)) {
    try {
      return fileURLToPath(path);
    } catch {
      return path;
    }
  }
  return /^~(?=[\\/])/.test(path) ? homedir() + path.slice(1) : path;
}
