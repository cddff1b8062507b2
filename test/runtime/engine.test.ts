import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DisposedError } from '../../src/errors.js';
import { Engine } from '../../src/runtime/engine.js';
import { runSync, type Steps } from '../../src/runtime/steps.js';

/** A computation of many steps, each of about a millisecond. */
function* busy(steps: number, log?: string[], name = ''): Steps<number> {
  log?.push(`${name} starts`);
  for (let i = 0; i < steps; i++) {
    const end = performance.now() + 1;
    while (performance.now() < end);
    yield;
  }
  log?.push(`${name} ends`);
  return steps;
}

test('timers get through while a computation runs', async () => {
  const engine = await Engine.create();
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  await engine.run(() => busy(200));
  clearInterval(timer);
  assert.ok(ticks >= 5, `${ticks} ticks in 200 ms of computing`);
  engine.dispose();
});

test('timers get through between many computations of one short step each', async () => {
  const engine = await Engine.create();
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  for (let i = 0; i < 200; i++) await engine.run(() => busy(1));
  clearInterval(timer);
  assert.ok(ticks >= 5, `${ticks} ticks in 200 ms of computing`);
  engine.dispose();
});

test('an abort from a timer ends the run with AbortError, frees its scope, and the next run works', async () => {
  const engine = await Engine.create();
  const before = engine.activations.mark();
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 5);
  let steps = 0;
  try {
    await engine.run(function* () {
      engine.tensor(1000, 1000);
      for (; steps < 100000; steps++) yield* busy(1);
    }, abort.signal);
    assert.unreachable();
  } catch (error) {
    assert.is((error as Error).name, 'AbortError');
  }
  assert.ok(steps < 1000, `${steps} steps were run`);
  assert.equal(engine.activations.mark(), before);
  assert.is(await engine.run(() => busy(3)), 3);
  engine.dispose();
});

test('an abort with a reason of one’s own rejects with that reason', async () => {
  const engine = await Engine.create();
  const reason = new Error('enough');
  const error = await engine.run(() => busy(5), AbortSignal.abort(reason)).catch((caught) => caught);
  assert.is(error, reason);
  engine.dispose();
});

test('concurrent runs wait for each other, also when one of them fails', async () => {
  const engine = await Engine.create();
  const log: string[] = [];
  const first = engine.run(() => busy(20, log, 'first'));
  const failing = engine
    .run(function* (): Steps<void> {
      log.push('failing');
      yield;
      throw new Error('on purpose');
    })
    .catch((error) => error.message);
  const last = engine.run(() => busy(5, log, 'last'));
  assert.equal(await Promise.all([first, failing, last]), [20, 'on purpose', 5]);
  assert.equal(log, ['first starts', 'first ends', 'failing', 'last starts', 'last ends']);
  engine.dispose();
});

test('dispose ends the run in progress, refuses later ones, and can be called twice', async () => {
  const engine = await Engine.create();
  const running = engine.run(() => busy(100000)).catch((error) => error);
  setTimeout(() => engine.dispose(), 5);
  assert.instance(await running, DisposedError);
  assert.instance(await engine.run(() => busy(1)).catch((error) => error), DisposedError);
  assert.throws(
    () => engine.kernels,
    (error: Error) => error instanceof DisposedError,
  );
  engine.dispose();
  assert.is(engine.bytes, 0);
});

test('dispose gives the memory back: 60 engines of 256 MB one after the other fit', async () => {
  for (let i = 0; i < 60; i++) {
    const engine = await Engine.create();
    const pointer = engine.allocateWeights(256 << 20);
    engine.u8(pointer, 1)[0] = 1;
    engine.dispose();
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(process.memoryUsage().rss < 4e9);
});

test('runSync drives the same steps without a turn of the event loop', () => {
  let turned = false;
  setImmediate(() => {
    turned = true;
  });
  assert.is(runSync(busy(10)), 10);
  assert.not(turned);
});

test.run();
