import { CheckpointError, checkSignal } from '../errors.js';
import { openSafetensors, type SafetensorsFile } from './safetensors.js';
import { openShards, type Shards } from './shards.js';
import { type ByteSource, missingFile, readAll } from './source.js';
import { type FolderFiles, mapFiles, type NamedFiles, pathFiles, urlFiles } from './storage.js';

export type { NamedFiles } from './storage.js';

/** The largest file that is read as text (a tokenizer of 256k entries has about 35 MB). */
const MAX_TEXT_BYTES = 256 << 20;

/** Where a checkpoint is: a folder's path, its URL (http, https, file), or its files by name. */
export type CheckpointLocation = string | URL | NamedFiles;

export interface OpenOptions {
  signal?: AbortSignal;
}

/**
 * Opens a checkpoint folder in Hugging Face's layout. Nothing is read yet but, for a path, that the folder exists.
 * @throws CheckpointError if it does not.
 */
export async function openCheckpoint(
  location: CheckpointLocation,
  { signal }: OpenOptions = {},
): Promise<CheckpointFolder> {
  checkSignal(signal);
  return new CheckpointFolder(await filesAt(location), signal);
}

async function filesAt(location: CheckpointLocation): Promise<FolderFiles> {
  if (location instanceof URL || (typeof location === 'string' && /^(https?|file):\/\//i.test(location))) {
    const url = new URL(location);
    return url.protocol === 'file:' ? pathFiles(pathOfUrl(url)) : urlFiles(url);
  }
  return typeof location === 'string' ? pathFiles(location) : mapFiles(location);
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
    this.#shards ??= openShards(
      (file) => this.#files.open(file, this.#signal),
      this.name,
      this.#signal,
    ).catch((error) => {
      this.#shards = undefined;
      throw error;
    });
    return this.#shards;
  }

  /** Gives file handles and connections back. Files are opened again by a later read. */
  async close(): Promise<void> {
    const shards = await this.#shards?.catch(() => undefined);
    await Promise.all(shards?.files.map((file) => file.close()) ?? []);
  }

  async #source(file: string): Promise<ByteSource> {
    const source = await this.#files.open(file, this.#signal);
    if (source) return source;
    throw missingFile(this.#files.describe(file));
  }
}
