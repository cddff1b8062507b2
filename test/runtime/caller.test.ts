/** The caller's thread among the threads that compute: what it does, and that nobody waits for it while it is away. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WorkerError } from '../../src/errors.js';
import type { KernelCall } from '../../src/runtime/call.js';
import {
  putDone,
  ringBuffer,
  ringViews,
  SLOTS,
  takePart,
  takeRest,
  writeCall,
} from '../../src/runtime/command.js';
import { Engine } from '../../src/runtime/engine.js';
import { Participant } from '../../src/runtime/participant.js';
import type { Steps } from '../../src/runtime/steps.js';
import type { Tensor } from '../../src/runtime/tensor.js';
import { random } from '../kernels/harness.js';
import { CALLER_SOAK_RUNS } from '../tolerance.js';

const { take } = Participant.prototype;

/** Watches what the caller's thread does, the only one whose code can be patched from here, while `compute` runs. */
async function patched<T>(
  patch: (participant: Participant) => boolean,
  compute: () => Promise<T>,
): Promise<T> {
  Participant.prototype.take = function () {
    return patch(this);
  };
  try {
    return await compute();
  } finally {
    Participant.prototype.take = take;
  }
}

/** y += x in parts of so many values, each of a row as long as the two; 1 part by default. */
function adds(y: Tensor, x: Tensor, step = y.size): KernelCall {
  return {
    kernel: 'f32_add',
    args: [y.pointer, y.pointer, x.pointer, y.size],
    axes: [{ size: 3, units: y.size, step, moves: [0, 4, 1, 4, 2, 4] }],
  };
}

/** y = 0, 0 … and x = 1, 1 …, known to the threads that compute. */
function* pair(engine: Engine, size: number): Steps<{ x: Tensor; y: Tensor }> {
  const x = engine.upload(new Float32Array(size).fill(1), [size]);
  const y = engine.upload(new Float32Array(size), [size]);
  yield* engine.drain();
  return { x, y };
}

function allAre(values: Float32Array, value: number, context: string): void {
  const other = values.find((got) => got !== value);
  assert.is(other, undefined, `${context}: all ${value}`);
}

for (const threads of [2, 3]) {
  test(`${threads} threads: while the caller is away 1000 calls are carried out without it`, async () => {
    const engine = await Engine.create({ threads });
    await engine.run(function* () {
      const { x, y } = yield* pair(engine, 1 << 12);
      for (let i = 0; i < 1000; i++) engine.call(adds(y, x, i % 2 ? 256 : undefined));
      const { pointer, size } = y;
      const seen = () => new Float32Array(engine.apart.u8(pointer, 4 * size).buffer, pointer, size);
      const end = performance.now() + 20_000;
      while (seen()[size - 1] < 1000 && performance.now() < end);
      allAre(seen(), 1000, `${threads} threads`);
    });
    engine.dispose();
  });

  test(`${threads} threads: the caller does nearly all of 2000 calls' parts where it takes what it finds, and with others takes any share`, async () => {
    const engine = await Engine.create({ threads });
    const next = random(threads);
    for (const chance of [0, 0.1, 0.5, 1]) {
      let own = 0;
      const patch = (participant: Participant) => {
        if (next() >= chance) return false;
        const hasTaken = take.call(participant);
        if (hasTaken) own++;
        return hasTaken;
      };
      const values = await patched(patch, () =>
        engine.run(function* () {
          const { x, y } = yield* pair(engine, 1 << 13);
          for (let i = 0; i < 2000; i++) yield* engine.steps(adds(y, x, i % 3 ? 512 : undefined));
          yield* engine.drain();
          return engine.download(y);
        }),
      );
      allAre(values, 2000, `chance ${chance}`);
      assert.is(own > 0, chance > 0, `chance ${chance}: ${own} parts`);
    }
    engine.dispose();
  });
}

test('in a browser’s window the caller’s thread takes 0 parts and stays free', async () => {
  const host = globalThis as { document?: unknown };
  host.document = {};
  let takes = 0;
  try {
    const engine = await Engine.create({ threads: 2 });
    const patch = (participant: Participant) => {
      takes++;
      return take.call(participant);
    };
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const values = await patched(patch, () =>
      engine.run(function* () {
        const { x, y } = yield* pair(engine, 1 << 12);
        for (let i = 0; i < 3000; i++) yield* engine.steps(adds(y, x, 512));
        yield* engine.drain();
        for (let i = 0; i < 10; i++) engine.call(adds(y, x, 512));
        return engine.download(y);
      }),
    );
    clearInterval(timer);
    allAre(values, 3010, 'a window');
    assert.ok(turns > 0, 'and the event loop has its turns');
    assert.is(engine.threads, 2);
    engine.dispose();
  } finally {
    delete host.document;
  }
  assert.is(takes, 0);
});

test('the event loop has 5 turns and more in 200 ms in which the caller computes', async () => {
  const engine = await Engine.create({ threads: 2 });
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  await engine.run(function* () {
    const { x, y } = yield* pair(engine, 1 << 16);
    const end = performance.now() + 200;
    while (performance.now() < end) yield* engine.steps(adds(y, x, 1 << 12));
  });
  clearInterval(timer);
  assert.ok(ticks >= 5, `${ticks} ticks`);
  engine.dispose();
});

const beyond = 0x7fff0000;
const failing: KernelCall = { kernel: 'f32_add', args: [beyond, beyond, beyond, 64] };

/** The error of a run in which a kernel fails, and whether the caller's thread carried it out. */
async function failure(engine: Engine, mayTake: boolean): Promise<{ error: unknown; own: boolean }> {
  let own = false;
  const patch = (participant: Participant) => {
    if (!mayTake) return false;
    try {
      return take.call(participant);
    } catch (error) {
      own = true;
      throw error;
    }
  };
  const error = await patched(patch, () =>
    engine
      .run(function* () {
        engine.call(failing);
        yield* engine.drain();
      })
      .catch((reason: unknown) => reason),
  );
  return { error, own };
}

test('a kernel fails in the caller’s thread or in a worker: the same WorkerError, and the next run is none the worse (100 times)', async () => {
  const engine = await Engine.create({ threads: 2 });
  let ofCaller = 0;
  for (let i = 0; i < 100; i++) {
    // A worker that sleeps is slower than this thread.
    if (i % 2) await new Promise((resolve) => setTimeout(resolve, 2));
    const { error, own } = await failure(engine, i % 2 === 1);
    if (own) ofCaller++;
    assert.instance(error, WorkerError);
    const { what, where, got } = error as WorkerError;
    assert.equal([what, where], ['a kernel failed', 'threads']);
    assert.match(got!, /out of bounds/);
    const sum = await engine.run(function* () {
      const { x, y } = yield* pair(engine, 64);
      for (let n = 0; n < 5; n++) engine.call(adds(y, x, 16));
      yield* engine.drain();
      return engine.download(y);
    });
    allAre(sum, 5, `after failure ${i}`);
  }
  assert.ok(ofCaller > 0 && ofCaller <= 50, `${ofCaller} of 50 in the caller's thread`);
  engine.dispose();
});

test('an abort while the caller computes: what is left is passed over, and the next run is none the worse (20 moments)', async () => {
  const engine = await Engine.create({ threads: 2 });
  for (let i = 0; i < 20; i++) {
    const controller = new AbortController();
    const reason = new Error(`abort ${i}`);
    let written = 0;
    const run = engine.run(function* () {
      const { x, y } = yield* pair(engine, 1 << 16);
      for (; written < 1e6; written++) yield* engine.steps(adds(y, x, 1 << 12));
    }, controller.signal);
    setTimeout(() => controller.abort(reason), i);
    assert.is(await run.catch((error: unknown) => error), reason);
    assert.ok(written < 1e6, `${written} calls`);
    const sum = await engine.run(function* () {
      const { x, y } = yield* pair(engine, 1 << 12);
      for (let n = 0; n < 7; n++) engine.call(adds(y, x, 256));
      yield* engine.drain();
      return engine.download(y);
    });
    allAre(sum, 7, `after abort ${i}`);
  }
  engine.dispose();
});

for (const waits of [true, false]) {
  test(`a run that aborts itself ${waits ? 'while calls wait' : 'before it writes one'} sees nothing of what was passed over; one that asks no more has its result`, async () => {
    const engine = await Engine.create({ threads: 2 });
    const controller = new AbortController();
    const reason = new Error('enough');
    let isBeyond = false;
    const run = engine.run(function* () {
      const { x, y } = yield* pair(engine, 64);
      if (waits) for (let i = 0; i < 100; i++) engine.call(adds(y, x));
      controller.abort(reason);
      if (!waits) engine.call(adds(y, x));
      // A look from elsewhere meanwhile is none of the run's business.
      assert.is(engine.u8(x.pointer, 1).length, 1);
      yield* engine.drain();
      isBeyond = true;
    }, controller.signal);
    assert.is(await run.catch((error: unknown) => error), reason);
    assert.not(isBeyond);

    const late = new AbortController();
    const whole = engine.run(function* () {
      const { x, y } = yield* pair(engine, 64);
      engine.call(adds(y, x));
      yield* engine.drain();
      late.abort(reason);
      return engine.download(y);
    }, late.signal);
    allAre(await whole, 1, 'what was whole before the abort');
    engine.dispose();
  });
}

for (const threads of [2, 3, 4]) {
  test(`${CALLER_SOAK_RUNS} short runs on ${threads} threads, aborted and failing ones among them: each ends, with its sum`, async () => {
    const engine = await Engine.create({ threads });
    const next = random(31 + threads);
    const integer = (below: number) => Math.floor(next() * below);
    let ended = 0;
    for (let i = 0; i < CALLER_SOAK_RUNS; i++) {
      const calls = integer(next() < 0.05 ? 300 : 12);
      const controller = new AbortController();
      const kind = next();
      if (kind < 0.1) setTimeout(() => controller.abort(), integer(3));
      const run = engine.run(function* () {
        const { x, y } = yield* pair(engine, 256);
        for (let n = 0; n < calls; n++) {
          yield* engine.steps(adds(y, x, [256, 64, 16][integer(3)]));
          if (next() < 0.05) yield* engine.drain();
          if (next() < 0.02) engine.f32(y.pointer, 1);
          if (next() < 0.02) yield new Promise<void>((resolve) => setImmediate(resolve));
        }
        if (kind > 0.97) engine.call(failing);
        yield* engine.drain();
        return engine.download(y);
      }, controller.signal);
      try {
        allAre(await run, calls, `run ${i}`);
        assert.ok(kind <= 0.97, `run ${i} fails`);
      } catch (error) {
        if (kind > 0.97) assert.instance(error, WorkerError);
        else assert.is((error as Error).name, 'AbortError', String(error));
      }
      ended++;
    }
    assert.is(ended, CALLER_SOAK_RUNS);
    engine.dispose();
  });
}

test('a part is taken once, in order, and never of the call that a slot holds a round later (numbers up to 2^32)', () => {
  const ring = ringViews(ringBuffer());
  const axes = [{ size: 3, units: 5, step: 1, moves: [0, 4] }];
  const call: KernelCall = { kernel: 'f32_add', args: [0, 0, 0, 5], axes };
  for (const first of [0, 3 * SLOTS + 7, 2 ** 31 - SLOTS, 2 ** 31 - 1, 2 ** 32 - SLOTS, 2 ** 32 - 1]) {
    const number = first | 0;
    const later = (number + SLOTS) | 0;
    writeCall(ring, number, call, 0);
    assert.is(takePart(ring, later), -1);
    assert.is(takeRest(ring, later), 0);
    assert.equal([takePart(ring, number), takePart(ring, number)], [0, 1]);
    assert.is(takeRest(ring, number), 3);
    assert.is(takePart(ring, number), -1);
    assert.equal([putDone(ring, number, 1), putDone(ring, number, 3)], [false, false]);
    assert.is(putDone(ring, number, 1), true);
    writeCall(ring, later, call, 0);
    assert.is(takePart(ring, number), -1);
    assert.is(takeRest(ring, number), 0);
    assert.is(takePart(ring, later), 0);
  }
});

test.run();
