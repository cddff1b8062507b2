/**
 * What a worker does: takes its parts of the calls in the ring, in order. Bundled into worker.generated.ts by .ci/setup.mjs,
 * so that no runtime has to find a file; whoever starts it provides `self` (host-worker.ts).
 */
import {
  FENCE,
  kernelOf,
  NEXT_PART,
  partsOf,
  type Ring,
  readPart,
  ringViews,
  SLOT_WORDS,
  SLOTS,
  ticketOf,
} from './command.js';
import { PRODUCED, progressOf, publish, QUIT, SKIPPING, waitUntil } from './control.js';

/** What a worker needs to begin. */
export interface WorkerStart {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  control: SharedArrayBuffer;
  ring: SharedArrayBuffer;
  index: number;
  threads: number;
  /** Where the scratch areas of this worker's instance lie. */
  scratch: number;
  dotForm: number;
}

/** What a worker says: that it is ready, that a fence is reached, that a kernel failed. */
export type WorkerMessage = { ready: true } | { ticket: number } | { failed: string };

declare const self: {
  onmessage: ((event: { data: WorkerStart }) => void) | null;
  postMessage(message: WorkerMessage): void;
};

type Kernel = (...args: number[]) => unknown;

self.onmessage = ({ data }) => {
  try {
    const { exports } = new WebAssembly.Instance(data.module, { env: { memory: data.memory } });
    (exports.set_scratch as Kernel)(data.scratch);
    (exports.set_dot_form as Kernel)(data.dotForm);
    const kernels = Object.keys(exports)
      .sort()
      .map((name) => exports[name] as Kernel);
    self.postMessage({ ready: true });
    work(data, kernels);
  } catch (error) {
    self.postMessage({ failed: String(error) });
  }
};

function work(
  { control: controlBuffer, ring: ringBuffer, index, threads }: WorkerStart,
  kernels: Kernel[],
): void {
  const control = new Int32Array(controlBuffer);
  const ring = ringViews(ringBuffer);
  const others = Array.from({ length: threads }, (_, worker) => worker).filter((worker) => worker !== index);
  for (let call = 0; ; ) {
    waitUntil(control, PRODUCED, (call + 1) | 0);
    if (Atomics.load(control, QUIT)) return;
    const at = (call & (SLOTS - 1)) * SLOT_WORDS;
    const isShared = partsOf(ring, at) > 1;
    let ticket = 0;
    const isFence = kernelOf(ring, at) === FENCE;
    // What is passed over need not be waited for: the fence behind it says when everybody is there.
    if ((isShared || index === 0) && (isFence || !Atomics.load(control, SKIPPING))) {
      // A call reads what those before it wrote.
      for (const worker of others) waitUntil(control, progressOf(worker), call);
      if (isFence) ticket = ticketOf(ring, at);
      else if (!Atomics.load(control, SKIPPING)) takeParts(ring, at, isShared, index, kernels, control);
    }
    call = (call + 1) | 0;
    publish(control, progressOf(index), call);
    if (ticket) self.postMessage({ ticket });
  }
}

const args: number[] = [];

function takeParts(
  ring: Ring,
  at: number,
  isShared: boolean,
  index: number,
  kernels: Kernel[],
  control: Int32Array,
): void {
  const kernel = kernels[kernelOf(ring, at)];
  const parts = partsOf(ring, at);
  try {
    for (let part = isShared ? Atomics.add(ring.i32, at + NEXT_PART, 1) : 0; part < parts; ) {
      readPart(ring, at, part, index, args);
      kernel(...args);
      part = isShared ? Atomics.add(ring.i32, at + NEXT_PART, 1) : parts;
      if (Atomics.load(control, SKIPPING)) return;
    }
  } catch (error) {
    Atomics.store(control, SKIPPING, 1);
    self.postMessage({ failed: String(error) });
  }
}
