/**
 * Node's modules, imported only when a path is opened: the library stays loadable where there are none. The specifiers are
 * put together at run time so that bundlers for browsers leave them alone.
 */
export function nodeFileSystem(): Promise<typeof import('node:fs/promises')> {
  return import(['node:fs', 'promises'].join('/'));
}

export function nodeCrypto(): Promise<typeof import('node:crypto')> {
  return import(['node', 'crypto'].join(':'));
}

export function nodeOs(): Promise<typeof import('node:os')> {
  return import(['node', 'os'].join(':'));
}

/** Whether there are files on disk: Node, Deno and Bun. workerd calls itself Node, but its files last no longer than it. */
export function hasFiles(): boolean {
  if (typeof process === 'undefined' || typeof process.versions?.node !== 'string') return false;
  return typeof navigator === 'undefined' || navigator.userAgent !== 'Cloudflare-Workers';
}

/** Whether an error of the file system says that the file does not exist. */
export function isNotFound(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
