import { CheckpointError, checkSignal } from '../errors.js';
import { isNotFound, nodeFileSystem } from './node.js';

/**
 * Bytes that can be read by offset: a file, a Blob, a buffer or a fetched stream. Reads of one source are made one
 * after the other, unless it is `random`.
 */
export interface ByteSource {
  /** For messages: the file's name. */
  readonly name: string;
  /** Bytes in all; null where that is not known before the end (a stream without Content-Length). */
  readonly size: number | null;
  /** Whether any range may be read in any order, and several at once; also into memory that threads share. */
  readonly random?: boolean;
  /**
   * Fills `into` with the bytes from `offset` on.
   * @throws CheckpointError if the source ends before (file, offset, expected and got bytes), or cannot be read.
   * @throws AbortError (the signal's reason) if the signal is aborted before the bytes are there.
   */
  read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** For sources of unknown size: the same up to the end; returns how many bytes there were. */
  readUpTo?(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<number>;
  /** Gives handles and connections back. A file or a URL is opened again by a later read. */
  close(): Promise<void>;
}

/** Node refuses single reads of 2 GiB and more; smaller ones also let the signal be seen in between. */
const FILE_READ_BYTES = 64 << 20;

/**
 * A file by its path (Node, Deno, Bun).
 * @throws CheckpointError if there is no such file, or it is a directory.
 */
export async function fileSource(path: string, name = path): Promise<ByteSource> {
  const { open, stat } = await nodeFileSystem();
  const stats = await stat(path).catch((error) => {
    if (isNotFound(error)) throw missingFile(name, error);
    throw unreadable(name, 0, error);
  });
  if (stats.isDirectory()) {
    throw new CheckpointError({ what: 'not a file', where: name, expected: 'a file', got: 'a directory' });
  }
  let opening: ReturnType<typeof open> | undefined;
  return {
    name,
    size: stats.size,
    random: true,
    async read(offset, into, signal) {
      checkSignal(signal);
      try {
        opening ??= open(path, 'r');
        const handle = await opening;
        for (let done = 0; done < into.length; ) {
          const length = Math.min(into.length - done, FILE_READ_BYTES);
          const { bytesRead } = await handle.read(into, done, length, offset + done);
          if (bytesRead === 0) throw shortRead(name, offset, into.length, done);
          done += bytesRead;
          checkSignal(signal);
        }
      } catch (error) {
        if (error instanceof CheckpointError || signal?.aborted) throw error;
        throw unreadable(name, offset, error);
      }
    },
    async close() {
      const handle = opening;
      opening = undefined;
      await (await handle?.catch(() => undefined))?.close();
    },
  };
}

/** A Blob or a File. */
export function blobSource(blob: Blob, name = 'blob'): ByteSource {
  return {
    name,
    size: blob.size,
    random: true,
    async read(offset, into, signal) {
      checkSignal(signal);
      const part = blob.slice(offset, offset + into.length);
      if (part.size < into.length) throw shortRead(name, offset, into.length, part.size);
      let bytes: ArrayBuffer;
      try {
        bytes = await part.arrayBuffer();
      } catch (error) {
        throw unreadable(name, offset, error);
      }
      checkSignal(signal);
      into.set(new Uint8Array(bytes));
    },
    async close() {},
  };
}

/** Bytes in memory; they are read in place, not copied. */
export function bytesSource(data: ArrayBufferLike | Uint8Array, name = 'buffer'): ByteSource {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  return {
    name,
    size: bytes.length,
    random: true,
    async read(offset, into, signal) {
      checkSignal(signal);
      const part = bytes.subarray(offset, offset + into.length);
      if (part.length < into.length) throw shortRead(name, offset, into.length, part.length);
      into.set(part);
    },
    async close() {},
  };
}

/** All bytes of a source. @throws CheckpointError if there are more than `limit`. */
export async function readAll(
  source: ByteSource,
  limit: number,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  if (source.size !== null) {
    checkLength(source.name, source.size, limit);
    const bytes = new Uint8Array(source.size);
    await source.read(0, bytes, signal);
    return bytes;
  }
  let bytes = new Uint8Array(1 << 16);
  for (let length = 0; ; ) {
    length += (await source.readUpTo?.(length, bytes.subarray(length), signal)) ?? 0;
    if (length < bytes.length) return bytes.slice(0, length);
    checkLength(source.name, 2 * length, limit);
    const larger = new Uint8Array(2 * length);
    larger.set(bytes);
    bytes = larger;
  }
}

function checkLength(name: string, bytes: number, limit: number): void {
  if (bytes <= limit) return;
  throw new CheckpointError({
    what: 'the file is too long',
    where: name,
    expected: `at most ${limit} bytes`,
    got: `${bytes}`,
  });
}

export function shortRead(name: string, offset: number, expected: number, got: number): CheckpointError {
  return new CheckpointError({
    what: 'the file ends early',
    where: `${name}, byte ${offset}`,
    expected: `${expected} bytes`,
    got: `${got} bytes`,
  });
}

export function missingFile(name: string, cause?: unknown): CheckpointError {
  return new CheckpointError({
    what: 'file missing',
    where: name,
    expected: 'a file',
    got: 'nothing',
    cause,
  });
}

export function unreadable(name: string, offset: number, cause: unknown): CheckpointError {
  const got = cause instanceof Error ? cause.message : String(cause);
  return new CheckpointError({ what: 'cannot be read', where: `${name}, byte ${offset}`, got, cause });
}
