/** Signals that are aborted at chosen moments, and what a call that was cancelled may not leave behind. */
import { getEventListeners } from 'node:events';
import { readdirSync } from 'node:fs';

export class Stopped extends Error {
  override readonly name = 'Stopped';
}

export interface Trap {
  readonly signal: AbortSignal;
  readonly reason: Stopped;
  /** How often it was asked whether it is aborted. */
  looks(): number;
}

/** A signal that is aborted when it is looked at for the n-th time: every moment at which a call can notice. */
export function abortAtLook(n: number): Trap {
  const reason = new Stopped(`at look ${n}`);
  return watched(reason, (look, controller) => {
    if (look === n) controller.abort(reason);
  });
}

/** A signal that is aborted n turns of the event loop after the call began: moments at which it waits for something. */
export function abortAtTurn(n: number): Trap {
  const reason = new Stopped(`at turn ${n}`);
  let begin: AbortController | undefined;
  const count = (left: number) => {
    if (left === 0) begin?.abort(reason);
    else setImmediate(count, left - 1);
  };
  return watched(reason, (look, controller) => {
    if (look > 1) return;
    begin = controller;
    setImmediate(count, n);
  });
}

function watched(reason: Stopped, look: (count: number, controller: AbortController) => void): Trap {
  const controller = new AbortController();
  const { get } = Object.getOwnPropertyDescriptor(AbortSignal.prototype, 'aborted')!;
  let looks = 0;
  Object.defineProperty(controller.signal, 'aborted', {
    get() {
      look(++looks, controller);
      return get!.call(controller.signal);
    },
  });
  return { signal: controller.signal, reason, looks: () => looks };
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
