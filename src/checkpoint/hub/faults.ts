/** The hub's refusals as errors that say what to do. */
import { HubError } from '../../errors.js';
import { retryAfterMs, TransientError } from './retry.js';

/** What a request was for, for messages. */
export interface Asked {
  readonly endpoint: URL;
  readonly repository: string;
  readonly revision: string;
  /** Undefined where the repository itself was asked for. */
  readonly file?: string;
  readonly hasToken: boolean;
}

/** The error of an answer that is none of success. `TransientError` where another try may help. */
export function refusal(response: Response, asked: Asked): HubError | TransientError {
  const { status, headers } = response;
  const code = headers.get('x-error-code');
  const said = headers.get('x-error-message');
  const details = { status, where: place(asked), got: gotOf(status, code, said, asked) };
  const site = new URL(asked.repository, asked.endpoint).href;
  if (status === 429 || status === 408 || status >= 500) {
    const limited = status === 429;
    const what = limited ? 'the hub limits the rate of requests' : 'the hub has a fault of its own';
    const expected = limited ? 'a later try, or a token, with which the limit is higher' : 'a later try';
    const error = new HubError({ ...details, code: limited ? 'RateLimited' : 'ServerError', what, expected });
    return new TransientError(error, retryAfterMs(headers.get('retry-after')));
  }
  if (code === 'RevisionNotFound') {
    const expected = `a branch, a tag or a commit of it: ${site}/tree/main lists them`;
    return new HubError({ ...details, code, what: 'the repository has no such revision', expected });
  }
  if (code === 'EntryNotFound' || (status === 404 && asked.file !== undefined && code === null)) {
    const expected = `a file that is listed at ${site}/tree/${asked.revision}`;
    return new HubError({
      ...details,
      code: 'EntryNotFound',
      what: 'the repository has no such file',
      expected,
    });
  }
  if (code === 'GatedRepo') {
    const expected = `its terms accepted at ${site}, and a token of that account: HF_TOKEN, or the option token`;
    return new HubError({ ...details, code, what: 'the repository is gated', expected });
  }
  if (status === 401 && /invalid credentials/i.test(said ?? '')) {
    const expected = `a valid token (HF_TOKEN, or the option token), or none: ${new URL('settings/tokens', asked.endpoint)}`;
    return new HubError({
      ...details,
      code: 'Unauthorized',
      what: 'the hub does not accept the token',
      expected,
    });
  }
  // To those who may not see it, a private repository looks like a missing one.
  if (code === 'RepoNotFound' || status === 404 || status === 401) {
    const expected =
      'the name of a repository; a private one needs a token (HF_TOKEN, or the option token) that may read it';
    return new HubError({
      ...details,
      code: 'RepoNotFound',
      what: 'the hub has no such repository',
      expected,
    });
  }
  if (status === 403) {
    const expected =
      'a token with the permission to read this repository, and a repository that is not disabled';
    return new HubError({ ...details, code: 'Forbidden', what: 'the hub refuses access', expected });
  }
  return new HubError({
    ...details,
    code: 'BadResponse',
    what: 'the hub does not understand',
    expected: 'the file',
  });
}

function gotOf(status: number, code: string | null, said: string | null, { hasToken }: Asked): string {
  const token = hasToken ? 'with a token' : 'without a token';
  return `${[status, code, said && `"${said.slice(0, 200)}"`].filter(Boolean).join(' ')}, ${token}`;
}

/** A connection that failed, or fell silent. */
export function broken(error: unknown, stalled: boolean, idleMs: number, asked: Asked): TransientError {
  const where = place(asked);
  if (stalled) {
    const got = `none for ${idleMs} ms`;
    const expected = 'a byte now and then; a later try goes on where this one ended';
    return new TransientError(
      new HubError({ code: 'Timeout', what: 'the connection fell silent', where, expected, got }),
    );
  }
  const expected = 'a network that reaches it; what is cached can be used with local_files_only';
  return new TransientError(
    new HubError({
      code: 'Network',
      what: 'the hub cannot be reached',
      where,
      expected,
      got: reason(error),
      cause: error,
    }),
  );
}

/** A connection that ended before the file did. */
export function cut(where: string, expected: string, got: string, cause?: unknown): TransientError {
  return new TransientError(
    new HubError({ code: 'Network', what: 'the connection was cut', where, expected, got, cause }),
  );
}

/** What fetch hides behind "fetch failed". */
function reason(error: unknown): string {
  const inner = (error as { cause?: { code?: string; message?: string } } | null)?.cause;
  const outer = error instanceof Error ? error.message : String(error);
  const more = inner?.code ?? inner?.message;
  return more && !outer.includes(more) ? `${outer} (${more})` : outer;
}

export function badAnswer(asked: Asked, expected: string, got: string, status?: number): HubError {
  return new HubError({
    code: 'BadResponse',
    what: 'no answer of a hub',
    where: place(asked),
    expected,
    got,
    status,
  });
}

/** An error of the place where files are kept. */
export function storageFault(error: unknown, where: string): unknown {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown };
  if (code === 'ENOSPC' || code === 'EDQUOT' || name === 'QuotaExceededError') {
    return noSpace(
      where,
      'room for it; the partial file stays, and a later try goes on from there',
      typeof code === 'string' ? code : String(name),
      error,
    );
  }
  const isFiles = typeof code === 'string' && /^E[A-Z]+$/.test(code);
  const isBrowsers = error instanceof DOMException && name !== 'AbortError';
  if (!isFiles && !isBrowsers) return error;
  const expected = 'a cache that can be written: HF_HUB_CACHE, HF_HOME or the option cache_dir name another';
  return new HubError({
    code: 'Storage',
    what: 'the cache fails',
    where,
    expected,
    got: (error as Error).message,
    cause: error,
  });
}

export function noSpace(where: string, expected: string, got: string, cause?: unknown): HubError {
  return new HubError({ code: 'NoSpace', what: 'no space left', where, expected, got, cause });
}

/** "org/name@main, config.json (https://huggingface.co)" */
export function place({ endpoint, repository, revision, file }: Asked): string {
  return `${repository}@${revision}${file === undefined ? '' : `, ${file}`}, at ${endpoint.origin}`;
}
