/** The lines that were typed, kept over runs. */
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** More than this many are forgotten, the oldest first. */
export const HISTORY_LINES = 1000;

/** Where programs keep what is worth keeping and nobody's document: XDG's state folder, on Windows the local one. */
export function historyPath(env: NodeJS.ProcessEnv = process.env, platform = process.platform): string {
  const given = env.XDG_STATE_HOME;
  // A relative one is invalid by the specification.
  if (given?.startsWith('/')) return join(given, 'smolvlm', 'chat-history');
  if (platform === 'win32' && env.LOCALAPPDATA) return join(env.LOCALAPPDATA, 'smolvlm', 'chat-history');
  return join(homedir(), '.local', 'state', 'smolvlm', 'chat-history');
}

export class HistoryFile {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Oldest first. None, where there is no file or it cannot be read. */
  async read(): Promise<string[]> {
    const text = await readFile(this.#path, 'utf8').catch(() => '');
    const lines = text.split('\n').filter((line) => line !== '');
    if (lines.length <= 2 * HISTORY_LINES) return lines.slice(-HISTORY_LINES);
    const kept = lines.slice(-HISTORY_LINES);
    await writeFile(this.#path, `${kept.join('\n')}\n`, { mode: 0o600 }).catch(() => {});
    return kept;
  }

  /** Appends, so that chats side by side do not take each other's lines. @throws what the file system says */
  async add(line: string): Promise<void> {
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
    await appendFile(this.#path, `${line.replace(/[\r\n]+/g, ' ')}\n`, { mode: 0o600 });
  }
}
