import { checkSignal, HubError } from '../../errors.js';
import { type ByteSource, shortRead } from '../source.js';
import type { FolderFiles } from '../storage.js';
import { wrongBytes } from './blob.js';
import { HubClient } from './client.js';
import { createHasher, type Hasher } from './hash.js';
import { fetchListing, type Listing, type RemoteFile } from './listing.js';
import type { HubOptions } from './options.js';
import type { HubSettings } from './settings.js';
import { type Chunk, fetchFile } from './transfer.js';

/**
 * A repository where no file can be kept (edge functions): each is read as it arrives and verified at its end, before the
 * last of its bytes are handed out.
 * @throws HubError; AbortError
 */
export async function streamedRepository(
  name: string,
  settings: HubSettings,
  options: HubOptions,
): Promise<FolderFiles> {
  if (settings.offline) throw offline(name, settings.revision);
  const client = new HubClient(settings);
  const listing: Listing = await fetchListing(client, name, settings.revision, options.signal);
  const find = (file: string, signal = options.signal) => listing.find(settings.prefix + file, signal);
  return {
    name,
    describe: (file) => `${name}@${listing.commit}, ${settings.prefix}${file}`,
    has: async (file, signal) => (await find(file, signal)) !== undefined,
    async open(file, signal) {
      const remote = await find(file, signal);
      return remote && new StreamedFile(client, remote, options).source();
    },
  };
}

function offline(name: string, revision: string): HubError {
  return new HubError({
    code: 'NotCached',
    what: 'offline, and nothing can be cached here',
    where: `${name}@${revision}`,
    expected: 'local_files_only left out, or the checkpoint’s files by name',
    got: 'a host without a file system, OPFS or Cache API',
  });
}

/** Reads front to back; a read further back begins again, for which the start of the file is fetched twice. */
class StreamedFile {
  readonly #client: HubClient;
  readonly #file: RemoteFile;
  readonly #options: HubOptions;
  #chunks: AsyncGenerator<Chunk, void> | undefined;
  #hasher: Hasher | undefined;
  #chunk = new Uint8Array(0);
  /** Offset of the chunk at hand, and the end of what was hashed. */
  #position = 0;
  #hashed = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(client: HubClient, file: RemoteFile, options: HubOptions) {
    this.#client = client;
    this.#file = file;
    this.#options = options;
  }

  source(): ByteSource {
    const { repository, commit, path, size } = this.#file;
    const name = `${repository}@${commit}, ${path}`;
    const after = <T>(run: () => Promise<T>): Promise<T> => {
      const result = this.#last.then(run);
      this.#last = result.catch(() => {});
      return result;
    };
    return {
      name,
      size,
      read: (offset, into, signal) =>
        after(async () => {
          const got = await this.#read(offset, into, signal);
          if (got < into.length) throw shortRead(name, offset, into.length, got);
        }),
      readUpTo: (offset, into, signal) => after(() => this.#read(offset, into, signal)),
      close: () => after(() => this.#end()),
    };
  }

  async #read(offset: number, into: Uint8Array, signal = this.#options.signal): Promise<number> {
    checkSignal(signal);
    if (!this.#chunks || offset < this.#position) await this.#begin(signal);
    let done = 0;
    while (done < into.length) {
      if (this.#chunk.length === 0 && !(await this.#next())) break;
      const skip = Math.min(this.#chunk.length, Math.max(0, offset - this.#position));
      this.#advance(skip);
      const part = this.#chunk.subarray(0, into.length - done);
      into.set(part, done);
      done += part.length;
      this.#advance(part.length);
    }
    return done;
  }

  #advance(bytes: number): void {
    this.#chunk = this.#chunk.subarray(bytes);
    this.#position += bytes;
  }

  async #begin(signal: AbortSignal | undefined): Promise<void> {
    await this.#end();
    const { digest, size } = this.#file;
    this.#hasher = digest && (await createHasher(digest.kind, size ?? 0));
    this.#chunks = fetchFile(this.#client, this.#file, { offset: 0, validator: undefined }, signal);
  }

  /** The next bytes behind those that were seen: a transfer that starts anew repeats some. */
  async #next(): Promise<boolean> {
    for (;;) {
      const { done, value } = await this.#chunks!.next();
      if (done) {
        this.#verify();
        return false;
      }
      const { offset, bytes } = value;
      const fresh = bytes.subarray(Math.max(0, this.#hashed - offset));
      if (fresh.length === 0) continue;
      this.#hasher?.update(fresh);
      this.#hashed += fresh.length;
      this.#chunk = fresh as Uint8Array<ArrayBuffer>;
      // The last bytes are handed out only of a file that is the right one.
      if (this.#hashed === this.#file.size) this.#verify();
      return true;
    }
  }

  #verify(): void {
    const got = this.#hasher?.digest();
    this.#hasher = undefined;
    if (got !== undefined && got !== this.#file.digest?.hex) throw wrongBytes(this.#file, got);
  }

  async #end(): Promise<void> {
    const chunks = this.#chunks;
    this.#chunks = undefined;
    this.#chunk = new Uint8Array(0);
    this.#position = 0;
    this.#hashed = 0;
    await chunks?.return();
  }
}
