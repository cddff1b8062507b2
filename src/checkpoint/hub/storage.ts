import type { ByteSource } from '../source.js';

/**
 * Where a hub's files are kept, in the layout of Python's huggingface_hub. Paths are relative to the cache and have
 * slashes: `models--org--name/refs/main` (a commit), `…/blobs/<digest>` (a file's bytes), `…/snapshots/<commit>/<file>` (the
 * file at that commit: a link to its blob), `…/.no_exist/<commit>/<file>` (the commit has no such file).
 */
export interface HubStorage {
  /** A path as messages give it. */
  describe(path: string): string;
  /** A small file; undefined if there is none. */
  readText(path: string): Promise<string | undefined>;
  /** Writes a small file, whole or not at all. */
  writeText(path: string, text: string): Promise<void>;
  /** Bytes of a blob or of a snapshot's file; undefined if it is not there whole. */
  size(path: string): Promise<number | undefined>;
  /** A blob or a snapshot's file; undefined if it is not there whole. */
  open(path: string): Promise<ByteSource | undefined>;
  /** Whether a snapshot has any file, and which. */
  list(folder: string): Promise<string[]>;
  remove(path: string): Promise<void>;
  /** Makes `file` of a snapshot stand for the blob. `fresh`: the blob may be moved there, where there are no links. */
  link(blob: string, file: string, fresh: boolean): Promise<void>;
  /** The unfinished part of a blob, which may be that of an earlier run. */
  partial(blob: string): Promise<PartialFile>;
  /** Bytes of the unfinished part, to watch another process at it. */
  partialSize(blob: string): Promise<number>;
  /** Waits until nobody else has this lock. @throws AbortError */
  lock(blob: string, waiting: Waiting): Promise<Lock>;
  /** Bytes that can still be written; undefined where that cannot be known. */
  freeBytes(): Promise<number | undefined>;
}

export interface Waiting {
  readonly signal?: AbortSignal;
  /** Called now and then while another has the lock. */
  readonly onWait?: () => Promise<void> | void;
}

export interface Lock {
  /** Whether it is still ours: nobody took us for dead. */
  held(): Promise<boolean>;
  release(): Promise<void>;
}

/** A blob that is being written, front to back. It is seen by nobody as a file before `publish`. */
export interface PartialFile {
  /** Bytes that are there. */
  readonly length: number;
  /** The strong etag of the answer that they came with: the only thing that more bytes may be asked for with. */
  readonly validator: string | undefined;
  /** Throws away what is there. */
  restart(validator: string | undefined): Promise<void>;
  write(bytes: Uint8Array): Promise<void>;
  /** What is there, from the start. */
  read(): AsyncIterable<Uint8Array>;
  /** On stable storage and under the blob's name, at once. */
  publish(): Promise<void>;
  /** Gives handles back; what is there stays for a resume. */
  close(): Promise<void>;
  /** Away with it. */
  remove(): Promise<void>;
}

/** Paths of a repository's parts in a cache. */
export class RepositoryPaths {
  readonly root: string;

  constructor(repository: string) {
    this.root = `models--${repository.replaceAll('/', '--')}`;
  }

  ref(revision: string): string {
    return `${this.root}/refs/${revision}`;
  }

  blob(name: string): string {
    return `${this.root}/blobs/${name}`;
  }

  snapshot(commit: string): string {
    return `${this.root}/snapshots/${commit}`;
  }

  file(commit: string, path: string): string {
    return `${this.snapshot(commit)}/${path}`;
  }

  missing(commit: string, path: string): string {
    return `${this.root}/.no_exist/${commit}/${path}`;
  }
}
