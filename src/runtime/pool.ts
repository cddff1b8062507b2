import { DisposedError, WorkerError } from '../errors.js';
import type { KernelCall } from './call.js';
import { type Ring, ringViews, SLOT_WORDS, SLOTS, writeCall, writeFence } from './command.js';
import { controlBytes, PRODUCED, progressOf, publish, QUIT, SKIPPING, waitUntil } from './control.js';
import { type HostWorker, maySleep, startWorker } from './host-worker.js';
import { turn } from './steps.js';
import type { WorkerMessage, WorkerStart } from './worker.js';

/** What every worker instantiates. */
type Started = Pick<WorkerStart, 'module' | 'memory' | 'dotForm'>;

/** Calls that may be waiting before the run that makes them should pause. */
const CROWDED = SLOTS / 2;

/**
 * A blocking wait ends in an error after so many looks at which no worker had done a call since the last: five minutes, for a
 * single call over a large head may take one.
 */
const LOOK_MS = 1000;
const MOST_LOOKS = 300;

/**
 * Threads that carry out kernel calls in the order in which they are pushed, each call split over all of them. The
 * caller's thread only writes calls down; it waits for them by `drain` (without blocking) or `finish` (blocking).
 */
export class WorkerPool {
  readonly threads: number;
  readonly #control: Int32Array<SharedArrayBuffer>;
  readonly #ring: Ring;
  readonly #ringBuffer = new SharedArrayBuffer(4 * SLOTS * SLOT_WORDS);
  readonly #numbers: ReadonlyMap<string, number>;
  #workers: HostWorker[] = [];
  #starting: Promise<void> | undefined;
  /** Ends the wait for workers that start. */
  #giveUp: (error: Error) => void = () => {};
  #produced = 0;
  #tickets = 0;
  /** Fences that are on their way, and the calls written before and with each. */
  #waiting = new Map<number, { resolve: () => void; produced: number }>();
  /** The calls before the last fence that was reached are done, even if a worker has yet to pass it by. */
  #fenced = 0;
  #failure: Error | undefined;
  /** Whether calls are passed over because the run is, not because one failed. */
  #skips = false;
  /** Set for good: the workers are gone. */
  #ended: Error | undefined;

  /** @param names the module's exports */
  constructor(threads: number, names: readonly string[]) {
    this.threads = threads;
    this.#control = new Int32Array(new SharedArrayBuffer(controlBytes(threads)));
    this.#ring = ringViews(this.#ringBuffer);
    this.#numbers = new Map([...names].sort().map((name, number) => [name, number]));
  }

  /** Or ended again. */
  get started(): boolean {
    return this.#ended !== undefined || this.#workers.length === this.threads;
  }

  /** Starts the workers, once. @param scratch where each one's scratch areas lie */
  start(what: Started, scratch: readonly number[]): Promise<void> {
    this.#starting ??= this.#start(what, scratch);
    return this.#starting;
  }

  /** Calls that are not done yet, or that failed unheard of. */
  get pending(): number {
    if (this.#ended) return 0;
    const behind = this.#fenced === this.#produced ? 0 : this.#behind();
    return behind === 0 && this.#failsUnheard ? 1 : behind;
  }

  /** Whether a call failed, of which the worker's message has not arrived yet. */
  get #failsUnheard(): boolean {
    return !this.#skips && !this.#failure && Atomics.load(this.#control, SKIPPING) !== 0;
  }

  /** Calls that some worker has not passed. */
  #behind(): number {
    let done = this.#produced;
    for (let worker = 0; worker < this.threads; worker++) {
      const progress = Atomics.load(this.#control, progressOf(worker));
      if (((progress - done) | 0) < 0) done = progress;
    }
    return (this.#produced - done) | 0;
  }

  /** Whether so many calls are waiting that the run should `drain` first. */
  get crowded(): boolean {
    return this.pending > CROWDED;
  }

  push(call: KernelCall): void {
    if (this.#ended) throw this.#ended;
    if (!this.started) throw new Error('a kernel call outside Engine.run');
    const number = this.#numbers.get(call.kernel);
    if (number === undefined) throw new Error(`no kernel ${call.kernel}`);
    writeCall(this.#ring, this.#slot(), call, number);
    this.#publish();
  }

  /** Resolves when everything pushed so far is done; rejects if a kernel failed. */
  async drain(): Promise<void> {
    if (this.pending > 0) await this.#fence();
    while (this.#failsUnheard && !this.#ended) await turn();
    this.#check();
  }

  /** Blocks until everything pushed so far is done. */
  finish(): void {
    if (this.pending > 0) this.#wait(this.#produced);
    this.#check();
  }

  /** Passes over the calls that are waiting; calls pushed before the next `drain` too. */
  skip(): void {
    this.#skips = true;
    Atomics.store(this.#control, SKIPPING, 1);
  }

  /** The end of a run: waits for the workers and lets them carry out calls again. */
  async settle(): Promise<void> {
    if (this.pending > 0) await this.#fence();
    Atomics.store(this.#control, SKIPPING, 0);
    this.#skips = false;
    this.#failure = undefined;
  }

  async dispose(): Promise<void> {
    this.skip();
    Atomics.store(this.#control, QUIT, 1);
    this.#publish();
    this.#ended ??= new DisposedError({ what: 'the engine was disposed of', where: 'Engine' });
    this.#giveUp(this.#ended);
    const workers = this.#workers;
    this.#workers = [];
    await Promise.all(workers.map((worker) => worker.end()));
    this.#fail(this.#ended);
  }

  async #start(what: Started, scratch: readonly number[]): Promise<void> {
    let left = this.threads;
    const ready = new Promise<void>((resolve, reject) => {
      this.#giveUp = reject;
      const listener = {
        message: (message: WorkerMessage) => {
          if ('ready' in message) left--;
          if ('failed' in message) this.#failed(message.failed, reject);
          if ('ticket' in message) this.#reached(message.ticket);
          if (left === 0) resolve();
        },
        error: (error: Error) => {
          reject(error);
          this.#died(error);
        },
      };
      void (async () => {
        for (let index = 0; index < this.threads; index++) {
          const worker = await startWorker(listener);
          if (this.#ended) return worker.end();
          this.#workers.push(worker);
          worker.hold(true);
          const shared = { control: this.#control.buffer, ring: this.#ringBuffer, threads: this.threads };
          worker.start({ ...what, ...shared, index, scratch: scratch[index] });
        }
      })().catch(reject);
    });
    try {
      await ready;
    } finally {
      this.#hold(false);
    }
  }

  #slot(): number {
    // A slot is free once its call of a round ago is done.
    if (this.#behind() >= SLOTS) this.#wait((this.#produced - SLOTS / 2) | 0);
    return (this.#produced & (SLOTS - 1)) * SLOT_WORDS;
  }

  #publish(): void {
    this.#produced = (this.#produced + 1) | 0;
    publish(this.#control, PRODUCED, this.#produced);
  }

  #wait(count: number): void {
    const sleeps = maySleep();
    let behind = this.#behind();
    let looks = 0;
    for (let worker = 0; worker < this.threads; worker++) {
      while (!waitUntil(this.#control, progressOf(worker), count, sleeps, LOOK_MS)) {
        looks = this.#behind() < behind ? 0 : looks + 1;
        behind = this.#behind();
        // Nothing is heard of a worker's end while this thread blocks.
        if (looks >= MOST_LOOKS) throw this.#died(new Error('no call was done for five minutes'));
      }
    }
  }

  /** One that died takes no more calls: nobody may wait for it, and the others would wait for ever. */
  #died(cause: Error): Error {
    if (!this.#ended) {
      const what = 'a worker thread ended';
      const expected = 'one that lives as long as the model';
      this.#ended = new WorkerError({ what, where: 'threads', expected, got: cause.message, cause });
      this.#fail(this.#ended);
      void this.dispose();
    }
    return this.#ended;
  }

  #fence(): Promise<void> {
    const ticket = ++this.#tickets;
    writeFence(this.#ring, this.#slot(), ticket);
    const produced = (this.#produced + 1) | 0;
    const reached = new Promise<void>((resolve) => this.#waiting.set(ticket, { resolve, produced }));
    this.#hold(true);
    this.#publish();
    return reached;
  }

  #reached(ticket: number): void {
    const fence = this.#waiting.get(ticket);
    if (!fence) return;
    this.#fenced = fence.produced;
    fence.resolve();
    this.#waiting.delete(ticket);
    if (this.#waiting.size === 0) this.#hold(false);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { resolve } of this.#waiting.values()) resolve();
    this.#waiting.clear();
  }

  #check(): void {
    const error = this.#failure ?? this.#ended;
    if (error) throw error;
  }

  /** A kernel failed: the run is over, the workers go on. */
  #failed(reason: string, reject: (error: Error) => void): void {
    const error = new WorkerError({ what: 'a worker failed', where: 'threads', got: reason });
    reject(error);
    this.#fail(error);
  }

  /** The process must not end while somebody waits, and may at any other time. */
  #hold(alive: boolean): void {
    for (const worker of this.#workers) worker.hold(alive);
  }
}
