/**
 * What a worker does: takes parts of the calls in the ring. Bundled into worker.generated.ts by .ci/setup.mjs, so that no
 * runtime has to find a file; whoever starts it provides `self` (host-worker.ts).
 */
import { ringViews } from './command.js';
import { AWAITED, COMPLETED, hasReached, IS_AWAITED, PRODUCED, QUIT, waitUntil } from './control.js';
import { kernelNames, Participant } from './participant.js';

/** What a worker needs to begin. */
export interface WorkerStart {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  control: SharedArrayBuffer;
  ring: SharedArrayBuffer;
  /** Its number among the threads. */
  thread: number;
  /** Where the scratch areas of this worker's instance lie. */
  scratch: number;
  dotForm: number;
}

/** What a worker says: that it is ready, that as many calls are done as were awaited, that a kernel failed. */
export type WorkerMessage = { ready: true } | { reached: true } | { failed: string };

declare const self: {
  onmessage: ((event: { data: WorkerStart }) => void) | null;
  postMessage(message: WorkerMessage): void;
};

self.onmessage = ({ data }) => {
  try {
    const { exports } = new WebAssembly.Instance(data.module, { env: { memory: data.memory } });
    (exports.set_scratch as (pointer: number) => void)(data.scratch);
    (exports.set_dot_form as (form: number) => void)(data.dotForm);
    const control = new Int32Array(data.control);
    const participant = new Participant(
      control,
      ringViews(data.ring),
      kernelNames(data.module),
      exports,
      data.thread,
    );
    self.postMessage({ ready: true });
    work(control, participant);
  } catch (error) {
    self.postMessage({ failed: String(error) });
  }
};

function work(control: Int32Array, participant: Participant): void {
  for (;;) {
    const number = Atomics.load(control, COMPLETED);
    waitUntil(control, PRODUCED, (number + 1) | 0);
    if (Atomics.load(control, QUIT)) return;
    let hasTaken = true;
    try {
      hasTaken = participant.take();
    } catch (error) {
      self.postMessage({ failed: String(error) });
    }
    if (hasTaken) tellCaller(control);
    else waitUntil(control, COMPLETED, (number + 1) | 0);
  }
}

/** The caller's thread is told by whoever finishes the call that it waits for, or comes by afterwards. */
function tellCaller(control: Int32Array): void {
  if (!Atomics.load(control, IS_AWAITED)) return;
  if (!hasReached(control, COMPLETED, Atomics.load(control, AWAITED))) return;
  if (Atomics.exchange(control, IS_AWAITED, 0)) self.postMessage({ reached: true });
}
