/**
 * Node's file system, imported only when a path is opened: the library stays loadable where there is none. The
 * specifier is put together at run time so that bundlers for browsers leave it alone.
 */
export function nodeFileSystem(): Promise<typeof import('node:fs/promises')> {
  return import(['node:fs', 'promises'].join('/'));
}

/** Whether an error of the file system says that the file does not exist. */
export function isNotFound(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
