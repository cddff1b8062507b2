import { abortError, CheckpointError, checkSignal } from '../errors.js';
import { type ByteSource, missingFile, shortRead, unreadable } from './source.js';

/**
 * The body of a fetch Response. Bytes can be read forwards only, each once; bytes skipped are thrown away.
 * @throws CheckpointError for a response that is not ok or has no body.
 */
export function responseSource(response: Response, name = response.url || 'response'): ByteSource {
  const stream = new ForwardStream(response, name, 0);
  return {
    name,
    size: stream.size,
    read: (offset, into, signal) => stream.read(offset, into, signal),
    readUpTo: (offset, into, signal) => stream.readUpTo(offset, into, signal),
    close: () => stream.close(),
  };
}

/**
 * A file behind a URL, read as one stream while the offsets rise; a read further back, or after `close()`, opens a new
 * request for the bytes from there on. A server that does not know ranges is read from the start again.
 * @throws CheckpointError if the server refuses (404: file missing).
 */
export async function urlSource(url: string, name: string, signal?: AbortSignal): Promise<ByteSource> {
  let stream: ForwardStream | undefined = await open(url, name, 0, signal);
  const streamAt = async (offset: number, signal?: AbortSignal) => {
    if (stream !== undefined && offset >= stream.position) return stream;
    await stream?.close();
    stream = undefined;
    stream = await open(url, name, offset, signal);
    return stream;
  };
  return {
    name,
    size: stream.size,
    async read(offset, into, signal) {
      await (await streamAt(offset, signal)).read(offset, into, signal);
    },
    async readUpTo(offset, into, signal) {
      return (await streamAt(offset, signal)).readUpTo(offset, into, signal);
    },
    async close() {
      await stream?.close();
      stream = undefined;
    },
  };
}

async function open(url: string, name: string, from: number, signal?: AbortSignal): Promise<ForwardStream> {
  checkSignal(signal);
  const headers = from > 0 ? { Range: `bytes=${from}-` } : undefined;
  let response: Response;
  try {
    response = await fetch(url, { headers, signal });
  } catch (error) {
    checkSignal(signal);
    throw unreadable(name, from, error);
  }
  return new ForwardStream(response, name, response.status === 206 ? from : 0);
}

class ForwardStream {
  readonly size: number | null;
  /** Offset in the file of the next byte that can be read. */
  position: number;
  #name: string;
  #reader: ReadableStreamDefaultReader<Uint8Array>;
  #chunk = new Uint8Array(0);
  #done = false;
  #last: Promise<unknown> = Promise.resolve();

  constructor(response: Response, name: string, start: number) {
    checkResponse(response, name);
    this.#name = name;
    this.position = start;
    this.size = start === 0 ? contentLength(response) : null;
    this.#reader = (response.body as ReadableStream<Uint8Array>).getReader();
  }

  async read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void> {
    const got = await this.readUpTo(offset, into, signal);
    if (got < into.length) throw shortRead(this.#name, offset, into.length, got);
  }

  /** Reads wait for each other, so that two at once cannot share out the bytes between them. */
  readUpTo(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<number> {
    const result = this.#last.then(() => this.#read(offset, into, signal));
    this.#last = result.catch(() => {});
    return result;
  }

  async close(): Promise<void> {
    this.#done = true;
    this.#chunk = new Uint8Array(0);
    await this.#reader.cancel().catch(() => {});
  }

  async #read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<number> {
    checkSignal(signal);
    if (offset < this.position) {
      throw new CheckpointError({
        what: 'a stream cannot be read backwards',
        where: this.#name,
        expected: `an offset of ${this.position} or more`,
        got: `${offset}`,
      });
    }
    while (this.position < offset) {
      if (!(await this.#fill(signal))) return 0;
      this.#take(offset - this.position);
    }
    let done = 0;
    while (done < into.length && (await this.#fill(signal))) {
      const part = this.#take(into.length - done);
      into.set(part, done);
      done += part.length;
    }
    return done;
  }

  /** Up to `length` bytes of the chunk at hand. */
  #take(length: number): Uint8Array {
    const part = this.#chunk.subarray(0, length);
    this.#chunk = this.#chunk.subarray(part.length);
    this.position += part.length;
    return part;
  }

  /** Sees to it that the chunk at hand has bytes; false at the end of the stream. */
  async #fill(signal?: AbortSignal): Promise<boolean> {
    while (this.#chunk.length === 0) {
      if (this.#done) return false;
      const { done, value } = await this.#next(signal);
      if (done) this.#done = true;
      else this.#chunk = value as Uint8Array<ArrayBuffer>;
    }
    return true;
  }

  /** The next chunk, or the abort, whichever is first: a connection may stall for ever. */
  #next(signal?: AbortSignal): Promise<ReadableStreamReadResult<Uint8Array>> {
    checkSignal(signal);
    return new Promise((resolve, reject) => {
      const stop = () => {
        void this.close();
        reject(abortError(signal!));
      };
      signal?.addEventListener('abort', stop, { once: true });
      this.#reader
        .read()
        .then(resolve, (error) => reject(unreadable(this.#name, this.position, error)))
        .finally(() => signal?.removeEventListener('abort', stop));
    });
  }
}

function checkResponse(response: Response, name: string): void {
  if (response.ok && response.body) return;
  void response.body?.cancel().catch(() => {});
  if (response.status === 404) throw missingFile(name);
  throw new CheckpointError({
    what: 'cannot be fetched',
    where: name,
    expected: 'status 200 with a body',
    got: `status ${response.status}${response.ok ? ' without a body' : ''}`,
  });
}

/** The body's size in bytes, unless the transfer is compressed: the header then counts other bytes. */
function contentLength(response: Response): number | null {
  if (response.headers.get('Content-Encoding')) return null;
  const text = response.headers.get('Content-Length');
  return text !== null && /^\d+$/.test(text) ? Number(text) : null;
}
