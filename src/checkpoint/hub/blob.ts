import { HubError } from '../../errors.js';
import { type ProgressCallback, percent } from '../progress.js';
import type { HubClient } from './client.js';
import { noSpace, storageFault } from './faults.js';
import { createHasher } from './hash.js';
import type { RemoteFile } from './listing.js';
import { type HubStorage, type Lock, type PartialFile, RepositoryPaths } from './storage.js';
import { fetchFile } from './transfer.js';

export interface BlobOptions {
  readonly client: HubClient;
  readonly storage: HubStorage;
  /** Whether it is fetched though it is there. */
  readonly force: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: ProgressCallback;
}

/** Progress is told at most so often. */
const TELL_MS = 50;

/**
 * Sees to it that a file is in the cache, whole and verified, and that its snapshot has it. One of several processes fetches
 * it, the others wait for that one.
 * @throws HubError; AbortError. What was fetched stays for a resume, unless it is wrong
 */
export async function ensureFile(file: RemoteFile, options: BlobOptions): Promise<void> {
  const { storage, force, signal } = options;
  const paths = new RepositoryPaths(file.repository);
  const place = paths.file(file.commit, file.path);
  const blob = paths.blob(file.blob);
  try {
    if (!force && (await isWhole(storage, place, file))) return;
    if (!force && (await isWhole(storage, blob, file))) return await storage.link(blob, place, false);
    const teller = new Teller(file, options.onProgress);
    teller.tell('initiate', 0);
    const onWait = async () => teller.progress(await storage.partialSize(blob));
    const lock = await storage.lock(blob, { signal, onWait });
    try {
      const fetchedMeanwhile = !force && (await isWhole(storage, blob, file));
      // Where there are no links, the other process moved it into the snapshot.
      const movedMeanwhile = !force && !fetchedMeanwhile && (await isWhole(storage, place, file));
      if (!fetchedMeanwhile && !movedMeanwhile) await download(file, blob, lock, options, teller);
      if (!movedMeanwhile) await storage.link(blob, place, true);
      teller.tell('done', file.size ?? (await storage.size(place)) ?? 0);
    } finally {
      await lock.release();
    }
  } catch (error) {
    throw storageFault(error, storage.describe(place));
  }
}

/** A file of another length is none: somebody's copy broke off. */
async function isWhole(storage: HubStorage, path: string, { size }: RemoteFile): Promise<boolean> {
  const found = await storage.size(path);
  return found !== undefined && (size === null || found === size);
}

async function download(
  file: RemoteFile,
  blob: string,
  lock: Lock,
  options: BlobOptions,
  teller: Teller,
): Promise<void> {
  const { storage } = options;
  let wrong: HubError | undefined;
  // A file that turns out wrong is fetched once more, from its start.
  for (let attempt = 0; attempt < 2; attempt++) {
    const partial = await storage.partial(blob);
    let gone = false;
    try {
      await checkSpace(file, partial, storage, blob);
      wrong = await fill(partial, file, options, teller);
      if (wrong) {
        gone = true;
        await partial.remove();
      } else if (await lock.held()) {
        gone = true;
        await partial.publish();
        return;
      } else {
        // We were taken for dead: whoever has the lock now publishes the file.
        throw lockLost(storage.describe(blob));
      }
    } finally {
      if (!gone) await partial.close();
    }
  }
  throw wrong;
}

/** Fetches what is missing. Returns the error where the whole is not the file. */
async function fill(
  partial: PartialFile,
  file: RemoteFile,
  { client, force, signal }: BlobOptions,
  teller: Teller,
): Promise<HubError | undefined> {
  const { size, digest } = file;
  const isUsable = !force && partial.validator !== undefined && partial.length <= (size ?? 0);
  if (!isUsable && partial.length > 0) await partial.restart(undefined);
  const newHasher = () => digest && createHasher(digest.kind, size ?? 0);
  let hasher = await newHasher();
  for await (const bytes of partial.read()) hasher?.update(bytes);
  teller.tell('download', partial.length);
  if (size === null || partial.length < size || size === 0) {
    const from = { offset: partial.length, validator: partial.validator };
    for await (const { offset, validator, bytes } of fetchFile(client, file, from, signal)) {
      if (offset !== partial.length || validator !== partial.validator) {
        if (offset !== 0) throw new Error(`a transfer went on at ${offset} instead of ${partial.length}`);
        await partial.restart(validator);
        hasher = await newHasher();
      }
      await partial.write(bytes);
      hasher?.update(bytes);
      teller.progress(partial.length);
    }
  }
  const got = hasher?.digest();
  if (got === digest?.hex) return undefined;
  return wrongBytes(file, got);
}

/** The whole is not what its digest says. */
export function wrongBytes(
  { repository, commit, path, digest }: RemoteFile,
  got: string | undefined,
): HubError {
  return new HubError({
    code: 'ChecksumMismatch',
    what: 'the bytes are not the file’s',
    where: `${repository}@${commit}, ${path}`,
    expected: `${digest?.kind} ${digest?.hex}; a later try, or another endpoint (HF_ENDPOINT)`,
    got: `${got}; nothing of it was kept`,
  });
}

async function checkSpace(
  { size }: RemoteFile,
  partial: PartialFile,
  storage: HubStorage,
  blob: string,
): Promise<void> {
  if (size === null) return;
  const free = await storage.freeBytes();
  const needed = size - partial.length;
  if (free === undefined || free >= needed) return;
  throw noSpace(
    storage.describe(blob),
    `${needed} bytes; cache_dir or HF_HUB_CACHE name another place`,
    `${free} bytes`,
  );
}

function lockLost(where: string): HubError {
  const expected = 'one process at a time; a later try finds the file or goes on with it';
  return new HubError({
    code: 'Storage',
    what: 'another process took the download over',
    where,
    expected,
    got: 'its lock',
  });
}

/** Tells of one file. */
class Teller {
  readonly #file: RemoteFile;
  readonly #callback: ProgressCallback | undefined;
  #last = 0;

  constructor(file: RemoteFile, callback: ProgressCallback | undefined) {
    this.#file = file;
    this.#callback = callback;
  }

  tell(status: 'initiate' | 'download' | 'progress' | 'done', loaded: number): void {
    const { repository: name, path: file, size } = this.#file;
    const total = size ?? 0;
    const progress = status === 'done' ? 100 : percent(loaded, total);
    this.#callback?.({ status, name, file, progress, loaded, total });
  }

  progress(loaded: number): void {
    const now = performance.now();
    if (loaded !== this.#file.size && now - this.#last < TELL_MS) return;
    this.#last = now;
    this.tell('progress', loaded);
  }
}
