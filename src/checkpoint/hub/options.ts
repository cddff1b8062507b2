import type { ProgressCallback } from '../progress.js';

/** Options of everything that takes a repository's name: where it is fetched from, what is kept, who is told. */
export interface HubOptions {
  /** A branch, a tag or a commit. Default: `main`. A full commit (40 hexadecimal digits) needs no look-up once it is cached. */
  revision?: string;
  /**
   * The cache's folder (Node, Deno, Bun). Default: HF_HUB_CACHE, else `hub` in HF_HOME, else
   * `~/.cache/huggingface/hub`, all as in Python, with which it is shared.
   */
  cache_dir?: string;
  /** Whether to use only what is cached, with no word to the network. Default: HF_HUB_OFFLINE. */
  local_files_only?: boolean;
  /** Whether to fetch files anew that are cached. Default: false. */
  force_download?: boolean;
  /**
   * An access token for private and gated repositories; it is sent to the endpoint's own origin only, never along a redirect
   * to another. Default: HF_TOKEN, else the file that `hf auth login` wrote. `false`: none.
   */
  token?: string | boolean | null;
  /** Base URL of the hub or a mirror of it. Default: HF_ENDPOINT, else https://huggingface.co. */
  endpoint?: string;
  /** A folder of the repository that is the checkpoint. Default: its root. */
  subfolder?: string;
  /** Milliseconds without a byte after which a connection counts as dead. Default: 30000. */
  timeout?: number;
  /** Failures in a row, with no byte gained between them, after which a file is given up. Default: 6. */
  max_attempts?: number;
  /** Cancels: the partial file stays for a later resume, locks and connections are given back. */
  signal?: AbortSignal;
  /** Called as files arrive. */
  progress_callback?: ProgressCallback;
}

const NAMES = [
  'revision',
  'cache_dir',
  'local_files_only',
  'force_download',
  'token',
  'endpoint',
  'subfolder',
  'timeout',
  'max_attempts',
  'signal',
  'progress_callback',
] as const satisfies readonly (keyof HubOptions)[];

/** The hub's part of a call's options, and the rest. */
export function splitHubOptions<T extends HubOptions>(options: T): [HubOptions, Omit<T, keyof HubOptions>] {
  const hub: Record<string, unknown> = {};
  const rest = { ...options } as Record<string, unknown>;
  for (const name of NAMES) {
    if (name in rest) hub[name] = rest[name];
    delete rest[name];
  }
  return [hub as HubOptions, rest as Omit<T, keyof HubOptions>];
}

/** Options for the repository of an adapter, which has revisions and folders of its own. */
export function forAdapter({ revision: _, subfolder: __, ...options }: HubOptions): HubOptions {
  return options;
}
