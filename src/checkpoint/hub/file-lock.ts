import { checkSignal } from '../../errors.js';
import { isNotFound, nodeFileSystem, nodeOs } from '../node.js';
import { pause } from './retry.js';
import type { Lock, Waiting } from './storage.js';

/** How often the holder shows that it is alive. */
const BEAT_MS = 2_000;
/** A lock whose holder has shown nothing for so long is nobody's: an event loop may be busy for a while. */
export const STALE_MS = 30_000;
const POLL_MS = 100;
/** Taking a lock away takes a few milliseconds. */
const MARK_MS = 10_000;

/** Who holds a lock, as its file says. */
interface Holder {
  readonly pid: number;
  readonly host: string;
  readonly token: string;
}

/**
 * A lock between processes that outlives no crash: a file that says who holds it, touched every two seconds. One whose
 * process on this machine is gone, or that nobody touched while we watched it for 30 s, is taken over.
 * @throws AbortError; errors of the file system
 */
export async function lockFile(path: string, { signal, onWait }: Waiting, staleMs = STALE_MS): Promise<Lock> {
  const { mkdir } = await nodeFileSystem();
  await mkdir(path.slice(0, path.lastIndexOf('/')), { recursive: true });
  const own: Holder = { pid: process.pid, host: (await nodeOs()).hostname(), token: crypto.randomUUID() };
  let seen = { token: '', mtime: Number.NaN, since: 0 };
  for (;;) {
    checkSignal(signal);
    if (await create(path, own)) return held(path, own);
    const other = await look(path);
    if (other) {
      const { token, mtime } = other;
      // Times of another machine's clock are compared with each other only.
      if (token !== seen.token || mtime !== seen.mtime) seen = { token, mtime, since: performance.now() };
      const isDead = other.host === own.host && !isAlive(other.pid);
      if (isDead || performance.now() - seen.since > staleMs) await takeAway(path, token);
      else await onWait?.();
    }
    await pause(POLL_MS, signal);
  }
}

async function create(path: string, own: Holder): Promise<boolean> {
  const { link, unlink, writeFile } = await nodeFileSystem();
  const draft = `${path}.${own.token}`;
  await writeFile(draft, JSON.stringify(own));
  try {
    // A link appears with its content or not at all.
    await link(draft, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    // File systems without hard links.
    return await writeFile(path, JSON.stringify(own), { flag: 'wx' }).then(
      () => true,
      (second) => {
        if (second.code === 'EEXIST') return false;
        throw second;
      },
    );
  } finally {
    await unlink(draft).catch(() => {});
  }
}

async function look(path: string): Promise<(Holder & { mtime: number }) | undefined> {
  const { readFile, stat } = await nodeFileSystem();
  try {
    const [text, { mtimeMs: mtime }] = await Promise.all([readFile(path, 'utf8'), stat(path)]);
    const { pid, host, token } = parseHolder(text);
    return { pid, host, token, mtime };
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

function parseHolder(text: string): Holder {
  try {
    const { pid, host, token } = JSON.parse(text);
    if (typeof pid === 'number' && typeof host === 'string' && typeof token === 'string')
      return { pid, host, token };
  } catch {}
  // Not one of ours, or half written: time will tell.
  return { pid: 0, host: '', token: text };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/**
 * Removes a dead holder's lock. Several may see it at once: one of them at a time, marked by a file of its own, looks again
 * and takes it away.
 */
async function takeAway(path: string, token: string): Promise<void> {
  const { stat, unlink, writeFile } = await nodeFileSystem();
  const mark = `${path}.taking`;
  try {
    await writeFile(mark, String(process.pid), { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    // Whoever died within these few calls leaves the mark behind.
    const since = await stat(mark).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    );
    if (since > MARK_MS) await unlink(mark).catch(() => {});
    return;
  }
  try {
    if ((await look(path))?.token !== token) return;
    await unlink(path);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  } finally {
    await unlink(mark).catch(() => {});
  }
}

function held(path: string, own: Holder): Lock {
  const beat = setInterval(async () => {
    const { utimes } = await nodeFileSystem();
    const now = new Date();
    await utimes(path, now, now).catch(() => {});
  }, BEAT_MS);
  // Deno and Bun have it too; a process is not kept alive for it.
  (beat as { unref?: () => void }).unref?.();
  const isOurs = async () => (await look(path).catch(() => undefined))?.token === own.token;
  return {
    held: isOurs,
    async release() {
      clearInterval(beat);
      const { unlink } = await nodeFileSystem();
      if (await isOurs()) await unlink(path).catch(() => {});
    },
  };
}
