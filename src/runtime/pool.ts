import { DisposedError, WorkerError } from '../errors.js';
import { type KernelCall, partCount } from './call.js';
import { ringBuffer, ringViews, SLOTS, writeCall } from './command.js';
import {
  AWAITED,
  COMPLETED,
  CONTROL_BYTES,
  FAILURES,
  hasReached,
  IS_AWAITED,
  PRODUCED,
  publish,
  QUIT,
  SKIPPING,
  spinUntil,
  waitUntil,
} from './control.js';
import { type HostWorker, isWindow, startWorker } from './host-worker.js';
import { kernelNames, Participant } from './participant.js';
import { type Steps, turn } from './steps.js';
import type { WorkerMessage, WorkerStart } from './worker.js';

/** What every worker instantiates. */
type Started = Pick<WorkerStart, 'module' | 'memory' | 'dotForm'>;

/**
 * Calls that may be waiting before the thread that writes them helps to carry them out, and those that it leaves to the workers
 * when it goes on, so that they have some while it writes. A window's thread only waits, and later.
 */
const CROWDED = 128;
const LEFT = 32;
const CROWDED_WINDOW = SLOTS / 2;

/**
 * A blocking wait ends in an error after so many looks at which no call was done since the last: five minutes, for a
 * single call over a large head may take one.
 */
const LOOK_MS = 1000;
const MOST_LOOKS = 300;

/**
 * Threads that carry out kernel calls in the order in which they are pushed, each call split over all of them: workers, and
 * the caller's own thread wherever it would wait for them. In a browser's window that one has a page to serve and computes
 * nothing: there is a worker more.
 */
export class WorkerPool {
  /** Threads that compute. */
  readonly threads: number;
  /** Those of them that are workers. */
  readonly workers: number;
  readonly #sharedControl = new SharedArrayBuffer(CONTROL_BYTES);
  readonly #sharedRing = ringBuffer();
  readonly #control = new Int32Array(this.#sharedControl);
  readonly #ring = ringViews(this.#sharedRing);
  readonly #numbers: ReadonlyMap<string, number>;
  readonly #isWindow = isWindow();
  /** The caller's thread. */
  #self: Participant | undefined;
  #started: HostWorker[] = [];
  #starting: Promise<void> | undefined;
  /** Ends the wait for workers that start. */
  #giveUp: (error: Error) => void = () => {};
  #produced = 0;
  /** Those who wait for calls that workers are carrying out. */
  #waiting: (() => void)[] = [];
  /** Kernels whose failure was heard of. */
  #heard = 0;
  #failure: Error | undefined;
  /** Why calls are passed over, and whether one of them was: what the run computes from then on is worth nothing. */
  #reason: Error | undefined;
  #hasSkipped = false;
  /** Set for good: the workers are gone. */
  #ended: Error | undefined;

  /** @param exports of the caller's own instance of the module */
  constructor(threads: number, module: WebAssembly.Module, exports: object) {
    this.threads = threads;
    this.workers = this.#isWindow ? threads : threads - 1;
    const names = kernelNames(module);
    this.#numbers = new Map(names.map((name, number) => [name, number]));
    this.#self = new Participant(this.#control, this.#ring, names, { ...exports }, threads - 1);
  }

  /** Or ended again. */
  get started(): boolean {
    return this.#ended !== undefined || this.#started.length === this.workers;
  }

  /** Starts the workers, once. @param scratch where each one's scratch areas lie */
  start(what: Started, scratch: readonly number[]): Promise<void> {
    this.#starting ??= this.#start(what, scratch);
    return this.#starting;
  }

  /** Calls that are not done yet, or 1 where one failed or was passed over: a run must not end without a look at it. */
  get pending(): number {
    if (this.#ended) return 0;
    return this.#undone || (this.#failure || this.#failsUnheard || this.#hasSkipped ? 1 : 0);
  }

  get #undone(): number {
    return (this.#produced - Atomics.load(this.#control, COMPLETED)) | 0;
  }

  /** Whether a kernel failed in a worker whose message has not arrived yet. */
  get #failsUnheard(): boolean {
    return this.#heard < Atomics.load(this.#control, FAILURES);
  }

  /** Whether so many calls are waiting that the run should `relieve` first. */
  get crowded(): boolean {
    return this.pending > (this.#isWindow ? CROWDED_WINDOW : CROWDED);
  }

  push(call: KernelCall): void {
    if (this.#ended) throw this.#ended;
    if (!this.started) throw new Error('a kernel call outside Engine.run');
    const kernel = this.#numbers.get(call.kernel);
    if (kernel === undefined) throw new Error(`no kernel ${call.kernel}`);
    // Nobody would ever say that it is done.
    if (partCount(call) === 0) return;
    // A slot is free once its call of a round ago is done.
    if (this.#undone >= SLOTS) this.#wait((this.#produced - SLOTS / 2) | 0);
    writeCall(this.#ring, this.#produced, call, kernel);
    this.#publish();
    if (this.#reason) this.#hasSkipped = true;
  }

  /**
   * Has everything carried out that was pushed so far, without blocking.
   * @throws WorkerError if a kernel failed; the reason of `skip` if a call was passed over
   */
  *drain(): Steps<void> {
    yield* this.#reach(this.#produced);
    while (this.#failsUnheard && !this.#ended) yield turn();
    this.#check();
    this.#checkSkipped();
  }

  /** The same with enough of it that the run can go on. */
  *relieve(): Steps<void> {
    if (this.#isWindow) return yield* this.drain();
    yield* this.#reach((this.#produced - LEFT) | 0);
    this.#check();
    this.#checkSkipped();
  }

  /**
   * Has everything carried out that was pushed so far, blocking. Not only a run looks into the memory: to others, that it was
   * broken off is no error.
   * @throws WorkerError if a kernel failed
   */
  finish(): void {
    if (this.pending > 0) this.#wait(this.#produced);
    this.#check();
  }

  /** Passes over the calls that are waiting; calls pushed before the next `settle` too. */
  skip(reason: Error): void {
    this.#reason ??= reason;
    if (this.#undone > 0) this.#hasSkipped = true;
    Atomics.store(this.#control, SKIPPING, 1);
  }

  /** The end of a run: passes over what is left of it and has calls carried out again. */
  async settle(): Promise<void> {
    if (this.#undone > 0) Atomics.store(this.#control, SKIPPING, 1);
    while (!this.#ended && (this.#undone > 0 || this.#failsUnheard)) {
      const next = this.#next(this.#produced);
      if (next === undefined) await turn();
      else if (!this.#take()) await this.#reached(next);
    }
    Atomics.store(this.#control, SKIPPING, 0);
    this.#failure = undefined;
    this.#reason = undefined;
    this.#hasSkipped = false;
  }

  async dispose(): Promise<void> {
    this.#ended ??= new DisposedError({ what: 'the engine was disposed of', where: 'Engine' });
    this.skip(this.#ended);
    Atomics.store(this.#control, QUIT, 1);
    this.#publish();
    this.#giveUp(this.#ended);
    this.#self = undefined;
    const workers = this.#started;
    this.#started = [];
    await Promise.all(workers.map((worker) => worker.end()));
    this.#fail(this.#ended);
  }

  async #start(what: Started, scratch: readonly number[]): Promise<void> {
    let left = this.workers;
    const ready = new Promise<void>((resolve, reject) => {
      this.#giveUp = reject;
      const listener = {
        message: (message: WorkerMessage) => {
          if ('ready' in message) left--;
          if ('failed' in message) reject(this.#failed(message.failed));
          if ('reached' in message) this.#wake();
          if (left === 0) resolve();
        },
        error: (error: Error) => {
          reject(error);
          this.#died(error);
        },
      };
      void (async () => {
        for (let thread = 0; thread < this.workers; thread++) {
          const worker = await startWorker(listener);
          if (this.#ended) return worker.end();
          this.#started.push(worker);
          worker.hold(true);
          const shared = { control: this.#sharedControl, ring: this.#sharedRing };
          worker.start({ ...what, ...shared, thread, scratch: scratch[thread] });
        }
      })().catch(reject);
    });
    try {
      await ready;
    } finally {
      this.#hold(false);
    }
  }

  #publish(): void {
    this.#produced = (this.#produced + 1) | 0;
    publish(this.#control, PRODUCED, this.#produced);
  }

  /** Computes, and waits for workers that do, until so many calls are done or nobody may wait any more. */
  *#reach(count: number): Steps<void> {
    for (let next = this.#next(count); next !== undefined && !this.#ended; next = this.#next(count)) {
      if (this.#isWindow) yield this.#reached(count);
      else if (this.#take() || spinUntil(this.#control, COMPLETED, next)) yield;
      else yield this.#reached(next);
    }
  }

  /** The same, blocking. */
  #wait(count: number): void {
    let looks = 0;
    for (let next = this.#next(count); next !== undefined; next = this.#next(count)) {
      if (!this.#isWindow && this.#take()) looks = 0;
      else if (waitUntil(this.#control, COMPLETED, next, !this.#isWindow, LOOK_MS)) looks = 0;
      // Nothing is heard of a worker's end while this thread blocks.
      else if (++looks >= MOST_LOOKS) throw this.#died(new Error('no call was done for five minutes'));
    }
  }

  /** What COMPLETED will be once the call under way is done; undefined: it is `count` already, or more. */
  #next(count: number): number | undefined {
    const done = Atomics.load(this.#control, COMPLETED);
    return ((done - count) | 0) < 0 ? (done + 1) | 0 : undefined;
  }

  /** @returns false: there was nothing to take */
  #take(): boolean {
    try {
      return this.#self?.take() ?? false;
    } catch (error) {
      this.#failed(String(error));
      return true;
    }
  }

  /** Resolves once so many calls are done, and whenever there is anything else to look at. */
  #reached(count: number): Promise<void> {
    const woken = new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#hold(true);
    Atomics.store(this.#control, AWAITED, count);
    Atomics.store(this.#control, IS_AWAITED, 1);
    // Whoever came there before those two words does not tell.
    if (this.#ended || hasReached(this.#control, COMPLETED, count)) this.#wake();
    return woken;
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
    this.#hold(false);
  }

  /** One that died takes no more calls: nobody may wait for the part that it had taken. */
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

  /** A kernel failed: the run is over, the threads go on. */
  #failed(reason: string): Error {
    this.#heard++;
    const error = new WorkerError({ what: 'a kernel failed', where: 'threads', got: reason });
    this.#fail(error);
    return error;
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake();
  }

  #check(): void {
    const error = this.#failure ?? this.#ended;
    if (error) throw error;
  }

  #checkSkipped(): void {
    if (this.#hasSkipped) throw this.#reason;
  }

  /** The process must not end while somebody waits, and may at any other time. */
  #hold(alive: boolean): void {
    for (const worker of this.#started) worker.hold(alive);
  }
}
