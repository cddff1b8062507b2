/** Pictures and videos by path, URL, data URL or base64: their bytes (`image_utils.load_image`, up to the decoding). */
import { nodeFileSystem } from '../checkpoint/node.js';
import { abortError, checkSignal, InputError } from '../errors.js';
import { byRows, paced, type Steps } from './paced.js';

/** Files larger than this are refused unless `max_bytes` says otherwise. */
export const MAX_MEDIA_BYTES = 256 << 20;

export interface LoadOptions {
  signal?: AbortSignal;
  /** Default 256 MiB. */
  max_bytes?: number;
  /** What the picture is called in errors. */
  where?: string;
}

/**
 * The bytes of a file: `http(s)://`, `data:` and `file://` URLs, paths (where there is a file system), and, as in the
 * reference, base64. Whether they are a picture shows when they are decoded.
 * @throws InputError, naming the source, for anything else, for what cannot be read and for what is too large; the
 *   signal's reason when it is aborted
 */
export async function load_image(source: string | URL, options: LoadOptions = {}): Promise<Uint8Array> {
  checkSignal(options.signal);
  const text = String(source);
  if (/^data:/i.test(text)) return decodeDataUrl(text, options);
  if (/^https?:\/\//i.test(text)) return fetchBytes(text, options);
  const path = /^file:\/\//i.test(text) ? decodeURIComponent(new URL(text).pathname) : text;
  const bytes = await readPath(path, options);
  if (bytes !== undefined) return bytes;
  if (isBase64(text)) return decodeBase64(text, options);
  throw refused(
    text,
    options,
    'a URL with http:// or https://, the path of a file, a data URL or base64',
    'no file',
  );
}

/** The bytes of base64, a `data:` prefix or not. Throws InputError where it is damaged. */
export function decodeBase64(text: string, options: LoadOptions): Promise<Uint8Array> {
  return paced(base64Steps(text, options), options.signal);
}

/** Characters decoded at once: a multiple of 4. */
const BASE64_PIECE = 1 << 16;

function* base64Steps(text: string, { where, max_bytes = MAX_MEDIA_BYTES }: LoadOptions): Steps<Uint8Array> {
  const body = text.replace(/^data:[^,]*,/i, '').replace(/[\t\n\f\r ]+/g, '');
  if (body.length * 0.75 > max_bytes + 2) {
    throw refused(text, { where }, `at most ${max_bytes} bytes`, `about ${Math.ceil(body.length * 0.75)}`);
  }
  const bytes = new Uint8Array(Math.floor((body.length * 3) / 4));
  let length = 0;
  try {
    yield* byRows(Math.ceil(body.length / BASE64_PIECE), BASE64_PIECE, (piece) => {
      const binary = atob(body.slice(piece * BASE64_PIECE, (piece + 1) * BASE64_PIECE));
      for (let i = 0; i < binary.length; i++) bytes[length++] = binary.charCodeAt(i);
    });
  } catch (cause) {
    throw new InputError({
      what: 'damaged base64',
      where: where ?? 'base64',
      expected: 'base64',
      got: (cause as Error).message,
      cause,
    });
  }
  return bytes.subarray(0, length);
}

async function decodeDataUrl(url: string, options: LoadOptions): Promise<Uint8Array> {
  const comma = url.indexOf(',');
  const head = url.slice(0, Math.max(comma, 0));
  if (comma > 0 && /;base64$/i.test(head)) return decodeBase64(url.slice(comma + 1), options);
  throw refused(url, options, 'data:TYPE;base64,…', comma < 0 ? 'no comma' : head);
}

/** Long enough to be a picture, and of the alphabet: a path that does not exist is not taken for it. */
function isBase64(text: string): boolean {
  return text.length >= 32 && text.length % 4 === 0 && /^[A-Za-z0-9+/\r\n]+={0,2}\s*$/.test(text);
}

async function fetchBytes(url: string, options: LoadOptions): Promise<Uint8Array> {
  const { signal, max_bytes = MAX_MEDIA_BYTES } = options;
  const failed = (cause: unknown) => {
    if (signal?.aborted) return abortError(signal);
    return refused(url, options, 'a file that can be fetched', (cause as Error).message, cause);
  };
  const response = await fetch(url, { signal }).catch((cause) => {
    throw failed(cause);
  });
  const type = response.headers.get('content-type') ?? '';
  const claimed = Number(response.headers.get('content-length') ?? 0);
  let problem: [expected: string, got: string] | undefined;
  if (!response.ok) problem = ['status 200', `status ${response.status}`];
  else if (/^(text\/|application\/(json|xhtml))/i.test(type)) problem = ['a picture or video', type];
  else if (claimed > max_bytes) problem = [`at most ${max_bytes} bytes`, `${claimed}`];
  if (problem) {
    await response.body?.cancel().catch(() => undefined);
    throw refused(url, options, ...problem);
  }
  const pieces: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const piece of readPieces(response)) {
      size += piece.length;
      if (size > max_bytes)
        throw refused(url, options, `at most ${max_bytes} bytes`, `more than ${size - 1}`);
      pieces.push(piece);
    }
  } catch (cause) {
    throw cause instanceof InputError ? cause : failed(cause);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

async function* readPieces({ body }: Response): AsyncGenerator<Uint8Array> {
  const reader = body?.getReader();
  if (!reader) return;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** undefined if there is no such file, or no file system. */
async function readPath(path: string, options: LoadOptions): Promise<Uint8Array | undefined> {
  const { signal, max_bytes = MAX_MEDIA_BYTES } = options;
  // No path is that long; base64 often is.
  if (path === '' || path.length > 4096 || path.includes('\0')) return undefined;
  const files = await nodeFileSystem().catch(() => undefined);
  const stats = await files?.stat(path).catch(() => undefined);
  if (!files || !stats?.isFile()) return undefined;
  if (stats.size > max_bytes) throw refused(path, options, `at most ${max_bytes} bytes`, String(stats.size));
  try {
    const bytes = await files.readFile(path, { signal });
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  } catch (cause) {
    if (signal?.aborted) throw abortError(signal);
    throw refused(path, options, 'a file that can be read', (cause as Error).message, cause);
  }
}

function refused(
  source: string,
  { where }: LoadOptions,
  expected: string,
  got: string,
  cause?: unknown,
): InputError {
  const short = source.length > 80 ? `${source.slice(0, 80)}…` : source;
  return new InputError({
    what: 'picture or video cannot be loaded',
    where: where === undefined ? short : `${where}: ${short}`,
    expected,
    got,
    cause,
  });
}
