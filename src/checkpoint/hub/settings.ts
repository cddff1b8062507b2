import { InputError } from '../../errors.js';
import { hasFiles, nodeFileSystem, nodeOs } from '../node.js';
import type { HubOptions } from './options.js';
import { RETRIES, type RetryPolicy } from './retry.js';

/** What options and environment come to. */
export interface HubSettings {
  readonly endpoint: URL;
  readonly token: string | undefined;
  /** Undefined where there are no files on disk. */
  readonly cacheDir: string | undefined;
  readonly revision: string;
  readonly offline: boolean;
  readonly force: boolean;
  /** '' or a path that ends in a slash. */
  readonly prefix: string;
  readonly retry: RetryPolicy;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** @throws InputError naming the option whose value means nothing */
export async function hubSettings(
  options: HubOptions,
  environment: Environment = processEnvironment(),
): Promise<HubSettings> {
  const revision = text('revision', options.revision) ?? 'main';
  const subfolder = (text('subfolder', options.subfolder) ?? '').replace(/^\/+|\/+$/g, '');
  if (subfolder.split('/').some((part) => part === '..'))
    throw refused('subfolder', 'a folder of the repository', subfolder);
  const timeout = positive('timeout', options.timeout) ?? RETRIES.idleMs;
  const attempts = positive('max_attempts', options.max_attempts) ?? RETRIES.attempts;
  const home = hasFiles() ? await cacheHome(environment) : undefined;
  const offline =
    options.local_files_only ?? isTrue(environment.HF_HUB_OFFLINE || environment.TRANSFORMERS_OFFLINE);
  return {
    endpoint: readEndpoint(text('endpoint', options.endpoint) ?? (environment.HF_ENDPOINT || undefined)),
    token: await readToken(options.token, environment, home),
    cacheDir: home && (await readCacheDir(text('cache_dir', options.cache_dir), environment, home)),
    revision,
    offline,
    force: options.force_download === true,
    prefix: subfolder && `${subfolder}/`,
    retry: { ...RETRIES, idleMs: timeout, attempts },
  };
}

function readEndpoint(endpoint = 'https://huggingface.co'): URL {
  let url: URL | undefined;
  try {
    url = new URL(endpoint);
  } catch {}
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:')
    throw refused('endpoint', 'an http or https URL', endpoint);
  // Credentials in it would end up in messages and could not be fetched anyway.
  if (url.username || url.password)
    throw refused('endpoint', 'a URL without credentials', 'one with credentials');
  url.pathname = url.pathname.replace(/\/*$/, '/');
  return url;
}

/** HF_HOME, or where it lies by default. */
async function cacheHome(environment: Environment): Promise<string> {
  const set = environment.HF_HOME || undefined;
  if (set) return expand(set, environment);
  const base = environment.XDG_CACHE_HOME || '~/.cache';
  return expand(`${base}/huggingface`, environment);
}

async function readCacheDir(
  option: string | undefined,
  environment: Environment,
  home: string,
): Promise<string> {
  const set = option ?? (environment.HF_HUB_CACHE || environment.HUGGINGFACE_HUB_CACHE);
  const folder = set ? await expand(set, option === undefined ? environment : {}) : `${home}/hub`;
  return folder.length > 1 ? folder.replace(/[/\\]+$/, '') : folder;
}

/** `~` and, in what the environment says, `$NAME` and `${NAME}`, as in Python. */
async function expand(path: string, environment: Environment): Promise<string> {
  const filled = path.replace(
    /\$(?:(\w+)|\{(\w+)\})/g,
    (whole, plain, braced) => environment[plain ?? braced] ?? whole,
  );
  if (!/^~(?=[/\\]|$)/.test(filled)) return filled;
  return (await nodeOs()).homedir() + filled.slice(1);
}

async function readToken(
  option: HubOptions['token'],
  environment: Environment,
  home: string | undefined,
): Promise<string | undefined> {
  if (typeof option === 'string') {
    const token = clean(option);
    // A line break would end the header; the message must not show what may be a secret.
    if (token === undefined || !/^[\x21-\x7e]+$/.test(token))
      throw refused('token', 'an access token', 'something else');
    return token;
  }
  if (option === false) return undefined;
  if (option !== true && isTrue(environment.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return undefined;
  const found =
    clean(environment.HF_TOKEN) ??
    clean(environment.HUGGING_FACE_HUB_TOKEN) ??
    clean(await tokenFile(environment, home));
  if (found === undefined && option === true)
    throw refused('token: true', 'HF_TOKEN, or a token of `hf auth login`', 'none');
  return found !== undefined && /^[\x21-\x7e]+$/.test(found) ? found : undefined;
}

async function tokenFile(environment: Environment, home: string | undefined): Promise<string | undefined> {
  if (home === undefined) return undefined;
  const set = environment.HF_TOKEN_PATH;
  const path = set ? await expand(set, environment) : `${home}/token`;
  const { readFile } = await nodeFileSystem();
  return readFile(path, 'utf8').catch(() => undefined);
}

function clean(token: string | undefined): string | undefined {
  return token?.replace(/[\r\n]/g, '').trim() || undefined;
}

function isTrue(value: string | undefined): boolean {
  return value !== undefined && /^(1|on|yes|true)$/i.test(value);
}

/** The environment, where there is one and it may be read. */
export function processEnvironment(): Environment {
  try {
    return typeof process === 'undefined' ? {} : { ...process.env };
  } catch {
    return {};
  }
}

function text(where: string, value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string' && value !== '') return value;
  throw refused(where, 'a text that is not empty', JSON.stringify(value) ?? String(value));
}

function positive(where: string, value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'number' && value >= 1) return value;
  throw refused(where, 'a number of at least 1', String(value));
}

function refused(where: string, expected: string, got: string): InputError {
  return new InputError({ what: 'wrong value', where, expected, got });
}
