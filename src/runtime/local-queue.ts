import { argumentArray, type KernelCall, partArguments, partCount } from './call.js';
import type { Kernels } from './kernels.js';
import type { Steps } from './steps.js';

/**
 * Calls that may be waiting before they are carried out. For a token they take tens of microseconds each and stream the
 * processor's caches full of weights; made one by one in between, they cost a token 5 % more of its processor time.
 */
const CROWDED = 64;

/** Time between two pauses: a token's calls take tens of microseconds each, and a pause after every one 1 to 2 % of its time. */
const PAUSE_MS = 0.5;

/** Kernel calls that this thread carries out itself, a good many in a row and in the order in which they were pushed. */
export class LocalQueue {
  readonly #carryOut: (kernel: keyof Kernels, args: readonly number[]) => void;
  #calls: KernelCall[] = [];
  /** The first call that is not done, how many parts it has, and the first of them that is not. */
  #next = 0;
  #parts = 0;
  #part = 0;
  readonly #arguments = argumentArray();

  /** @param carryOut calls a kernel */
  constructor(carryOut: (kernel: keyof Kernels, args: readonly number[]) => void) {
    this.#carryOut = carryOut;
  }

  /** Calls that are not done yet. */
  get pending(): number {
    return this.#calls.length - this.#next;
  }

  /** Whether so many calls are waiting that the run should `relieve` first. */
  get crowded(): boolean {
    return this.pending >= CROWDED;
  }

  push(call: KernelCall): void {
    this.#calls.push(call);
  }

  /** Carries out what was pushed so far, pausing between the parts of calls. */
  *drain(): Steps<void> {
    let last = performance.now();
    while (this.#carryOutNext()) {
      const now = performance.now();
      if (now - last < PAUSE_MS) continue;
      last = now;
      yield;
    }
  }

  relieve(): Steps<void> {
    return this.drain();
  }

  /** The same without a pause. */
  finish(): void {
    while (this.#carryOutNext());
  }

  /** Forgets the calls that are waiting. */
  clear(): void {
    this.#calls = [];
    this.#next = 0;
    this.#part = 0;
  }

  /** The next part; false: there is none. One that throws is not tried again. */
  #carryOutNext(): boolean {
    const call = this.#calls[this.#next];
    if (!call) {
      if (this.#next > 0) this.clear();
      return false;
    }
    if (this.#part === 0) this.#parts = partCount(call);
    const part = this.#part++;
    if (this.#part >= this.#parts) {
      this.#next++;
      this.#part = 0;
    }
    // A call of one part has its arguments already.
    if (this.#parts > 1) partArguments(call, part, this.#arguments);
    this.#carryOut(call.kernel, this.#parts > 1 ? this.#arguments : call.args);
    return true;
  }
}
