/** What each of an engine's threads does, workers and the caller's alike: it takes parts of the calls in the ring. */
import { argumentArray } from './call.js';
import { kernelOf, putDone, type Ring, readPart, takePart, takeRest } from './command.js';
import { COMPLETED, FAILURES, hasReached, PRODUCED, publish, SKIPPING } from './control.js';

type Kernel = (...args: number[]) => unknown;

/** What a module exports, in the order of the names: a kernel's number is its place. */
export function kernelNames(module: WebAssembly.Module): string[] {
  const names = WebAssembly.Module.exports(module).map(({ name }) => name);
  return names.sort();
}

/**
 * One thread among those that compute. Nothing is told of it to the others but that a part is done: a thread that is away,
 * or has yet to start, holds up nobody as long as it has taken no part.
 */
export class Participant {
  readonly #control: Int32Array;
  readonly #ring: Ring;
  readonly #kernels: readonly Kernel[];
  readonly #thread: number;
  readonly #arguments = argumentArray();

  /**
   * @param names `kernelNames` of the module
   * @param exports of this thread's instance
   * @param thread its number among the threads, which says where its part of a call's scratch lies
   */
  constructor(
    control: Int32Array,
    ring: Ring,
    names: readonly string[],
    exports: Readonly<Record<string, unknown>>,
    thread: number,
  ) {
    this.#control = control;
    this.#ring = ring;
    this.#kernels = names.map((name) => exports[name] as Kernel);
    this.#thread = thread;
  }

  /**
   * Carries out a part of the call under way. Where calls are passed over, it does so with all parts that nobody has taken.
   * @returns false: there was nothing to take
   * @throws what the kernel throws; from then on calls are passed over
   */
  take(): boolean {
    const number = Atomics.load(this.#control, COMPLETED);
    if (!hasReached(this.#control, PRODUCED, (number + 1) | 0)) return false;
    if (Atomics.load(this.#control, SKIPPING)) {
      const parts = takeRest(this.#ring, number);
      if (parts > 0) this.#done(number, parts);
      return parts > 0;
    }
    const part = takePart(this.#ring, number);
    if (part < 0) return false;
    try {
      readPart(this.#ring, number, part, this.#thread, this.#arguments);
      this.#kernels[kernelOf(this.#ring, number)](...this.#arguments);
    } catch (error) {
      Atomics.add(this.#control, FAILURES, 1);
      Atomics.store(this.#control, SKIPPING, 1);
      throw error;
    } finally {
      this.#done(number, 1);
    }
    return true;
  }

  #done(number: number, parts: number): void {
    if (putDone(this.#ring, number, parts)) publish(this.#control, COMPLETED, (number + 1) | 0);
  }
}
