/**
 * A hub of the tests' own on loopback: the API's listing, `resolve` with redirects, a "CDN" on another port, ranges, etags,
 * refusals; and whatever goes wrong between a hub and its users.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import {
  type AddressInfo,
  connect,
  createServer as createProxy,
  type Server as NetServer,
  type Socket,
} from 'node:net';

export type Files = Readonly<Record<string, Uint8Array>>;

export interface Repository {
  /** Branches and tags. */
  refs: Record<string, string>;
  commits: Record<string, Files>;
  /** Who may read: everybody, those with a token, those whose token has been granted access. */
  access?: 'private' | 'gated';
}

/** What a request gets instead of its file, or how it gets it. */
export interface Fault {
  status?: number;
  headers?: Record<string, string>;
  /** Changes the whole body before it is sent. */
  body?: (bytes: Uint8Array) => Uint8Array;
  /** Content-Length, where it is not the body's. */
  length?: number;
  ignoreRange?: boolean;
  etag?: string | null;
  contentRange?: string;
  commit?: string;
  /** Bytes of the body after which nothing more comes, and the connection stays open. */
  stallAfter?: number;
  /** The body comes in pieces of so many bytes, one each millisecond. */
  drip?: number;
  /** Waits before anything is sent. */
  delayMs?: number;
}

export interface Seen {
  readonly host: 'hub' | 'cdn';
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  status: number;
  /** Bytes of the body that were given to the connection. */
  sent: number;
}

export const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
export const gitSha1 = (bytes: Uint8Array) =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
/** A commit's name. */
export const commitOf = (text: string) => createHash('sha1').update(text).digest('hex');

export const TOKEN = 'hf_test_granted';

export class TestHub {
  readonly repositories = new Map<string, Repository>();
  readonly seen: Seen[] = [];
  /** Asked before each answer. */
  fault: (request: Seen, count: number) => Fault | undefined = () => undefined;
  /** Bytes of answers (heads included) after which connections are cut: the first that passes so many, then the next. */
  cuts: number[] = [];
  /** Whether there is an API. */
  api = true;
  /** How files are known that are kept apart (LFS). */
  isLarge = (path: string) => path.endsWith('.safetensors');
  url = '';
  cdnUrl = '';
  #servers: Server[] = [];
  #proxies: NetServer[] = [];
  #sockets = new Set<Socket>();
  #passed = 0;

  async start(): Promise<this> {
    this.url = await this.#listen('hub');
    this.cdnUrl = await this.#listen('cdn');
    return this;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    for (const server of this.#servers) server.closeAllConnections();
    await Promise.all(
      [...this.#servers, ...this.#proxies].map((server) => new Promise((done) => server.close(done))),
    );
  }

  /** Clears what was seen and goes wrong. */
  reset(): void {
    this.seen.length = 0;
    this.fault = () => undefined;
    this.cuts = [];
    this.#passed = 0;
    this.api = true;
  }

  add(name: string, files: Files, more: Partial<Repository> = {}): string {
    const commit = commitOf(`${name} ${Object.entries(files).map(([path, bytes]) => path + sha256(bytes))}`);
    const repository = this.repositories.get(name) ?? { refs: {}, commits: {} };
    repository.refs.main = commit;
    repository.commits[commit] = files;
    this.repositories.set(name, Object.assign(repository, more));
    return commit;
  }

  /** Requests for a file, to the hub or to the CDN. */
  requests(host: Seen['host'], part = ''): Seen[] {
    return this.seen.filter((one) => one.host === host && one.path.includes(part));
  }

  /** The server itself, and before it a proxy that cuts connections at any byte. */
  async #listen(host: 'hub' | 'cdn'): Promise<string> {
    const server = createServer((request, response) => void this.#answer(host, request, response));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address() as AddressInfo;
    const proxy = createProxy((outside) => this.#pipe(outside, connect(port, '127.0.0.1')));
    await new Promise<void>((done) => proxy.listen(0, '127.0.0.1', done));
    this.#servers.push(server);
    this.#proxies.push(proxy);
    return `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  }

  #pipe(outside: Socket, inside: Socket): void {
    for (const socket of [outside, inside]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#sockets.delete(socket);
        outside.destroy();
        inside.destroy();
      });
    }
    outside.pipe(inside);
    inside.on('data', (data: Buffer) => {
      const room = this.cuts.length > 0 ? this.cuts[0] - this.#passed : Number.POSITIVE_INFINITY;
      if (data.length <= room) {
        this.#passed += data.length;
        if (!outside.write(data)) {
          inside.pause();
          outside.once('drain', () => inside.resume());
        }
        return;
      }
      const isOdd = this.cuts.shift()! % 2 === 1;
      this.#passed = 0;
      outside.write(data.subarray(0, room), () => (isOdd ? outside.resetAndDestroy() : outside.destroy()));
      inside.destroy();
    });
  }

  async #answer(host: 'hub' | 'cdn', request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url = '/', headers } = request;
    const seen: Seen = { host, method, path: url, headers, status: 0, sent: 0 };
    this.seen.push(seen);
    const same = this.seen.filter((one) => one.host === host && one.path === url && one.method === method);
    const fault = this.fault(seen, same.length) ?? {};
    if (fault.delayMs) await new Promise((done) => setTimeout(done, fault.delayMs));
    const { pathname } = new URL(url, 'http://localhost');
    const parts = pathname.split('/').slice(1).map(decodeURIComponent);
    // A page of another origin may read all of it, as with the real one.
    const expose =
      'X-Repo-Commit,X-Error-Code,X-Error-Message,ETag,Accept-Ranges,Content-Range,X-Linked-Size,X-Linked-ETag';
    response.setHeader('access-control-allow-origin', '*');
    response.setHeader('access-control-expose-headers', expose);
    if (fault.status !== undefined && fault.status !== 200) {
      this.#send(seen, response, fault.status, fault.headers);
      return;
    }
    if (method === 'OPTIONS') {
      // As CDNs do: only what needs no preflight is answered.
      const allowed = { 'access-control-allow-headers': 'authorization' };
      this.#send(seen, response, host === 'hub' ? 200 : 403, allowed);
      return;
    }
    if (host === 'cdn') {
      this.#file(seen, request, response, this.#blob(parts[0]), fault, 'cdn');
      return;
    }
    if (parts[0] === 'api' && parts[1] === 'models') {
      this.#listing(seen, request, response, parts, fault);
      return;
    }
    if (parts[0] === 'api' && parts[1] === 'resolve-cache') {
      const file = this.repositories.get(`${parts[3]}/${parts[4]}`)?.commits[parts[5]]?.[
        parts.slice(6).join('/')
      ];
      this.#file(seen, request, response, file, fault, 'git');
      return;
    }
    if (parts[2] === 'resolve') {
      this.#resolve(seen, request, response, parts, fault);
      return;
    }
    this.#send(seen, response, 404, {});
  }

  #listing(
    seen: Seen,
    request: IncomingMessage,
    response: ServerResponse,
    parts: string[],
    fault: Fault,
  ): void {
    if (!this.api) {
      this.#send(seen, response, 404, {});
      return;
    }
    const name = `${parts[2]}/${parts[3]}`;
    const found = this.#find(seen, request, response, name, parts[5], false);
    if (!found) return;
    const siblings = Object.entries(found.files).map(([rfilename, bytes]) => ({
      rfilename,
      size: bytes.length,
      blobId: gitSha1(bytes),
      ...(this.isLarge(rfilename)
        ? { lfs: { sha256: sha256(bytes), size: bytes.length, pointerSize: 134 } }
        : {}),
    }));
    const json = new TextEncoder().encode(
      JSON.stringify({ id: name, modelId: name, sha: found.commit, siblings }),
    );
    this.#body(seen, response, 200, { 'content-type': 'application/json' }, json, fault);
  }

  #resolve(
    seen: Seen,
    request: IncomingMessage,
    response: ServerResponse,
    parts: string[],
    fault: Fault,
  ): void {
    const name = `${parts[0]}/${parts[1]}`;
    const found = this.#find(seen, request, response, name, parts[3], true);
    if (!found) return;
    const path = parts.slice(4).join('/');
    const bytes = found.files[path];
    const commit = { 'x-repo-commit': fault.commit ?? found.commit };
    if (!bytes) {
      const code = { 'x-error-code': 'EntryNotFound', 'x-error-message': 'Entry not found' };
      this.#send(seen, response, 404, { ...commit, ...code });
      return;
    }
    if (this.isLarge(path)) {
      const linked = { 'x-linked-etag': `"${sha256(bytes)}"`, 'x-linked-size': String(bytes.length) };
      const location = `${this.cdnUrl}/${sha256(bytes)}/?signature=${this.seen.length}`;
      this.#send(seen, response, 302, { ...commit, ...linked, ...fault.headers, location });
      return;
    }
    const location = `/api/resolve-cache/models/${name}/${found.commit}/${path}`;
    const etag = `"${gitSha1(bytes)}"`;
    if (request.method === 'HEAD') {
      this.#send(seen, response, 200, { ...commit, etag, 'content-length': String(bytes.length) });
      return;
    }
    this.#send(seen, response, 307, {
      ...commit,
      'x-linked-etag': etag,
      'x-linked-size': String(bytes.length),
      location,
    });
  }

  /** The files of a revision, or undefined after a refusal. */
  #find(
    seen: Seen,
    request: IncomingMessage,
    response: ServerResponse,
    name: string,
    revision: string,
    content: boolean,
  ): { commit: string; files: Files } | undefined {
    const repository = this.repositories.get(name);
    const refuse = (status: number, code: string, message: string) => {
      this.#send(seen, response, status, { 'x-error-code': code, 'x-error-message': message });
      return undefined;
    };
    const token = request.headers.authorization?.replace(/^Bearer /, '');
    if (token === 'hf_wrong') {
      this.#send(seen, response, 401, { 'x-error-message': 'Invalid credentials in Authorization header' });
      return undefined;
    }
    const hidden = !repository || (repository.access === 'private' && token !== TOKEN);
    if (hidden) return refuse(token ? 404 : 401, 'RepoNotFound', 'Repository not found');
    if (repository.access === 'gated' && content && token !== TOKEN) {
      return refuse(token ? 403 : 401, 'GatedRepo', `Access to model ${name} is restricted.`);
    }
    const commit = repository.refs[revision] ?? revision;
    const files = repository.commits[commit];
    return files ? { commit, files } : refuse(404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
  }

  #blob(name: string): Uint8Array | undefined {
    for (const { commits } of this.repositories.values()) {
      for (const bytes of Object.values(commits).flatMap((files) => Object.values(files))) {
        if (sha256(bytes) === name) return bytes;
      }
    }
    return undefined;
  }

  #file(
    seen: Seen,
    request: IncomingMessage,
    response: ServerResponse,
    bytes: Uint8Array | undefined,
    fault: Fault,
    kind: 'cdn' | 'git',
  ): void {
    if (!bytes) {
      this.#send(seen, response, 404, {});
      return;
    }
    // The CDN's etag is its own, as with the real one.
    const etag = fault.etag ?? `"${kind === 'git' ? gitSha1(bytes) : `cdn-${sha256(bytes).slice(0, 20)}`}"`;
    const headers: Record<string, string> = {
      'accept-ranges': 'bytes',
      ...(fault.etag === null ? {} : { etag }),
    };
    const [, first] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? [];
    const condition = request.headers['if-range'];
    const isRange =
      first !== undefined && !fault.ignoreRange && (condition === undefined || condition === etag);
    if (!isRange) {
      this.#body(seen, response, 200, headers, bytes, fault);
      return;
    }
    const from = Number(first);
    if (from >= bytes.length) {
      this.#send(seen, response, 416, { 'content-range': `bytes */${bytes.length}` });
      return;
    }
    headers['content-range'] = fault.contentRange ?? `bytes ${from}-${bytes.length - 1}/${bytes.length}`;
    this.#body(seen, response, 206, headers, bytes.subarray(from), fault);
  }

  #send(seen: Seen, response: ServerResponse, status: number, headers: Record<string, string> = {}): void {
    seen.status = status;
    response.writeHead(status, headers).end();
  }

  #body(
    seen: Seen,
    response: ServerResponse,
    status: number,
    headers: Record<string, string>,
    whole: Uint8Array,
    fault: Fault,
  ): void {
    const bytes = fault.body?.(whole) ?? whole;
    seen.status = status;
    response.writeHead(status, {
      'content-length': String(fault.length ?? bytes.length),
      ...headers,
      ...fault.headers,
    });
    if (seen.method === 'HEAD') {
      response.end();
      return;
    }
    if (fault.drip !== undefined) {
      this.#drip(seen, response, bytes, fault.drip);
      return;
    }
    if (fault.stallAfter !== undefined) {
      seen.sent = Math.min(fault.stallAfter, bytes.length);
      response.write(bytes.subarray(0, fault.stallAfter));
      return;
    }
    seen.sent = bytes.length;
    if ((fault.length ?? 0) <= bytes.length) {
      response.end(bytes);
      return;
    }
    // A body shorter than it was said to be ends with the connection.
    response.write(bytes, () => setTimeout(() => response.socket?.destroy(), 5));
  }

  #drip(seen: Seen, response: ServerResponse, bytes: Uint8Array, piece: number): void {
    const timer = setInterval(() => {
      if (seen.sent >= bytes.length || response.destroyed) {
        clearInterval(timer);
        response.end();
        return;
      }
      response.write(bytes.subarray(seen.sent, seen.sent + piece));
      seen.sent = Math.min(bytes.length, seen.sent + piece);
    }, 1);
  }
}
