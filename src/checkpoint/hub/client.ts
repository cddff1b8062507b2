import { checkSignal, HubError } from '../../errors.js';
import { type Asked, badAnswer, broken, refusal } from './faults.js';
import { TransientError, Watch } from './retry.js';
import type { HubSettings } from './settings.js';

const MAX_REDIRECTS = 10;

/** An answer that is a success, its body unread. */
export interface HubAnswer {
  readonly response: Response;
  /** Headers of the hub's own answer, which may have been a redirect; those of `response` where no redirect could be seen. */
  readonly hub: Headers;
  /** Whether the caller sees redirects, and with them all headers. Not so in browsers. */
  readonly sees: boolean;
  /** Ends the connection when nothing comes. Whoever has the answer drops or ends it. */
  readonly watch: Watch;
}

export interface HubRequest extends Omit<Asked, 'endpoint' | 'hasToken'> {
  readonly url: URL;
  readonly method?: 'GET' | 'HEAD';
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Of HEAD: whether redirects to other origins stay unfollowed, because the hub's own headers are what is wanted. */
  readonly stay?: boolean;
}

/** Speaks to one hub. The token goes to its origin and nowhere else. */
export class HubClient {
  readonly endpoint: URL;
  readonly settings: HubSettings;
  /** Whether fetch shows redirects instead of following them: everywhere but in browsers. Undefined until one was seen. */
  #sees: boolean | undefined;

  constructor(settings: HubSettings) {
    this.settings = settings;
    this.endpoint = settings.endpoint;
  }

  get hasToken(): boolean {
    return this.settings.token !== undefined;
  }

  /** A URL below the endpoint; the segments are encoded. */
  url(...segments: string[]): URL {
    return new URL(segments.map(encodeURIComponent).join('/'), this.endpoint);
  }

  /**
   * One request, along its redirects.
   * @throws TransientError for what another try may mend; HubError; AbortError
   */
  async send(request: HubRequest): Promise<HubAnswer> {
    const { repository, revision, file, signal } = request;
    const asked: Asked = { repository, revision, file, endpoint: this.endpoint, hasToken: this.hasToken };
    checkSignal(signal);
    const watch = new Watch(this.settings.retry.idleMs, signal);
    try {
      const answer = await this.#follow(request, asked, watch);
      if (answer.response.ok) return answer;
      await answer.response.body?.cancel().catch(() => {});
      throw refusal(answer.response, asked);
    } catch (error) {
      watch.drop();
      checkSignal(signal);
      if (error instanceof HubError || error instanceof TransientError) throw error;
      throw broken(error, watch.stalled, this.settings.retry.idleMs, asked);
    }
  }

  /** The text of an answer, at most `limit` bytes of it. @throws as `send` */
  async text(request: HubRequest, limit = 64 << 20): Promise<{ text: string; answer: HubAnswer }> {
    const answer = await this.send(request);
    const { repository, revision, file, signal } = request;
    const asked: Asked = { repository, revision, file, endpoint: this.endpoint, hasToken: this.hasToken };
    try {
      const chunks: Uint8Array[] = [];
      let length = 0;
      const reader = answer.response.body?.getReader();
      for (;;) {
        const { done, value } = (await (reader && answer.watch.race(reader.read()))) ?? {
          done: true,
          value: undefined,
        };
        if (done) break;
        length += value.length;
        if (length > limit) throw badAnswer(asked, `at most ${limit} bytes`, 'more');
        chunks.push(value);
      }
      answer.watch.end();
      return { text: await new Blob(chunks as BlobPart[]).text(), answer };
    } catch (error) {
      answer.watch.drop();
      checkSignal(signal);
      if (error instanceof HubError) throw error;
      throw broken(error, answer.watch.stalled, this.settings.retry.idleMs, asked);
    }
  }

  async #follow(request: HubRequest, asked: Asked, watch: Watch): Promise<HubAnswer> {
    let url = request.url;
    let hub: Headers | undefined;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const own = url.origin === this.endpoint.origin;
      const response = await this.#fetch(url, own, request, watch);
      if (own) hub = response.headers;
      const isRedirect = response.status >= 300 && response.status < 400 && response.headers.has('location');
      if (!isRedirect) return { response, hub: hub ?? response.headers, sees: this.#sees !== false, watch };
      await response.body?.cancel().catch(() => {});
      const next = redirectTarget(response, url, asked);
      if (request.stay && next.origin !== this.endpoint.origin) {
        const empty = new Response(null, { headers: response.headers });
        return { response: empty, hub: response.headers, sees: true, watch };
      }
      url = next;
    }
    throw badAnswer(asked, `at most ${MAX_REDIRECTS} redirects`, 'more');
  }

  async #fetch(
    url: URL,
    own: boolean,
    { method = 'GET', headers }: HubRequest,
    watch: Watch,
  ): Promise<Response> {
    const { token } = this.settings;
    const all: Record<string, string> = { ...headers };
    if (own && token !== undefined) all.authorization = `Bearer ${token}`;
    const send = (redirect: 'manual' | 'follow') =>
      watch.race(fetch(url, { method, headers: all, redirect, signal: watch.signal }));
    // Browsers hide where a redirect leads and follow it themselves, without the token where it leaves the origin.
    if (this.#sees === false) return send('follow');
    const response = await send('manual');
    if (response.type !== 'opaqueredirect') return response;
    this.#sees = false;
    return send('follow');
  }
}

function redirectTarget(response: Response, from: URL, asked: Asked): URL {
  const location = response.headers.get('location')!;
  try {
    const url = new URL(location, from);
    if (url.protocol === 'http:' || url.protocol === 'https:') return url;
  } catch {}
  throw badAnswer(
    asked,
    'a redirect to an http or https URL',
    JSON.stringify(location.slice(0, 100)),
    response.status,
  );
}
