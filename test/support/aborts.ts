/** Signals that are aborted at chosen moments, and what a call that was cancelled may not leave behind. */
import { getEventListeners } from 'node:events';
import { readdirSync } from 'node:fs';

export class Stopped extends Error {
  override readonly name = 'Stopped';
}

export interface Trap {
  readonly signal: AbortSignal;
  readonly reason: Stopped;
  /** A `progress_callback` for the call. */
  readonly event: () => void;
  /** How often the signal was asked whether it is aborted. */
  looks(): number;
  events(): number;
}

/** A signal that is aborted when it is looked at for the n-th time: every moment at which a call can notice. */
export function abortAtLook(n: number): Trap {
  return trap(`at look ${n}`, { onLook: (look, abort) => look === n && abort() });
}

/** A signal that is aborted within the n-th event of the call's `progress_callback`. */
export function abortAtEvent(n: number): Trap {
  return trap(`at event ${n}`, { onEvent: (event, abort) => event === n && abort() });
}

/** A signal that is aborted n turns of the event loop after the call began: moments at which it waits for something. */
export function abortAtTurn(n: number): Trap {
  const count = (left: number, abort: () => void) => {
    if (left === 0) abort();
    else setImmediate(count, left - 1, abort);
  };
  return trap(`at turn ${n}`, { onLook: (look, abort) => look === 1 && setImmediate(count, n, abort) });
}

type Moment = (count: number, abort: () => void) => void;

function trap(name: string, { onLook, onEvent }: { onLook?: Moment; onEvent?: Moment }): Trap {
  const reason = new Stopped(name);
  const controller = new AbortController();
  const abort = () => controller.abort(reason);
  const { get } = Object.getOwnPropertyDescriptor(AbortSignal.prototype, 'aborted')!;
  let [looks, events] = [0, 0];
  Object.defineProperty(controller.signal, 'aborted', {
    get() {
      looks++;
      onLook?.(looks, abort);
      return get!.call(controller.signal);
    },
  });
  const event = () => {
    events++;
    onEvent?.(events, abort);
  };
  return { signal: controller.signal, reason, event, looks: () => looks, events: () => events };
}

/** Listeners that a signal still has. */
export function listenersOf(signal: AbortSignal): number {
  return getEventListeners(signal, 'abort').length;
}

/** Files, sockets and pipes that this process has open, and what else keeps it alive, without what it began with. */
export function openThings(): string[] {
  const kept = process.getActiveResourcesInfo().filter((name) => !IDLE.test(name));
  return [...kept, ...Array.from({ length: openFiles() }, () => 'file')].sort();
}

/** Timeouts are the runner's and the event loop's own. */
const IDLE = /^(Timeout|Immediate|TTYWrap|PipeWrap|FSReqPromise|CloseReq|MessagePort)$/;

function openFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return 0;
  }
}

/** Until what was cancelled has ended, as handles do a little later: at most half a second. */
export async function settled(isDone: () => boolean): Promise<void> {
  for (let i = 0; i < 100 && !isDone(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
}
