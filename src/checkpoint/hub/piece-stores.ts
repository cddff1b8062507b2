/** The places of a browser that keep files: OPFS, and where there is none the Cache API. */
import type { PieceStore } from './piece-storage.js';

const FOLDER = 'smolvlm-wasm';

/** Undefined where files cannot be kept: no such API, a page without a secure origin, a private window. */
export async function browserStore(): Promise<PieceStore | undefined> {
  // workerd's caches are a CDN's, which keeps what it likes.
  if (globalThis.navigator?.userAgent === 'Cloudflare-Workers') return undefined;
  return (await opfsStore()) ?? (await cacheStore());
}

/** Whether this host can write to files of OPFS from here, and how. */
type Handle = FileSystemFileHandle & {
  createSyncAccessHandle?: () => Promise<{
    truncate(size: number): void;
    write(bytes: Uint8Array, options?: { at: number }): number;
    flush(): void;
    close(): void;
  }>;
};

/** The origin-private file system: real files, read in place. */
export async function opfsStore(): Promise<PieceStore | undefined> {
  let root: FileSystemDirectoryHandle;
  try {
    const storage = await navigator.storage.getDirectory();
    root = await storage.getDirectoryHandle(FOLDER, { create: true });
    const probe: Handle = await root.getFileHandle('.probe', { create: true });
    if (!('createWritable' in probe) && !('createSyncAccessHandle' in probe)) return undefined;
  } catch {
    return undefined;
  }
  const folderOf = async (parts: readonly string[], create: boolean) => {
    let folder = root;
    for (const part of parts) folder = await folder.getDirectoryHandle(part, { create });
    return folder;
  };
  const find = async (
    key: string,
    create: boolean,
  ): Promise<[FileSystemDirectoryHandle, string] | undefined> => {
    const parts = key.split('/');
    const name = parts.pop()!;
    return folderOf(parts, create).then((folder) => [folder, name], absent);
  };
  return {
    name: 'opfs',
    async get(key) {
      const [folder, name] = (await find(key, false)) ?? [];
      const handle = await folder?.getFileHandle(name!).catch(absent);
      return handle?.getFile();
    },
    async put(key, bytes) {
      const [folder, name] = (await find(key, true))!;
      await writeFile(await folder.getFileHandle(name, { create: true }), bytes);
    },
    async delete(key) {
      const [folder, name] = (await find(key, false)) ?? [];
      await folder?.removeEntry(name!).catch(absent);
    },
    async keys(prefix) {
      const folder = await folderOf(prefix.split('/').slice(0, -1), false).catch(absent);
      return folder ? (await namesBelow(folder)).map((name) => prefix + name) : [];
    },
    freeBytes,
  };
}

/** Safari's pages have the one way to write, its workers the other. */
async function writeFile(handle: Handle, bytes: Uint8Array): Promise<void> {
  if ('createWritable' in handle) {
    const stream = await handle.createWritable();
    try {
      await stream.write(bytes as Uint8Array<ArrayBuffer>);
      await stream.close();
    } catch (error) {
      await stream.abort().catch(() => {});
      throw error;
    }
    return;
  }
  const access = await (handle as Handle).createSyncAccessHandle!();
  try {
    access.truncate(0);
    access.write(bytes, { at: 0 });
    access.flush();
  } finally {
    access.close();
  }
}

async function namesBelow(folder: FileSystemDirectoryHandle): Promise<string[]> {
  const names: string[] = [];
  const entries = folder as unknown as AsyncIterable<[string, FileSystemHandle]>;
  for await (const [name, entry] of entries) {
    if (entry.kind === 'file') names.push(name);
    else
      for (const inner of await namesBelow(entry as FileSystemDirectoryHandle))
        names.push(`${name}/${inner}`);
  }
  return names;
}

function absent(error: unknown): undefined {
  const { name } = (error ?? {}) as { name?: unknown };
  if (name !== 'NotFoundError' && name !== 'TypeMismatchError') throw error;
}

/** The Cache API: values are responses under made-up addresses, which nobody can ask for. */
export async function cacheStore(caches = globalThis.caches): Promise<PieceStore | undefined> {
  let cache: Cache;
  try {
    cache = await caches.open(FOLDER);
  } catch {
    return undefined;
  }
  const base = 'https://smolvlm-wasm.invalid/';
  const address = (key: string) => base + key.split('/').map(encodeURIComponent).join('/');
  return {
    name: 'cache',
    async get(key) {
      return (await cache.match(address(key)))?.blob();
    },
    async put(key, bytes) {
      await cache.put(address(key), new Response(bytes as Uint8Array<ArrayBuffer>));
    },
    async delete(key) {
      await cache.delete(address(key));
    },
    async keys(prefix) {
      const requests = await cache.keys();
      const keys = requests.map(({ url }) => decodeURIComponent(url.slice(base.length)));
      return keys.filter((key) => key.startsWith(prefix));
    },
    freeBytes,
  };
}

async function freeBytes(): Promise<number | undefined> {
  const { quota, usage } = (await globalThis.navigator?.storage?.estimate?.().catch(() => undefined)) ?? {};
  return quota === undefined || usage === undefined ? undefined : quota - usage;
}
