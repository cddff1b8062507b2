/**
 * What several threads at once get out of the machine's arithmetic units. Two threads of a shared machine may be two cores or
 * two halves of one, and that changes: so it is measured beside the figures of several threads.
 */
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { type Arithmetic, Ceilings } from './ceilings.js';

/** Milliseconds that all threads compute together, and how often; the best counts. */
const TOGETHER = 60;
const ROUNDS = 6;
/** For the message that starts them. */
const AHEAD = 10;

interface Round {
  readonly kind: Arithmetic;
  /** Date.now() of its first and last moment. */
  readonly from: number;
  readonly to: number;
}

export class ThreadCeilings {
  readonly #workers: readonly Worker[];

  private constructor(workers: readonly Worker[]) {
    this.#workers = workers;
  }

  static async start(threads: number): Promise<ThreadCeilings> {
    const workers = Array.from({ length: threads }, () => new Worker(new URL(import.meta.url)));
    await Promise.all(workers.map((worker) => answer(worker)));
    return new ThreadCeilings(workers);
  }

  /** G operations a second of all threads together, or of the first `threads`; undefined where the engine lacks the instruction. */
  async arithmetic(kind: Arithmetic, threads = this.#workers.length): Promise<number | undefined> {
    let best: number | undefined;
    for (let i = 0; i < ROUNDS; i++) {
      const from = Date.now() + AHEAD;
      const round: Round = { kind, from, to: from + TOGETHER };
      const rates = await Promise.all(
        this.#workers.slice(0, threads).map((worker) => {
          worker.postMessage(round);
          return answer(worker);
        }),
      );
      if (rates.some((rate) => rate === undefined)) return undefined;
      best = Math.max(
        best ?? 0,
        rates.reduce<number>((sum, rate) => sum + rate!, 0),
      );
    }
    return best;
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

function answer(worker: Worker): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    worker.once('error', reject);
    worker.once('message', ({ rate }: { rate?: number }) => {
      worker.off('error', reject);
      resolve(rate);
    });
  });
}

if (!isMainThread && parentPort) {
  const ceilings = new Ceilings();
  parentPort.on('message', ({ kind, from, to }: Round) => {
    while (Date.now() < from);
    parentPort!.postMessage({ rate: ceilings.rate(kind, to - Date.now()) });
  });
  parentPort.postMessage({});
}
