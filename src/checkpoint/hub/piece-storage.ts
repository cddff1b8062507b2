import { checkSignal } from '../../errors.js';
import { type ByteSource, blobSource } from '../source.js';
import type { HubStorage, Lock, PartialFile, Waiting } from './storage.js';

/** A store of whole values by key: what OPFS and the Cache API both are. Keys are paths with slashes. */
export interface PieceStore {
  /** For messages. */
  readonly name: string;
  get(key: string): Promise<Blob | undefined>;
  /** Whole or not at all. */
  put(key: string, bytes: Uint8Array): Promise<void>;
  delete(key: string): Promise<void>;
  /** Keys that begin so. */
  keys(prefix: string): Promise<string[]>;
  freeBytes(): Promise<number | undefined>;
}

/** Bytes of a piece: what a crash loses at most, and what is in memory at once. */
const PIECE_BYTES = 8 << 20;

/** What is known of a blob's pieces, finished or not. */
interface Note {
  readonly pieces: readonly number[];
  readonly validator?: string;
}

/**
 * A cache in a browser, in the layout of the one on disk. A blob is kept in pieces, because neither OPFS nor the Cache API
 * keeps what is written to a file before it is closed, and is read back as a Blob of Blobs, of which nothing is in memory.
 * A blob is there when the note with its pieces is; a snapshot's file is a text with the blob's path.
 */
export class PieceStorage implements HubStorage {
  readonly #store: PieceStore;
  readonly #pieceBytes: number;

  constructor(store: PieceStore, pieceBytes = PIECE_BYTES) {
    this.#store = store;
    this.#pieceBytes = pieceBytes;
  }

  describe(path: string): string {
    return `${this.#store.name}/${path}`;
  }

  async readText(path: string): Promise<string | undefined> {
    return (await this.#store.get(path))?.text();
  }

  async writeText(path: string, text: string): Promise<void> {
    await this.#store.put(path, new TextEncoder().encode(text));
  }

  async size(path: string): Promise<number | undefined> {
    return (await this.#blob(path))?.size;
  }

  async open(path: string): Promise<ByteSource | undefined> {
    const blob = await this.#blob(path);
    return blob && blobSource(blob, this.describe(path));
  }

  async list(folder: string): Promise<string[]> {
    const keys = await this.#store.keys(`${folder}/`);
    return keys.map((key) => key.slice(folder.length + 1));
  }

  async remove(path: string): Promise<void> {
    await this.#store.delete(path);
  }

  async link(blob: string, file: string): Promise<void> {
    await this.writeText(file, blob);
  }

  async partial(blob: string): Promise<PartialFile> {
    const note = await readNote(this.#store, incomplete(blob));
    const pieces = note?.pieces ?? [];
    return new PiecePartial(this.#store, blob, this.#pieceBytes, [...pieces], note?.validator);
  }

  async partialSize(blob: string): Promise<number> {
    return sum((await readNote(this.#store, incomplete(blob)))?.pieces ?? []);
  }

  lock(blob: string, waiting: Waiting): Promise<Lock> {
    return webLock(`${this.#store.name}/${blob}`, waiting);
  }

  freeBytes(): Promise<number | undefined> {
    return this.#store.freeBytes();
  }

  /** A blob, or the one that a snapshot's file stands for; undefined unless every piece is there in its length. */
  async #blob(path: string): Promise<Blob | undefined> {
    const isLink = path.includes('/snapshots/');
    const blob = isLink ? await this.readText(path) : path;
    if (blob === undefined) return undefined;
    const note = await readNote(this.#store, blob);
    if (!note) return undefined;
    const pieces = await Promise.all(note.pieces.map((_, i) => this.#store.get(pieceKey(blob, i))));
    // Browsers clear what they need room for.
    const isWhole = pieces.every((piece, i) => piece?.size === note.pieces[i]);
    return isWhole ? new Blob(pieces as Blob[]) : undefined;
  }
}

/** Bytes gather in memory until they are a piece. */
class PiecePartial implements PartialFile {
  validator: string | undefined;
  readonly #store: PieceStore;
  readonly #blob: string;
  readonly #pieces: number[];
  readonly #pieceBytes: number;
  #buffer: Uint8Array[] = [];

  constructor(
    store: PieceStore,
    blob: string,
    pieceBytes: number,
    pieces: number[],
    validator: string | undefined,
  ) {
    this.#store = store;
    this.#blob = blob;
    this.#pieces = pieces;
    this.#pieceBytes = pieceBytes;
    this.validator = validator;
  }

  get length(): number {
    return sum(this.#pieces) + this.#buffered;
  }

  get #buffered(): number {
    return sum(this.#buffer.map(({ length }) => length));
  }

  async restart(validator: string | undefined): Promise<void> {
    await this.#clear();
    this.validator = validator;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#buffer.push(bytes.slice());
    if (this.#buffered >= this.#pieceBytes) await this.#flush();
  }

  async *read(): AsyncGenerator<Uint8Array> {
    for (const [i, size] of this.#pieces.entries()) {
      const piece = await this.#store.get(pieceKey(this.#blob, i));
      // A piece that is gone takes those behind it along.
      if (piece?.size !== size) {
        this.#pieces.length = i;
        return;
      }
      yield new Uint8Array(await piece.arrayBuffer());
    }
    yield* this.#buffer;
  }

  async publish(): Promise<void> {
    await this.#flush();
    await writeNote(this.#store, this.#blob, { pieces: this.#pieces });
    await this.#store.delete(incomplete(this.#blob));
  }

  async close(): Promise<void> {
    // What cannot be kept is fetched again.
    await this.#flush().catch(() => {});
  }

  async remove(): Promise<void> {
    await this.#clear();
  }

  async #flush(): Promise<void> {
    const length = this.#buffered;
    if (length === 0) return;
    const piece = new Uint8Array(length);
    let at = 0;
    for (const bytes of this.#buffer) {
      piece.set(bytes, at);
      at += bytes.length;
    }
    await this.#store.put(pieceKey(this.#blob, this.#pieces.length), piece);
    this.#pieces.push(length);
    this.#buffer = [];
    await writeNote(this.#store, incomplete(this.#blob), { pieces: this.#pieces, validator: this.validator });
  }

  /** The notes first: pieces without one are nothing. */
  async #clear(): Promise<void> {
    this.#buffer = [];
    this.#pieces.length = 0;
    await this.#store.delete(incomplete(this.#blob));
    await this.#store.delete(this.#blob);
    for (const key of await this.#store.keys(`${this.#blob}.pieces/`)) await this.#store.delete(key);
  }
}

function pieceKey(blob: string, index: number): string {
  return `${blob}.pieces/${index}`;
}

function incomplete(blob: string): string {
  return `${blob}.incomplete`;
}

async function readNote(store: PieceStore, key: string): Promise<Note | undefined> {
  try {
    const { pieces, validator } = JSON.parse((await (await store.get(key))?.text()) ?? 'null');
    const isList = Array.isArray(pieces) && pieces.every((size) => Number.isSafeInteger(size) && size >= 0);
    return isList ? { pieces, validator } : undefined;
  } catch {
    return undefined;
  }
}

function writeNote(store: PieceStore, key: string, note: Note): Promise<void> {
  return store.put(key, new TextEncoder().encode(JSON.stringify(note)));
}

function sum(sizes: readonly number[]): number {
  return sizes.reduce((all, size) => all + size, 0);
}

/** Locks of this page, where the browser has none between pages. */
const local = new Map<string, Promise<void>>();

async function webLock(name: string, { signal, onWait }: Waiting): Promise<Lock> {
  checkSignal(signal);
  const told = setInterval(() => void onWait?.(), 250);
  try {
    const release = await (globalThis.navigator?.locks ? browserLock(name, signal) : localLock(name, signal));
    return { held: async () => true, release: async () => release() };
  } finally {
    clearInterval(told);
  }
}

/** Held until the function is called, or the page is gone. */
function browserLock(name: string, signal: AbortSignal | undefined): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const hold = () => new Promise<void>((release) => resolve(release));
    navigator.locks.request(`smolvlm-wasm ${name}`, signal ? { signal } : {}, hold).catch(reject);
  });
}

async function localLock(name: string, signal: AbortSignal | undefined): Promise<() => void> {
  const before = local.get(name) ?? Promise.resolve();
  let release = () => {};
  const own = new Promise<void>((resolve) => {
    release = resolve;
  });
  local.set(
    name,
    before.then(() => own),
  );
  await before;
  if (signal?.aborted) release();
  checkSignal(signal);
  return release;
}
