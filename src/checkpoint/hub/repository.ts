import { HubError, type HubErrorCode } from '../../errors.js';
import type { ByteSource } from '../source.js';
import type { FolderFiles } from '../storage.js';
import { type BlobOptions, ensureFile } from './blob.js';
import { HubClient } from './client.js';
import { COMMIT, fetchListing, type Listing, type RemoteFile } from './listing.js';
import type { HubOptions } from './options.js';
import { inParallel } from './parallel.js';
import type { HubSettings } from './settings.js';
import { type HubStorage, RepositoryPaths } from './storage.js';

/** Where something is cached, the hub has so long and one try to say what is newer. */
const IMPATIENT = { attempts: 1, idleMs: 10_000 };
/** Answers after which the cache serves, as in Python. A revision or a file that is gone is said to be gone. */
const CACHE_SERVES: readonly HubErrorCode[] = [
  'Network',
  'Timeout',
  'ServerError',
  'RateLimited',
  'BadResponse',
  'RepoNotFound',
  'GatedRepo',
  'Unauthorized',
  'Forbidden',
];

/**
 * A repository at one commit, as a checkpoint's files: what is cached is used in place, what is not is fetched, verified and
 * kept when it is opened. The commit is settled at the opening; files of two commits never mix.
 */
export class HubRepository implements FolderFiles {
  /** "org/name". */
  readonly name: string;
  readonly commit: string;
  readonly #settings: HubSettings;
  readonly #storage: HubStorage;
  readonly #options: HubOptions;
  readonly #client: HubClient;
  readonly #paths: RepositoryPaths;
  /** Undefined until it is asked for, which a commit that is cached may never be. */
  #listing: Promise<Listing> | undefined;
  #offline: boolean;
  /** What was opened, with its folders; each is fetched once however often it is asked for. */
  readonly #opened = new Set<string>();
  #failed = false;

  /**
   * @throws HubError if there is no such repository or revision, or it is offline and not cached; InputError for an option;
   * AbortError
   */
  static async open(
    name: string,
    settings: HubSettings,
    storage: HubStorage,
    options: HubOptions = {},
  ): Promise<HubRepository> {
    const { revision } = settings;
    const cached = await cachedCommit(name, revision, storage);
    const make = (commit: string, listing?: Listing) =>
      new HubRepository(name, commit, settings, storage, options, listing);
    if (settings.offline) {
      if (cached === undefined) throw notCached(name, settings, storage);
      return make(cached);
    }
    if (COMMIT.test(revision)) return make(revision);
    const retry = cached === undefined ? settings.retry : { ...settings.retry, ...impatient(settings) };
    try {
      const client = new HubClient({ ...settings, retry });
      const listing = await fetchListing(client, name, revision, options.signal);
      return make(listing.commit, listing);
    } catch (error) {
      if (cached === undefined || settings.force || !cacheServes(error)) throw error;
      const repository = make(cached);
      repository.#offline = true;
      return repository;
    }
  }

  private constructor(
    name: string,
    commit: string,
    settings: HubSettings,
    storage: HubStorage,
    options: HubOptions,
    listing: Listing | undefined,
  ) {
    this.name = name;
    this.commit = commit;
    this.#settings = settings;
    this.#storage = storage;
    this.#options = options;
    this.#offline = settings.offline;
    this.#client = new HubClient(settings);
    this.#paths = new RepositoryPaths(name);
    this.#listing = listing && Promise.resolve(listing);
  }

  /** Whether only the cache is used, because it was asked for or the hub cannot be reached. */
  get offline(): boolean {
    return this.#offline;
  }

  describe(file: string): string {
    return this.#storage.describe(this.#place(file));
  }

  async has(file: string, signal = this.#options.signal): Promise<boolean> {
    const cached = await this.#isCached(file);
    if (cached && (this.#offline || this.#isPinned)) return true;
    return (await this.#remote(file, signal)) !== undefined || (cached && this.#offline);
  }

  async open(file: string, signal = this.#options.signal): Promise<ByteSource | undefined> {
    const needsNoHub = this.#isPinned && !this.#mustFetch(file) && (await this.#isCached(file));
    const remote = needsNoHub ? undefined : await this.#remote(file, signal);
    if (remote) await this.#ensure(remote, signal);
    else if (!needsNoHub && !this.#offline) return undefined;
    const source = await this.#storage.open(this.#place(file));
    if (source) this.#opened.add(this.#path(file));
    return source;
  }

  /** Fetches several files, small ones first, a few at a time. @throws as `open`; files that are not there are left out */
  async prepare(files: readonly string[], signal = this.#options.signal): Promise<void> {
    const wanted: RemoteFile[] = [];
    for (const file of files) {
      if (this.#isPinned && !this.#mustFetch(file) && (await this.#isCached(file))) continue;
      const remote = await this.#remote(file, signal);
      if (remote) wanted.push(remote);
    }
    wanted.sort((a, b) => (a.size ?? 0) - (b.size ?? 0));
    await inParallel(wanted, (remote, signal) => this.#ensure(remote, signal), signal);
  }

  /** Paths of all files of the commit, or those that are cached where only they can be had. */
  async paths(signal = this.#options.signal): Promise<readonly string[]> {
    const listing = await this.#known(signal);
    const all = listing ? listing.paths : await this.#storage.list(this.#paths.snapshot(this.commit));
    if (!all) throw notListed(this.name, this.commit, this.#settings);
    const { prefix } = this.#settings;
    return all.filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length));
  }

  /** What the hub says of a file; undefined if there is none, or nobody to ask. */
  remote(file: string, signal = this.#options.signal): Promise<RemoteFile | undefined> {
    return this.#remote(file, signal);
  }

  /** Bytes of a file that is cached. */
  cachedSize(file: string): Promise<number | undefined> {
    return this.#storage.size(this.#place(file));
  }

  /** The snapshot's place. */
  get folder(): string {
    return this.#storage
      .describe(`${this.#paths.snapshot(this.commit)}/${this.#settings.prefix}`)
      .replace(/\/$/, '');
  }

  /**
   * Makes the branch or tag mean this commit for those who are offline, once the snapshot serves them as well as the one
   * before did.
   */
  async close(): Promise<void> {
    if (this.#offline || this.#failed || this.#opened.size === 0 || this.#isPinned) return;
    const before = await cachedCommit(this.name, this.#settings.revision, this.#storage);
    if (before === this.commit) return;
    for (const path of before === undefined ? [] : await this.#storage.list(this.#paths.snapshot(before))) {
      const isHere = (await this.#storage.size(this.#paths.file(this.commit, path))) !== undefined;
      if (!isHere && (await (await this.#list()).find(path))) return;
    }
    await this.settle();
  }

  /** Makes the branch or tag mean this commit for those who are offline. */
  async settle(): Promise<void> {
    if (this.#offline || this.#isPinned) return;
    // A cache that cannot be written serves those who read.
    await this.#storage.writeText(this.#paths.ref(this.#settings.revision), this.commit).catch(() => {});
  }

  get #isPinned(): boolean {
    return COMMIT.test(this.#settings.revision);
  }

  #path(file: string): string {
    return this.#settings.prefix + file;
  }

  #place(file: string): string {
    return this.#paths.file(this.commit, this.#path(file));
  }

  async #isCached(file: string): Promise<boolean> {
    return (await this.#storage.size(this.#place(file))) !== undefined;
  }

  #mustFetch(file: string): boolean {
    return this.#settings.force && !this.#opened.has(this.#path(file));
  }

  #list(signal?: AbortSignal): Promise<Listing> {
    this.#listing ??= fetchListing(this.#client, this.name, this.commit, signal).catch((error) => {
      this.#listing = undefined;
      throw error;
    });
    return this.#listing;
  }

  async #remote(file: string, signal: AbortSignal | undefined): Promise<RemoteFile | undefined> {
    if (this.#offline) return undefined;
    const path = this.#path(file);
    const missing = this.#paths.missing(this.commit, path);
    const isNoted = (await this.#storage.readText(missing)) !== undefined;
    if (isNoted && this.#isPinned) return undefined;
    const remote = await this.#known(signal, (listing) => listing.find(path, signal));
    if (!remote && !isNoted && !this.#offline) await this.#storage.writeText(missing, '').catch(() => {});
    return remote;
  }

  /** What the hub lists; undefined where only the cache can be had. @throws HubError; AbortError */
  #known(signal: AbortSignal | undefined): Promise<Listing | undefined>;
  #known<T>(signal: AbortSignal | undefined, find: (listing: Listing) => Promise<T>): Promise<T | undefined>;
  async #known(
    signal: AbortSignal | undefined,
    find = async (listing: Listing): Promise<unknown> => listing,
  ): Promise<unknown> {
    if (this.#offline) return undefined;
    try {
      return await find(await this.#list(signal));
    } catch (error) {
      // A commit that is cached in part, and a hub that says nothing: the rest counts as absent.
      const isCached = (await this.#storage.list(this.#paths.snapshot(this.commit))).length > 0;
      if (!isCached || this.#settings.force || !cacheServes(error)) {
        this.#failed = true;
        throw error;
      }
      this.#offline = true;
      return undefined;
    }
  }

  async #ensure(remote: RemoteFile, signal: AbortSignal | undefined): Promise<void> {
    const force = this.#settings.force && !this.#opened.has(remote.path);
    const { progress_callback: onProgress } = this.#options;
    const options: BlobOptions = { client: this.#client, storage: this.#storage, force, signal, onProgress };
    try {
      await ensureFile(remote, options);
      this.#opened.add(remote.path);
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }
}

function impatient({ retry }: HubSettings) {
  return { attempts: IMPATIENT.attempts, idleMs: Math.min(IMPATIENT.idleMs, retry.idleMs) };
}

function cacheServes(error: unknown): boolean {
  return error instanceof HubError && CACHE_SERVES.includes(error.code);
}

/** The commit that a revision was when the cache was last told, if it has anything of it. */
async function cachedCommit(
  name: string,
  revision: string,
  storage: HubStorage,
): Promise<string | undefined> {
  const paths = new RepositoryPaths(name);
  const commit = COMMIT.test(revision) ? revision : (await storage.readText(paths.ref(revision)))?.trim();
  if (commit === undefined || !COMMIT.test(commit)) return undefined;
  return (await storage.list(paths.snapshot(commit))).length > 0 ? commit : undefined;
}

function notCached(name: string, { revision }: HubSettings, storage: HubStorage): HubError {
  const paths = new RepositoryPaths(name);
  return new HubError({
    code: 'NotCached',
    what: 'offline, and not in the cache',
    where: `${name}@${revision}`,
    expected: `a snapshot of it; \`smolvlm download ${name}\` makes one, online: without HF_HUB_OFFLINE and local_files_only`,
    got: `nothing at ${storage.describe(paths.ref(revision))}`,
  });
}

/** A hub without an API has files, and nobody who says which. */
function notListed(name: string, commit: string, { endpoint }: HubSettings): HubError {
  return new HubError({
    code: 'BadResponse',
    what: 'the hub lists no files',
    where: `${name}@${commit}, at ${endpoint.origin}`,
    expected: 'the API of a hub; from_pretrained fetches files by name without it',
    got: 'none',
  });
}
