/** A page in Chromium that is cross-origin isolated, so that it may have threads, over folders and files of this machine. */
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { Unsupported } from './engine.js';
import { loadPeer } from './packages.js';

interface Playwright {
  readonly chromium: { launch(options: object): Promise<Browser> };
}
interface Browser {
  newPage(): Promise<Page>;
  close(): Promise<void>;
}
interface Page {
  goto(url: string): Promise<unknown>;
  evaluate<T, A>(call: (argument: A) => T | Promise<T>, argument: A): Promise<T>;
}

export interface OpenPage {
  /** Runs a function in the page; it sees nothing but its argument. */
  evaluate<T, A>(call: (argument: A) => T | Promise<T>, argument: A): Promise<T>;
  /** The most memory that one of the browser's renderers held at any time so far: the page's own. */
  peakBytes(): number | null;
  close(): Promise<void>;
}

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/**
 * @param mounts what the page finds below its root: first parts of URLs, each with the folder or file that it stands for
 * @throws Unsupported without a Chromium
 */
export async function openPage(mounts: Readonly<Record<string, string>>): Promise<OpenPage> {
  const executablePath = process.env.CHROMIUM ?? CHROMIUM.find(existsSync);
  if (executablePath === undefined) throw new Unsupported('no Chromium (CHROMIUM names one)');
  const server = await serve(mounts);
  const { module } = await loadPeer<Playwright>('playwright-core');
  const browser = await module.chromium.launch({ executablePath, args: ['--no-sandbox'] });
  const page = await browser.newPage();
  await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/`);
  return {
    evaluate: (call, argument) => page.evaluate(call, argument),
    peakBytes: peakOfRenderers,
    async close() {
      await browser.close();
      server.close();
    },
  };
}

const TYPES: Record<string, string> = {
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

/** The mounted files and an empty page, with the headers that shared memory asks for. */
async function serve(mounts: Readonly<Record<string, string>>): Promise<Server> {
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost').pathname;
    const headers = {
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Embedder-Policy': 'require-corp',
    };
    if (url === '/') {
      const page = '<!doctype html><title>bench</title>';
      response.writeHead(200, { ...headers, 'Content-Type': 'text/html' }).end(page);
      return;
    }
    const [, mount, ...rest] = url.split('/');
    const path = mounts[mount] === undefined ? undefined : join(mounts[mount], ...rest);
    if (path === undefined || !existsSync(path) || !statSync(path).isFile()) {
      response.writeHead(404, headers).end();
      return;
    }
    const type = TYPES[extname(path)] ?? 'application/octet-stream';
    response.writeHead(200, { ...headers, 'Content-Type': type, 'Content-Length': statSync(path).size });
    createReadStream(path).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

function peakOfRenderers(): number | null {
  if (process.platform !== 'linux') return null;
  const parents = new Map<number, number>();
  const pids = readdirSync('/proc').map(Number).filter(Number.isInteger);
  const read = (pid: number, file: string) => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, 'utf8');
    } catch {
      return '';
    }
  };
  for (const pid of pids) parents.set(pid, Number(read(pid, 'status').match(/^PPid:\s+(\d+)/m)?.[1]));
  const isOurs = (pid: number | undefined): boolean =>
    pid !== undefined && pid > 1 && (pid === process.pid || isOurs(parents.get(pid)));
  const peaks = pids
    .filter((pid) => isOurs(pid) && read(pid, 'cmdline').includes('--type=renderer'))
    .map((pid) => 1024 * Number(read(pid, 'status').match(/^VmHWM:\s+(\d+)/m)?.[1]));
  return peaks.length > 0 ? Math.max(...peaks) : null;
}
