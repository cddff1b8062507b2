import { HubError, InputError } from '../../errors.js';
import { isRepositoryName, keptRepository } from './open.js';
import type { HubOptions } from './options.js';
import type { HubStorage } from './storage.js';

export interface SnapshotOptions extends HubOptions {
  /**
   * Files to fetch: `*` and `?` stand for any characters but a slash, `**` for any. Default: what `from_pretrained` reads:
   * configs, tokenizer, templates, and the weights in safetensors at the checkpoint's top level.
   */
  include?: string | readonly string[];
  /** Whether to say what would be fetched, and fetch nothing. */
  dry_run?: boolean;
}

export interface Snapshot {
  /** "org/name". */
  readonly name: string;
  /** The commit that the revision is. */
  readonly commit: string;
  /** The folder of the cache that holds the files: a path, or in a browser the name of a place in its storage. */
  readonly folder: string;
  /** Sorted by path; sizes in bytes (null: the hub does not say). `cached`: it was there before. */
  readonly files: readonly {
    readonly path: string;
    readonly size: number | null;
    readonly cached: boolean;
  }[];
}

/** What a checkpoint is made of, and what explains it. */
const SMALL_FILES = /^([^/]+\.(json|jinja|txt|model)|README\.md|LICENSE(\.\w+)?)$/;
const WEIGHTS = /^(adapter_)?model(-\d+-of-\d+)?\.safetensors$/;

/**
 * Fetches a repository's checkpoint into the cache, from which `from_pretrained` reads it, online or not. All files are of one
 * commit; the branch means this commit to those who are offline once all are there.
 * @param name a repository, "org/name"
 * @throws HubError; InputError for a name or an option; AbortError. What was fetched stays for the next try
 */
export async function snapshot_download(
  name: string,
  { include, dry_run = false, ...options }: SnapshotOptions = {},
  storage?: HubStorage,
): Promise<Snapshot> {
  if (!isRepositoryName(name)) {
    throw new InputError({
      what: 'no name of a repository',
      where: name,
      expected: 'org/name',
      got: JSON.stringify(name),
    });
  }
  const repository = await keptRepository(name, options, storage);
  const { signal } = options;
  const paths = await repository.paths(signal);
  const wanted = selectFiles(paths, include);
  if (wanted.length === 0) throw nothingSelected(name, repository.commit, paths, include);
  const files: { path: string; size: number | null; cached: boolean }[] = [];
  for (const path of wanted) {
    const [size, remote] = [await repository.cachedSize(path), await repository.remote(path, signal)];
    const cached =
      size !== undefined && (remote === undefined || remote.size === null || remote.size === size);
    files.push({ path, size: remote ? remote.size : (size ?? null), cached });
  }
  if (!dry_run) {
    await repository.prepare(wanted, signal);
    await repository.settle();
  }
  return { name, commit: repository.commit, folder: repository.folder, files };
}

/** Sorted; of weights that are there whole and in shards, the whole ones, which are read first. */
function selectFiles(paths: readonly string[], include: SnapshotOptions['include']): string[] {
  const sorted = [...paths].sort();
  if (include !== undefined) {
    const patterns = [include].flat().map(globPattern);
    return sorted.filter((path) => patterns.some((pattern) => pattern.test(path)));
  }
  const isWhole = paths.includes('model.safetensors');
  return sorted.filter((path) => {
    if (isWhole && (/^model-\d+-of-/.test(path) || path === 'model.safetensors.index.json')) return false;
    return SMALL_FILES.test(path) || WEIGHTS.test(path);
  });
}

function globPattern(glob: string): RegExp {
  const parts = glob.split(/(\*\*\/?|\*|\?)/).map((part) => {
    if (part.startsWith('**')) return '.*';
    if (part === '*') return '[^/]*';
    return part === '?' ? '[^/]' : part.replace(/[\\^$.|+()[\]{}]/g, '\\$&');
  });
  return new RegExp(`^${parts.join('')}$`);
}

function nothingSelected(
  name: string,
  commit: string,
  paths: readonly string[],
  include: SnapshotOptions['include'],
): HubError {
  const some = paths.slice(0, 5).join(', ');
  return new HubError({
    code: 'EntryNotFound',
    what: 'no file to fetch',
    where: `${name}@${commit}`,
    expected:
      include === undefined ? 'a checkpoint’s files' : `files that ${[include].flat().join(', ')} matches`,
    got:
      paths.length > 0
        ? `${paths.length} others: ${some}${paths.length > 5 ? ' …' : ''}`
        : 'an empty repository',
  });
}
