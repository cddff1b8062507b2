/** Every public asynchronous call takes a signal, answers an abort with its reason, and leaves nothing behind. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  abortAtEvent,
  abortAtLook,
  abortAtTurn,
  listenersOf,
  openThings,
  settled,
  type Trap,
} from '../support/aborts.js';
import { type Call, loadingCalls, modelCalls, processingCalls } from './calls.js';

/** Moments of a call at which it is aborted. */
const MOMENTS = 14;

/** How the call ended. */
async function attempt(
  { call, drop }: Call,
  { signal, event }: Pick<Trap, 'signal' | 'event'>,
): Promise<unknown> {
  try {
    const result = await call(signal, event);
    drop?.(result as never);
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Bytes that a model's memory holds, without what it keeps on purpose. */
function held({ model }: Call): number | undefined {
  if (!model) return undefined;
  const { engine } = model.ops;
  if ('prefixes' in model) {
    model.prefixes.clear();
    model.tiles.clear();
  }
  engine.activations.trim();
  return engine.heap.used;
}

const { get: isAborted } = Object.getOwnPropertyDescriptor(AbortSignal.prototype, 'aborted')!;
/** Whether the moment came; it is no look of its own. */
const wasAborted = ({ signal }: Trap): boolean => isAborted!.call(signal);

/** Cancels a call at a moment and looks at what is left of it. */
async function cancel(
  call: Call,
  trap: Trap,
  before: { bytes?: number; things: string[] },
): Promise<boolean> {
  const error = await attempt(call, trap);
  const where = `${call.name}, ${trap.reason.message}`;
  if (error !== undefined) assert.is(error, trap.reason, `${where}: ${(error as Error).stack ?? error}`);
  assert.is(listenersOf(trap.signal), 0, `${where}: listeners`);
  assert.is(held(call), before.bytes, `${where}: bytes held`);
  await settled(() => openThings().length <= before.things.length);
  assert.equal(openThings(), before.things, `${where}: open things`);
  return error !== undefined;
}

const endless = /never/;

function check(call: Call): void {
  test(`${call.name}: aborted before it begins, at up to ${MOMENTS} looks or events and 6 turns: the signal’s own reason, and nothing is left`, async () => {
    // What is made once and kept (compiled decoders, workers, chunks of memory) is made here.
    const whole = endless.test(call.name) ? abortAtTurn(20) : abortAtLook(0);
    const ended = await attempt(call, whole);
    assert.is(ended, endless.test(call.name) ? whole.reason : undefined, String((ended as Error)?.stack));
    const bytes = held(call);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const before = { bytes, things: openThings() };

    const controller = new AbortController();
    controller.abort(new Error('too late'));
    const { signal } = controller;
    const late = await attempt(call, { signal, event: () => {} });
    assert.is(late, signal.reason, 'aborted before it begins');
    assert.is(held(call), bytes);

    // An answer has a signal of its own, which follows the caller's: it is aborted within its events.
    const isAnswer = /describe|ChatSession.send/.test(call.name);
    const count = isAnswer ? whole.events() : whole.looks();
    assert.ok(count >= 2, `${count} moments`);
    for (let i = 0; i < MOMENTS; i++) {
      const moment = 1 + Math.floor((i * count) / MOMENTS);
      const trap = isAnswer ? abortAtEvent(moment) : abortAtLook(moment);
      // How many moments a call has is a matter of the machine's speed, so its last ones may not come.
      const wasCancelled = await cancel(call, trap, before);
      assert.is(wasCancelled, wasAborted(trap), trap.reason.message);
      assert.ok(wasCancelled || i > 0, 'the first moment comes');
    }
    for (const turn of [0, 1, 2, 4, 9, 20]) await cancel(call, abortAtTurn(turn), before);
  });
}

for (const call of await processingCalls()) check(call);
for (const call of loadingCalls()) check(call);
for (const threads of [1, 2]) {
  for (const call of await modelCalls(threads))
    check({ ...call, name: `${call.name} (threads: ${threads})` });
}

test.run();
