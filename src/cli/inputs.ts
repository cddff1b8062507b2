/** What the arguments of `describe` mean: files, folders, globs and URLs become one list of pictures and videos. */
import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import picomatch from 'picomatch';

export interface MediaInput {
  /** As it was given, or found below what was given. */
  path: string;
  type: 'image' | 'video';
}

export interface Inputs {
  /** In the order of the arguments, folders and globs in natural order, each file once. */
  media: MediaInput[];
  /** Arguments that lead nowhere, and why. */
  problems: { path: string; reason: string }[];
  /** Files of folders and globs that are no pictures by their names. */
  leftOut: number;
}

const PICTURE_NAME = /\.(jpe?g|jpe|jfif|png)$/i;
const VIDEO_NAME = /\.(gif|mp4|m4v|mov|webm|mkv|avi)$/i;

export function isPictureName(name: string): boolean {
  return PICTURE_NAME.test(name);
}

export function isVideoName(name: string): boolean {
  return VIDEO_NAME.test(name);
}

export function isUrl(text: string): boolean {
  return /^https?:\/\//i.test(text);
}

/** @param videos what `--video` was given: files, URLs, folders of frames */
export async function expandInputs(
  paths: readonly string[],
  { recursive = false, videos = [] }: { recursive?: boolean; videos?: readonly string[] } = {},
): Promise<Inputs> {
  const inputs: Inputs = { media: [], problems: [], leftOut: 0 };
  const known = new Set<string>();
  const add = (path: string, type: MediaInput['type']) => {
    const key = isUrl(path) ? path : resolve(path);
    if (!known.has(key)) inputs.media.push({ path, type });
    known.add(key);
  };
  for (const given of paths) {
    const path = /^file:\/\//i.test(given) ? fileURLToPath(given) : given;
    if (isUrl(path)) {
      add(path, isVideoName(new URL(path).pathname) ? 'video' : 'image');
      continue;
    }
    const stats = await stat(path).catch(() => undefined);
    // Brackets and the like may also be part of a file's name: what exists is no pattern.
    const isGlob = !stats && picomatch.scan(slashes(path)).isGlob;
    if (!stats?.isDirectory() && !isGlob) {
      add(path, isVideoName(path) ? 'video' : 'image');
      continue;
    }
    try {
      const files = isGlob
        ? await filesOfGlob(slashes(path))
        : await filesBelow(path, recursive ? Infinity : 1);
      const wanted = (name: string) =>
        isPictureName(name) || (isGlob && isVideoName(path) && isVideoName(name));
      const found = files.filter(wanted);
      for (const file of found) add(file, isVideoName(file) ? 'video' : 'image');
      inputs.leftOut += files.length - found.length;
      if (found.length > 0) continue;
      inputs.problems.push({ path, reason: nothingFound(isGlob, recursive, files.length) });
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      inputs.problems.push({ path, reason: `the folder cannot be read: ${code ?? message}` });
    }
  }
  for (const path of videos) add(/^file:\/\//i.test(path) ? fileURLToPath(path) : path, 'video');
  return inputs;
}

function nothingFound(isGlob: boolean, recursive: boolean, others: number): string {
  const beside = others > 0 ? `, ${others === 1 ? '1 file' : `${others} files`} of other kinds` : '';
  if (isGlob) return `no JPEG or PNG file matches${beside}`;
  return `no JPEG or PNG file in this folder${beside}${recursive ? '' : ' (--recursive looks into its folders)'}`;
}

/** On Windows both slashes part folders; elsewhere a backslash makes the next character an ordinary one. */
function slashes(path: string): string {
  return sep === '\\' ? path.replaceAll('\\', '/') : path;
}

async function filesOfGlob(pattern: string): Promise<string[]> {
  const { base, glob } = picomatch.scan(pattern);
  const matches = picomatch(glob, { windows: false, nocase: sep === '\\' });
  const depth = glob.includes('**') ? Infinity : glob.split('/').length;
  const folder = base === '' ? '.' : base;
  if (!(await stat(folder).catch(() => undefined))?.isDirectory()) return [];
  const files = await filesBelow(folder, depth);
  // join('.', name) is the name alone.
  const start = folder === '.' ? 0 : join(folder, 'x').length - 1;
  return files.filter((file) => matches(slashes(file.slice(start))));
}

/** Files in natural order, so many folders deep; hidden ones are nobody's business, and no folder is visited twice. */
async function filesBelow(folder: string, depth: number, visited = new Set<string>()): Promise<string[]> {
  const real = await realpath(folder);
  if (visited.has(real)) return [];
  visited.add(real);
  const entries = await readdir(folder, { withFileTypes: true });
  const files: string[] = [];
  for (const entry of entries.sort((a, b) => naturalOrder(a.name, b.name))) {
    if (entry.name.startsWith('.')) continue;
    const path = join(folder, entry.name);
    const kind = await kindOf(entry, path);
    if (kind === 'file') files.push(path);
    else if (kind === 'folder' && depth > 1) files.push(...(await filesBelow(path, depth - 1, visited)));
  }
  return files;
}

async function kindOf(entry: Dirent, path: string): Promise<'file' | 'folder' | undefined> {
  const stats = entry.isSymbolicLink() ? await stat(path).catch(() => undefined) : entry;
  if (stats?.isFile()) return 'file';
  return stats?.isDirectory() ? 'folder' : undefined;
}

/** "frame2" before "frame10"; the same on every machine, whatever its language. */
export function naturalOrder(a: string, b: string): number {
  const [left, right] = [a, b].map((name) => name.split(/(\d+)/));
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = i % 2 === 1 ? Number(left[i]) - Number(right[i]) : 0;
    if (difference !== 0) return difference;
    if (left[i] !== right[i]) return left[i] < right[i] ? -1 : 1;
  }
  if (left.length !== right.length) return left.length - right.length;
  // "x2" and "x02".
  return a < b ? -1 : Number(a > b);
}
