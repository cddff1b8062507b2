import { HubError } from '../../errors.js';
import { knownModels } from '../manifest.js';
import type { HubAnswer, HubClient } from './client.js';
import { type Asked, badAnswer } from './faults.js';
import type { Digest } from './hash.js';
import { withRetries } from './retry.js';

/** A file of a repository at one commit. */
export interface RemoteFile {
  readonly repository: string;
  readonly commit: string;
  /** In the repository, with its folders. */
  readonly path: string;
  /** null where the hub did not say. */
  readonly size: number | null;
  /** Undefined for a hub that names its files by no digest. */
  readonly digest: Digest | undefined;
  /** The name of its blob in a cache: the digest's digits, or the etag. */
  readonly blob: string;
}

/** The files of a repository at one commit. */
export interface Listing {
  readonly commit: string;
  /** undefined if there is no such file. @throws HubError; AbortError */
  find(path: string, signal?: AbortSignal): Promise<RemoteFile | undefined>;
  /** All paths, or undefined where the hub lists none. */
  readonly paths: readonly string[] | undefined;
}

export const COMMIT = /^[0-9a-f]{40}$/;

/**
 * What a revision is at this moment, and its files: by the hub's API, or where there is none by the headers of a file.
 * @throws HubError; AbortError
 */
export async function fetchListing(
  client: HubClient,
  repository: string,
  revision: string,
  signal?: AbortSignal,
): Promise<Listing> {
  const policy = client.settings.retry;
  const url = client.url('api', 'models', ...repository.split('/'), 'revision', revision);
  url.searchParams.set('blobs', 'true');
  const asked: Asked = { repository, revision, endpoint: client.endpoint, hasToken: client.hasToken };
  let text: string;
  try {
    ({ text } = await withRetries(policy, signal, () => client.text({ url, repository, revision, signal })));
  } catch (error) {
    // Mirrors may have files and no API; what a hub refuses by name is refused.
    if (!(error instanceof HubError) || error.status !== 404 || /^404 \w/.test(error.got ?? '')) throw error;
    return headerListing(client, repository, revision, signal).catch((second) => {
      throw second instanceof HubError && second.code === 'EntryNotFound' ? error : second;
    });
  }
  return parseListing(text, asked);
}

/** @throws HubError for what is no listing, or has names that no file may have */
export function parseListing(text: string, asked: Asked): Listing {
  let json: { sha?: unknown; siblings?: unknown };
  try {
    json = JSON.parse(text) ?? {};
  } catch {
    throw badAnswer(asked, 'JSON', JSON.stringify(text.slice(0, 60)));
  }
  const { sha: commit, siblings } = json;
  if (typeof commit !== 'string' || !COMMIT.test(commit))
    throw badAnswer(asked, 'a commit of 40 digits', String(commit));
  if (!Array.isArray(siblings)) throw badAnswer(asked, 'a list of files', typeof siblings);
  const files = new Map<string, RemoteFile>();
  for (const sibling of siblings) {
    const file = parseSibling(sibling, asked, commit);
    if (file) files.set(file.path, file);
  }
  checkPins(asked, commit, files);
  return { commit, find: async (path) => files.get(path), paths: [...files.keys()] };
}

function parseSibling(sibling: unknown, asked: Asked, commit: string): RemoteFile | undefined {
  const { rfilename: path, size, blobId, lfs } = (sibling ?? {}) as Record<string, unknown>;
  if (typeof path !== 'string' || !isSafePath(path)) {
    throw badAnswer(asked, 'paths within the repository', JSON.stringify(path));
  }
  const { sha256, size: lfsSize } = (lfs ?? {}) as Record<string, unknown>;
  const bytes = lfsSize ?? size;
  const isHash = (value: unknown, digits: number): value is string =>
    typeof value === 'string' && new RegExp(`^[0-9a-f]{${digits}}$`).test(value);
  const digest: Digest | undefined = isHash(sha256, 64)
    ? { kind: 'sha256', hex: sha256 }
    : isHash(blobId, 40)
      ? { kind: 'git', hex: blobId }
      : undefined;
  // A hub that says less is asked file by file.
  if (!digest || typeof bytes !== 'number' || !Number.isSafeInteger(bytes) || bytes < 0) {
    throw badAnswer(asked, `size and digest of ${path}`, JSON.stringify(sibling));
  }
  return { repository: asked.repository, commit, path, size: bytes, digest, blob: digest.hex };
}

/** Whether a path stays within its folder on every system. */
export function isSafePath(path: string): boolean {
  if (path === '' || /[\\:\0]/.test(path)) return false;
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}

/** Where weights-manifest.json pins this commit, the hub must have the files that it says. */
function checkPins(asked: Asked, commit: string, files: ReadonlyMap<string, RemoteFile>): void {
  const known = knownModels().find(({ repository }) => repository === asked.repository);
  if (known?.revision !== commit) return;
  for (const [path, sha256] of Object.entries(known.sha256 ?? {})) {
    const file = files.get(path);
    const size = known.files[path] ?? null;
    if (file?.digest?.hex === sha256 && (size === null || file.size === size)) continue;
    throw new HubError({
      code: 'PinMismatch',
      what: 'not the file that is pinned',
      where: `${asked.repository}@${commit}, ${path}`,
      expected: `${size ?? 'any number of'} bytes, sha256 ${sha256}; another endpoint may serve it`,
      got: file ? `${file.size} bytes, ${file.digest?.kind} ${file.digest?.hex}` : 'no such file',
    });
  }
}

/** A hub without an API: each file's headers say its commit, size and digest. */
async function headerListing(
  client: HubClient,
  repository: string,
  revision: string,
  signal: AbortSignal | undefined,
): Promise<Listing> {
  const head = (at: string, path: string, signal?: AbortSignal): Promise<HubAnswer> => {
    const url = client.url(...repository.split('/'), 'resolve', at, ...path.split('/'));
    const headers = { 'accept-encoding': 'identity' };
    const request = {
      url,
      method: 'HEAD',
      headers,
      repository,
      revision: at,
      file: path,
      signal,
      stay: true,
    } as const;
    return withRetries(client.settings.retry, signal, async () => {
      const answer = await client.send(request);
      answer.watch.end();
      return answer;
    });
  };
  const { hub } = await head(revision, 'config.json', signal);
  const commit = hub.get('x-repo-commit') ?? '';
  if (!COMMIT.test(commit)) {
    const asked: Asked = { repository, revision, endpoint: client.endpoint, hasToken: client.hasToken };
    throw badAnswer(asked, 'the API of a hub, or a header x-repo-commit', commit || 'neither');
  }
  const find = async (path: string, signal?: AbortSignal): Promise<RemoteFile | undefined> => {
    try {
      return headerFile(await head(commit, path, signal), { repository, commit, path });
    } catch (error) {
      if (error instanceof HubError && error.code === 'EntryNotFound') return undefined;
      throw error;
    }
  };
  return { commit, find, paths: undefined };
}

function headerFile(
  { hub }: HubAnswer,
  file: Pick<RemoteFile, 'repository' | 'commit' | 'path'>,
): RemoteFile {
  const etag = (hub.get('x-linked-etag') ?? hub.get('etag') ?? '').replace(/^W\//, '').replace(/^"|"$/g, '');
  const length = hub.get('x-linked-size') ?? (hub.has('content-encoding') ? null : hub.get('content-length'));
  const size = length !== null && /^\d+$/.test(length) ? Number(length) : null;
  const digest: Digest | undefined = /^[0-9a-f]{64}$/.test(etag)
    ? { kind: 'sha256', hex: etag }
    : /^[0-9a-f]{40}$/.test(etag) && size !== null
      ? { kind: 'git', hex: etag }
      : undefined;
  const isName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/.test(etag);
  return {
    ...file,
    size,
    digest,
    blob: isName ? etag : `${file.commit}-${encodeURIComponent(file.path).replaceAll('%', '_')}`,
  };
}
