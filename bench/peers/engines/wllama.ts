/** wllama: llama.cpp in WebAssembly, in Chromium, on a page that is cross-origin isolated so that it may have threads. */
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { type Engine, Unsupported } from '../engine.js';
import { loadPeer, PEERS, peerVersion } from '../packages.js';
import { promptText } from '../prompts.js';
import { ggufOf } from './node-llama-cpp.js';

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

interface Timings {
  readonly prompt_n: number;
  readonly prompt_ms: number;
  readonly predicted_n: number;
  readonly predicted_ms: number;
}

/** What the page's script leaves on `window`. */
interface Opened {
  createCompletion(options: object): Promise<{ timings: Timings }>;
}

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export const engine: Engine<string> = {
  async files(group, { dtype }, files) {
    if (group !== 'text') throw new Unsupported('text models only');
    return ggufOf(dtype, await files.smollm2());
  },
  async open(_, { threads }, model) {
    const executablePath = process.env.CHROMIUM ?? CHROMIUM.find(existsSync);
    if (executablePath === undefined) throw new Unsupported('no Chromium (CHROMIUM names one)');
    const server = await serve(model);
    const { module } = await loadPeer<Playwright>('playwright-core');
    const browser = await module.chromium.launch({ executablePath, args: ['--no-sandbox'] });
    const page = await browser.newPage();
    await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/`);
    const thread = await page.evaluate(openInPage, { threads, context: 2304 });
    if (thread !== threads) throw new Unsupported(`${threads} threads asked for, ${thread} given`);
    let peak: number | null = null;
    return {
      version: `@wllama/wllama ${peerVersion('@wllama/wllama')} in Chromium`,
      async measure(work, run) {
        const prompt = promptText(work.context as number, run);
        const made = work.tokens === undefined ? 1 : work.tokens + 1;
        const timings = await page.evaluate(completeInPage, { prompt, max_tokens: made });
        // The first word alone may be one that another work's prompt began with.
        if (timings.prompt_n < (work.context as number) - 1)
          throw new Error(`${timings.prompt_n} tokens of the prompt were computed`);
        peak = peakOfRenderers();
        if (work.tokens === undefined) return [timings.prompt_ms / 1000];
        return [(work.tokens * timings.predicted_ms) / 1000 / timings.predicted_n];
      },
      peakBytes: () => peak,
      async close() {
        await browser.close();
        server.close();
      },
    };
  },
};

/** Runs in the page. @returns the threads that it got */
async function openInPage({ threads, context }: { threads: number; context: number }): Promise<number> {
  const path = '/esm/index.js';
  const { Wllama, LoggerWithoutDebug } = await import(path);
  const wllama = new Wllama({ default: '/esm/wasm/wllama.wasm' }, { logger: LoggerWithoutDebug });
  const model = await (await fetch('/model.gguf')).blob();
  await wllama.loadModel([model], { n_threads: threads, n_ctx: context, n_gpu_layers: 0, n_parallel: 1 });
  Object.assign(window, { wllama });
  return wllama.isMultithread() ? wllama.getNumThreads() : 1;
}

/** Runs in the page. */
async function completeInPage(options: { prompt: string; max_tokens: number }): Promise<Timings> {
  const { wllama } = window as unknown as { wllama: Opened };
  const { timings } = await wllama.createCompletion({ ...options, temperature: 0, ignore_eos: true });
  return timings;
}

const TYPES: Record<string, string> = {
  '.js': 'text/javascript',
  '.wasm': 'application/wasm',
  '': 'text/html',
};

/** The package's files, the model, and an empty page, with the headers that shared memory asks for. */
async function serve(model: string): Promise<Server> {
  const root = join(PEERS, 'node_modules/@wllama/wllama');
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost').pathname;
    const headers = {
      'Content-Type': TYPES[extname(url)] ?? 'application/octet-stream',
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Embedder-Policy': 'require-corp',
    };
    const path = url === '/model.gguf' ? model : join(root, url);
    if (url === '/') response.writeHead(200, headers).end('<!doctype html><title>wllama</title>');
    else if (!existsSync(path) || !statSync(path).isFile()) response.writeHead(404, headers).end();
    else createReadStream(path).pipe(response.writeHead(200, headers));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

/** The most memory that one of Chromium's renderers below this process held at any time: the page's own. */
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
