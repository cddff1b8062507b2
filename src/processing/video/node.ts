/** Node's modules, imported only when a path or a child process is needed; specifiers that bundlers leave alone. */

export function nodeChildProcess(): Promise<typeof import('node:child_process')> {
  return import(['node:child', 'process'].join('_'));
}

export function nodeFiles(): Promise<typeof import('node:fs/promises')> {
  return import(['node:fs', 'promises'].join('/'));
}

/** Whether there are files and processes: Node, Deno and Bun. */
export function hasNode(): boolean {
  return typeof process !== 'undefined' && typeof process.versions?.node === 'string';
}
