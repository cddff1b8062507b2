import { CheckpointError, checkSignal, HubError } from '../errors.js';
import { isRepositoryName, openRepository } from './hub/open.js';
import type { HubOptions } from './hub/options.js';
import { hasFiles, isNotFound, nodeFileSystem } from './node.js';
import { openSafetensors, type SafetensorsFile } from './safetensors.js';
import { openShards, type Shards } from './shards.js';
import { type ByteSource, missingFile, readAll } from './source.js';
import { type FolderFiles, mapFiles, type NamedFiles, pathFiles, urlFiles } from './storage.js';

export type { NamedFiles } from './storage.js';

/** The largest file that is read as text (a tokenizer of 256k entries has about 35 MB). */
const MAX_TEXT_BYTES = 256 << 20;

/**
 * Where a checkpoint is: a folder's path, a repository of the Hugging Face hub (`org/name`; a folder of that name goes
 * first, and `./org/name` is always one), a folder's URL (http, https, file), or its files by name.
 */
export type CheckpointLocation = string | URL | NamedFiles | CheckpointFolder;

/** `signal`, and for a repository of the hub everything else. */
export type OpenOptions = HubOptions;

/**
 * Opens a checkpoint folder in Hugging Face's layout. Nothing is read yet but, for a path, that the folder exists, and for
 * a repository, which commit its revision is. A folder that is open is returned as it is.
 * @throws CheckpointError if there is neither; HubError; InputError for an option; AbortError
 */
export async function openCheckpoint(
  location: CheckpointLocation,
  options: OpenOptions = {},
): Promise<CheckpointFolder> {
  checkSignal(options.signal);
  if (location instanceof CheckpointFolder) return location;
  return new CheckpointFolder(await filesAt(location, options), options.signal);
}

async function filesAt(location: string | URL | NamedFiles, options: OpenOptions): Promise<FolderFiles> {
  if (location instanceof URL || (typeof location === 'string' && /^(https?|file):\/\//i.test(location))) {
    const url = new URL(location);
    return url.protocol === 'file:' ? pathFiles(pathOfUrl(url)) : urlFiles(url);
  }
  if (typeof location !== 'string') return mapFiles(location);
  if (!isRepositoryName(location) || (await isPath(location))) return pathFiles(location);
  try {
    return await openRepository(location, options);
  } catch (error) {
    if (error instanceof HubError && error.code === 'RepoNotFound') throw neither(location, error);
    throw error;
  }
}

/** Whether there is something of this name on disk. */
async function isPath(location: string): Promise<boolean> {
  if (!hasFiles()) return false;
  const { stat } = await nodeFileSystem();
  return stat(location).then(
    () => true,
    (error) => !isNotFound(error),
  );
}

function neither(name: string, cause: HubError): CheckpointError {
  return new CheckpointError({
    what: 'no such checkpoint',
    where: name,
    expected: 'a folder of this name, or a repository of the hub (a private one needs a token: HF_TOKEN)',
    got: `no such folder, and ${cause.where}: ${cause.got}`,
    cause,
  });
}

function pathOfUrl(url: URL): string {
  const path = decodeURIComponent(url.pathname);
  return /^\/[A-Za-z]:/.test(path) ? path.slice(1) : path;
}

/** The files of one checkpoint, each read when it is asked for. */
export class CheckpointFolder {
  /** Path or URL, or "files" where they were given by name. */
  readonly name: string;
  #files: FolderFiles;
  #signal: AbortSignal | undefined;
  #shards: Promise<Shards> | undefined;

  constructor(files: FolderFiles, signal?: AbortSignal) {
    this.#files = files;
    this.#signal = signal;
    this.name = files.name;
  }

  has(file: string): Promise<boolean> {
    return this.#files.has(file, this.#signal);
  }

  /** @throws CheckpointError if the file is missing or has more than 256 MiB. */
  async bytes(file: string): Promise<Uint8Array<ArrayBuffer>> {
    const source = await this.#source(file);
    try {
      return await readAll(source, MAX_TEXT_BYTES, this.#signal);
    } finally {
      await source.close();
    }
  }

  /** @throws CheckpointError if the file is missing or not UTF-8. */
  async text(file: string): Promise<string> {
    const bytes = await this.bytes(file);
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch (cause) {
      const where = this.#files.describe(file);
      throw new CheckpointError({ what: 'not UTF-8', where, expected: 'text', got: 'other bytes', cause });
    }
  }

  /** @throws CheckpointError if the file is missing or not JSON. */
  async json(file: string): Promise<unknown> {
    const text = await this.text(file);
    try {
      return JSON.parse(text);
    } catch (cause) {
      const got = (cause as Error).message;
      const where = this.#files.describe(file);
      throw new CheckpointError({ what: 'not JSON', where, expected: 'JSON', got, cause });
    }
  }

  /** Another safetensors file of the folder; the caller closes it. @throws CheckpointError if missing or malformed */
  async safetensors(file: string): Promise<SafetensorsFile> {
    return openSafetensors(await this.#source(file), this.#signal);
  }

  /**
   * The safetensors files of the checkpoint with their tensors: `model.safetensors`, or the shards that
   * `model.safetensors.index.json` lists. Headers are read and checked at the first call.
   * @throws CheckpointError for missing or malformed files, and an index that does not fit its shards.
   */
  weights(): Promise<Shards> {
    const files = this.#files;
    const open = (file: string) => files.open(file, this.#signal);
    const prepare = async (shards: readonly string[]) => files.prepare?.(shards, this.#signal);
    this.#shards ??= openShards(open, this.name, this.#signal, prepare).catch((error) => {
      this.#shards = undefined;
      throw error;
    });
    return this.#shards;
  }

  /** Gives file handles and connections back. Files are opened again by a later read. */
  async close(): Promise<void> {
    const shards = await this.#shards?.catch(() => undefined);
    await Promise.all(shards?.files.map((file) => file.close()) ?? []);
    await this.#files.close?.();
  }

  async #source(file: string): Promise<ByteSource> {
    const source = await this.#files.open(file, this.#signal);
    if (source) return source;
    throw missingFile(this.#files.describe(file));
  }
}
