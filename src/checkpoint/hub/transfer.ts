import { checkSignal, HubError } from '../../errors.js';
import type { HubAnswer, HubClient } from './client.js';
import { type Asked, badAnswer, broken, cut, place } from './faults.js';
import type { RemoteFile } from './listing.js';
import { Patience, TransientError } from './retry.js';

/** Where a transfer goes on: only the same validator makes bytes of two connections one file. */
export interface Resume {
  readonly offset: number;
  readonly validator: string | undefined;
}

export interface Chunk extends Resume {
  /** `offset` bytes after the file's start. 0 after a chunk that was further on: all before it is void. */
  readonly bytes: Uint8Array;
}

/** A body that is open, from `start` on. */
interface Body extends Resume {
  readonly answer: HubAnswer;
}

/**
 * The bytes of a file in order, over as many connections as it takes. A connection that breaks is taken up again where it
 * broke by Range and If-Range, and from the start where the server cannot, or has another file by now. Never more bytes
 * than the file has.
 * @throws HubError when it is given up; AbortError
 */
export async function* fetchFile(
  client: HubClient,
  file: RemoteFile,
  from: Resume,
  signal: AbortSignal | undefined,
): AsyncGenerator<Chunk, void> {
  const patience = new Patience(client.settings.retry);
  let { offset, validator } = from.validator === undefined ? NOTHING : from;
  let furthest = offset;
  for (;;) {
    try {
      const body = await openBody(client, file, { offset, validator }, signal);
      ({ offset, validator } = body);
      for await (const bytes of bodyChunks(client, file, body, signal)) {
        yield { offset, validator, bytes };
        offset += bytes.length;
        if (offset > furthest) patience.renew();
        furthest = Math.max(furthest, offset);
      }
      return;
    } catch (error) {
      if (!(error instanceof TransientError)) throw error;
      // Without a validator nobody knows whether what follows belongs to what is there.
      if (validator === undefined || error instanceof StartAnew) ({ offset, validator } = NOTHING);
      await patience.wait(error, signal);
    }
  }
}

const NOTHING: Resume = { offset: 0, validator: undefined };

/** The server cannot go on where the last connection ended. */
class StartAnew extends TransientError {}

/** @throws TransientError; HubError; AbortError */
async function openBody(
  client: HubClient,
  file: RemoteFile,
  { offset, validator }: Resume,
  signal: AbortSignal | undefined,
): Promise<Body> {
  const url = client.url(...file.repository.split('/'), 'resolve', file.commit, ...file.path.split('/'));
  const headers: Record<string, string> = { 'accept-encoding': 'identity' };
  if (offset > 0) {
    headers.range = `bytes=${offset}-`;
    // In a page the header would make the browser ask first (CORS), which CDNs refuse: there the answer's own etag decides.
    if (!isPage()) headers['if-range'] = validator!;
  }
  const { repository, commit: revision, path } = file;
  let answer: HubAnswer;
  try {
    answer = await client.send({ url, headers, repository, revision, file: path, signal });
  } catch (error) {
    if (offset === 0 || !(error instanceof HubError)) throw error;
    if (error.status !== 416) throw error;
    throw new StartAnew(error);
  }
  try {
    return { answer, ...startOf(answer, file, { offset, validator }, asked(client, file)) };
  } catch (error) {
    answer.watch.drop();
    throw error;
  }
}

/** Where an answer's body begins. @throws StartAnew for a range that is not the one asked for */
function startOf({ response, hub }: HubAnswer, file: RemoteFile, from: Resume, asked: Asked): Resume {
  const commit = hub.get('x-repo-commit');
  if (commit !== null && commit !== file.commit) {
    throw badAnswer(asked, `a file of commit ${file.commit}`, `one of commit ${commit}`, response.status);
  }
  const encoded = response.headers.has('content-encoding');
  const etag = response.headers.get('etag');
  const validator = etag !== null && /^".*"$/.test(etag) && !encoded ? etag : undefined;
  const length = Number(response.headers.get('content-length') ?? Number.NaN);
  if (response.status === 206) {
    const [, first, , all] =
      /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(response.headers.get('content-range') ?? '') ?? [];
    const isRange = Number(first) === from.offset && from.offset > 0 && !encoded;
    const isFile = isPage() ? etag === from.validator : etag === null || etag === from.validator;
    const isSize = file.size === null || all === '*' || Number(all) === file.size;
    if (isRange && isFile && isSize) return from;
    const got = `${response.headers.get('content-range')} of ${etag}`;
    throw new StartAnew(badAnswer(asked, `bytes from ${from.offset} on of ${from.validator}`, got, 206));
  }
  if (response.status !== 200)
    throw badAnswer(asked, 'status 200 or 206', String(response.status), response.status);
  if (!encoded && file.size !== null && !Number.isNaN(length) && length !== file.size) {
    throw new TransientError(wrongSize(file, asked, length));
  }
  return { offset: 0, validator };
}

/** A body's chunks up to the file's end. @throws TransientError for one that ends early; AbortError */
async function* bodyChunks(
  client: HubClient,
  file: RemoteFile,
  { answer, offset }: Body,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void> {
  const { watch, response } = answer;
  const size = file.size ?? Number.POSITIVE_INFINITY;
  const reader = response.body?.getReader();
  let whole = false;
  try {
    while (offset < size) {
      const { done, value } = reader ? await watch.race(reader.read()) : { done: true, value: undefined };
      if (done || value === undefined) break;
      // What comes after the end is none of the file's.
      const bytes = value.subarray(0, Math.min(value.length, size - offset));
      if (bytes.length > 0) yield bytes;
      offset += bytes.length;
    }
    whole = file.size === null || offset === size;
  } catch (error) {
    checkSignal(signal);
    const { idleMs } = client.settings.retry;
    if (watch.stalled) throw broken(error, true, idleMs, asked(client, file));
    const got = `${offset}`;
    throw cut(
      place(asked(client, file)),
      `${file.size ?? 'all'} bytes; a later try goes on where this one ended`,
      got,
      error,
    );
  } finally {
    // Also where the reader of these chunks leaves early.
    if (whole) watch.end();
    else watch.drop();
    void reader?.cancel().catch(() => {});
  }
  if (whole) return;
  throw new TransientError(wrongSize(file, asked(client, file), offset));
}

function wrongSize(file: RemoteFile, asked: Asked, got: number): HubError {
  return new HubError({
    code: 'SizeMismatch',
    what: 'the file has another length',
    where: place(asked),
    expected: `${file.size} bytes; a later try, or another endpoint`,
    got: `${got} bytes`,
  });
}

function asked(client: HubClient, { repository, commit, path }: RemoteFile): Asked {
  return { repository, revision: commit, file: path, endpoint: client.endpoint, hasToken: client.hasToken };
}

/** Whether the rules of pages (CORS) are upon us. */
function isPage(): boolean {
  const { location, navigator } = globalThis;
  return (
    typeof location?.origin === 'string' && typeof navigator === 'object' && /^https?:/.test(location.origin)
  );
}
