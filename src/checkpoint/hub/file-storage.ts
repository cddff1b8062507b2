import type { FileHandle } from 'node:fs/promises';
import { isNotFound, nodeFileSystem } from '../node.js';
import { type ByteSource, fileSource } from '../source.js';
import { lockFile } from './file-lock.js';
import type { HubStorage, Lock, PartialFile, Waiting } from './storage.js';

/** Python's unfinished files end in `.incomplete`, and it goes on with whatever lies there: ours are our own. */
const INCOMPLETE = '.smolvlm.incomplete';
const READ_BYTES = 1 << 20;
/** Errors with which a system says that it makes no symbolic links, or not for us. */
const NO_LINKS = ['EPERM', 'EACCES', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL', 'UNKNOWN'];

/** A cache on disk (Node, Deno, Bun), which Python's huggingface_hub shares. */
export class FileStorage implements HubStorage {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  describe(path: string): string {
    return `${this.#root}/${path}`;
  }

  async readText(path: string): Promise<string | undefined> {
    const { readFile } = await nodeFileSystem();
    return readFile(this.describe(path), 'utf8').catch(absent);
  }

  async writeText(path: string, text: string): Promise<void> {
    const { rename, writeFile } = await nodeFileSystem();
    const place = await this.#place(path);
    const draft = `${place}.${crypto.randomUUID()}`;
    await writeFile(draft, text);
    await rename(draft, place);
  }

  async size(path: string): Promise<number | undefined> {
    const { stat } = await nodeFileSystem();
    const stats = await stat(this.describe(path)).catch(absent);
    return stats?.isFile() ? stats.size : undefined;
  }

  async open(path: string): Promise<ByteSource | undefined> {
    return (await this.size(path)) === undefined ? undefined : fileSource(this.describe(path));
  }

  async list(folder: string): Promise<string[]> {
    const { readdir } = await nodeFileSystem();
    const names = (await readdir(this.describe(folder), { recursive: true }).catch(absent)) ?? [];
    const paths = names.map((name) => String(name).replaceAll('\\', '/'));
    const sizes = await Promise.all(paths.map((path) => this.size(`${folder}/${path}`)));
    return paths.filter((_, i) => sizes[i] !== undefined);
  }

  async remove(path: string): Promise<void> {
    const { rm } = await nodeFileSystem();
    await rm(this.describe(path), { force: true });
  }

  async link(blob: string, file: string, fresh: boolean): Promise<void> {
    const { copyFile, rename, rm } = await nodeFileSystem();
    const place = await this.#place(file);
    const up = '../'.repeat(file.split('/').length - 2);
    const target = up + blob.split('/').slice(1).join('/');
    // Made beside it and moved there: a reader finds the old file or the new one.
    const draft = `${place}.${crypto.randomUUID()}`;
    try {
      await this.symlink(target, draft);
    } catch (error) {
      if (!NO_LINKS.includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
      if (fresh) return await rename(this.describe(blob), place);
      await copyFile(this.describe(blob), draft);
    }
    await rename(draft, place).catch(async (error) => {
      await rm(draft, { force: true });
      throw error;
    });
  }

  /** Where a system makes no symbolic links, this is what fails. */
  protected async symlink(target: string, path: string): Promise<void> {
    const { symlink } = await nodeFileSystem();
    await symlink(target, path);
  }

  async partial(blob: string): Promise<PartialFile> {
    const { open, readFile, stat } = await nodeFileSystem();
    const place = await this.#place(blob);
    const path = place + INCOMPLETE;
    const length = (await stat(path).catch(absent))?.size ?? 0;
    const note = await readFile(`${path}.json`, 'utf8').catch(absent);
    // Never truncated by opening, and written by position: see write().
    const handle = await open(path, 'r+').catch((error) => {
      if (!isNotFound(error)) throw error;
      return open(path, 'w+');
    });
    return new FilePartial(place, handle, length, parseNote(note));
  }

  async partialSize(blob: string): Promise<number> {
    return (await this.size(blob + INCOMPLETE)) ?? 0;
  }

  lock(blob: string, waiting: Waiting): Promise<Lock> {
    // Beside the locks of huggingface_hub, whose kind (flock) cannot be taken from here.
    const [repository, , name] = blob.split('/');
    return lockFile(this.describe(`.locks/${repository}/${name}.smolvlm.lock`), waiting);
  }

  async freeBytes(): Promise<number | undefined> {
    const { mkdir, statfs } = await nodeFileSystem();
    try {
      await mkdir(this.#root, { recursive: true });
      const { bavail, bsize } = await statfs(this.#root);
      return bavail * bsize;
    } catch {
      return undefined;
    }
  }

  /** A path whose folder is there. */
  async #place(path: string): Promise<string> {
    const { mkdir } = await nodeFileSystem();
    const place = this.describe(path);
    await mkdir(place.slice(0, place.lastIndexOf('/')), { recursive: true });
    return place;
  }
}

/**
 * Bytes are written by their place in the file, so that even two writers, each of which takes the other for dead, write the
 * same bytes to the same places.
 */
class FilePartial implements PartialFile {
  length: number;
  validator: string | undefined;
  readonly #place: string;
  readonly #path: string;
  #handle: FileHandle;

  constructor(place: string, handle: FileHandle, length: number, validator: string | undefined) {
    this.#place = place;
    this.#path = place + INCOMPLETE;
    this.#handle = handle;
    this.length = length;
    this.validator = validator;
  }

  async restart(validator: string | undefined): Promise<void> {
    const { rm, writeFile } = await nodeFileSystem();
    // In this order a crash in between leaves no bytes beside another file's validator.
    await rm(`${this.#path}.json`, { force: true });
    await this.#handle.truncate(0);
    this.length = 0;
    if (validator !== undefined) await writeFile(`${this.#path}.json`, JSON.stringify({ validator }));
    this.validator = validator;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, this.length);
      done += bytesWritten;
      this.length += bytesWritten;
    }
  }

  async *read(): AsyncGenerator<Uint8Array> {
    const buffer = new Uint8Array(READ_BYTES);
    for (let at = 0; at < this.length; ) {
      const { bytesRead } = await this.#handle.read(buffer, 0, Math.min(READ_BYTES, this.length - at), at);
      if (bytesRead === 0) throw new Error(`${this.#path} shrank while it was read`);
      yield buffer.subarray(0, bytesRead);
      at += bytesRead;
    }
  }

  async publish(): Promise<void> {
    const { rename, rm } = await nodeFileSystem();
    await this.#handle.sync();
    await this.#handle.close();
    await rename(this.#path, this.#place);
    await rm(`${this.#path}.json`, { force: true });
  }

  async close(): Promise<void> {
    await this.#handle.close().catch(() => {});
  }

  async remove(): Promise<void> {
    const { rm } = await nodeFileSystem();
    await this.close();
    await rm(this.#path, { force: true });
    await rm(`${this.#path}.json`, { force: true });
  }
}

function parseNote(text: string | undefined): string | undefined {
  try {
    const { validator } = JSON.parse(text ?? '{}');
    return typeof validator === 'string' ? validator : undefined;
  } catch {
    return undefined;
  }
}

function absent(error: unknown): undefined {
  if (!isNotFound(error)) throw error;
}
