/** Tab: commands, and the paths of folders, pictures and videos. */
import type { Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isPictureName, isVideoName, naturalOrder } from '../inputs.js';

/** Commands behind which any file may stand, not only pictures and videos. */
const ANY_FILE = /^\/(load|save)\s/;

/** @returns what the end of the line may become, and that end */
export async function complete(line: string, commands: readonly string[]): Promise<[string[], string]> {
  if (/^\/\w*$/.test(line)) {
    const hits = commands.filter((command) => command.startsWith(line));
    if (hits.length > 0) return [hits.map((hit) => `${hit} `), line];
  }
  // The last word, its escaped spaces inside.
  const word = /(?:\\.|[^\s\\])*$/.exec(line)?.[0] ?? '';
  const path = word.replace(/\\(.)/g, '$1');
  const slash = path.lastIndexOf('/') + 1;
  const folder = path.slice(0, slash);
  const start = path.slice(slash);
  const place = folder.replace(/^~(?=\/)/, homedir());
  const entries = await readdir(place === '' ? '.' : place, { withFileTypes: true }).catch(() => []);
  const isAny = ANY_FILE.test(line);
  const hits = entries
    .filter(({ name }) => name.startsWith(start) && (start.startsWith('.') || !name.startsWith('.')))
    .filter((entry) => isFolder(entry) || isAny || isPictureName(entry.name) || isVideoName(entry.name))
    .sort((a, b) => naturalOrder(a.name, b.name))
    .map((entry) => `${escaped(folder + entry.name)}${isFolder(entry) ? '/' : ' '}`);
  return [hits, word];
}

function isFolder(entry: Dirent): boolean {
  return entry.isDirectory();
}

function escaped(path: string): string {
  return path.replace(/[\s\\'"]/g, '\\$&');
}
