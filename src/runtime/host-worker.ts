import { InputError } from '../errors.js';
import { WORKER_SOURCE } from './worker.generated.js';
import type { WorkerMessage, WorkerStart } from './worker.js';

/** A worker of whatever host this is. */
export interface HostWorker {
  start(data: WorkerStart): void;
  /** Whether the process stays alive for it. */
  hold(alive: boolean): void;
  end(): Promise<void>;
}

export interface WorkerListener {
  message(message: WorkerMessage): void;
  /** It failed, or ended by itself. */
  error(error: Error): void;
}

/** Whether memory can be shared between threads here, and threads be started. */
export function canShareMemory(): boolean {
  if (typeof SharedArrayBuffer !== 'function') return false;
  // Browsers share it on cross-origin isolated pages only.
  const { crossOriginIsolated } = globalThis as { crossOriginIsolated?: boolean };
  return crossOriginIsolated !== false && (typeof Worker === 'function' || isNode());
}

/** Whether this is a browser window's thread, which may not sleep and should not compute: it has a page to serve. */
export function isWindow(): boolean {
  return typeof (globalThis as { document?: unknown }).document !== 'undefined';
}

/** Threads that the host's processors run at once. */
export async function availableThreads(): Promise<number> {
  const { navigator } = globalThis as { navigator?: { hardwareConcurrency?: number } };
  if (navigator?.hardwareConcurrency) return navigator.hardwareConcurrency;
  if (!isNode()) return 1;
  const { availableParallelism } = await import('node:os');
  return availableParallelism();
}

export async function startWorker(listener: WorkerListener): Promise<HostWorker> {
  // Deno has both kinds; its web workers keep the process alive whatever is said.
  if (typeof Worker === 'function' && !('Deno' in globalThis)) return webWorker(listener);
  if (isNode()) return nodeWorker(listener);
  throw new InputError({ what: 'this host starts no workers', where: 'threads', expected: '1', got: 'more' });
}

function isNode(): boolean {
  const { process } = globalThis as { process?: { versions?: { node?: string } } };
  return process?.versions?.node !== undefined;
}

/** Browsers, Bun. */
function webWorker(listener: WorkerListener): HostWorker {
  const url = URL.createObjectURL(new Blob([WORKER_SOURCE], { type: 'text/javascript' }));
  const worker = new Worker(url, { type: 'module' });
  worker.onmessage = ({ data }) => listener.message(data);
  worker.onerror = (event) => listener.error(new Error(event.message || 'a worker could not be started'));
  const { ref, unref } = worker as unknown as { ref?: () => void; unref?: () => void };
  return {
    start: (data) => worker.postMessage(data),
    hold: (alive) => (alive ? ref : unref)?.call(worker),
    end: async () => {
      worker.terminate();
      URL.revokeObjectURL(url);
    },
  };
}

/** Node, Deno: `self` as a web worker has it. */
const NODE_PRELUDE = `const { parentPort } = require('node:worker_threads');
const self = {
  postMessage: (message) => parentPort.postMessage(message),
  set onmessage(listener) { parentPort.on('message', (data) => listener({ data })); },
};
`;

async function nodeWorker(listener: WorkerListener): Promise<HostWorker> {
  const { Worker } = await import('node:worker_threads');
  // Flags of this process (an input type, loaders) are not the worker's.
  const worker = new Worker(NODE_PRELUDE + WORKER_SOURCE, { eval: true, execArgv: [] });
  worker.on('message', (message: WorkerMessage) => listener.message(message));
  worker.on('error', (error) => listener.error(error));
  worker.on('exit', (code) => listener.error(new Error(`it exited with code ${code}`)));
  worker.unref();
  return {
    start: (data) => worker.postMessage(data),
    hold: (alive) => (alive ? worker.ref() : worker.unref()),
    end: async () => void (await worker.terminate()),
  };
}
