/** A worker that ends by itself: everybody who waits gets a typed error, at once, and nothing is left behind. */
import { syncBuiltinESMExports } from 'node:module';
import threads, { Worker } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WorkerError } from '../../src/errors.js';
import { SmolVLMForConditionalGeneration } from '../../src/index.js';
import type { KernelCall } from '../../src/runtime/call.js';
import { Engine } from '../../src/runtime/engine.js';
import type { Steps } from '../../src/runtime/steps.js';
import type { Tensor } from '../../src/runtime/tensor.js';

/** Every worker that is started from now on. */
const workers: Worker[] = [];
threads.Worker = class extends Worker {
  constructor(...args: ConstructorParameters<typeof Worker>) {
    super(...args);
    workers.push(this);
  }
};
syncBuiltinESMExports();

/** A call that threads share, of a few hundred microseconds. */
const gelu = ({ pointer, size }: Tensor): KernelCall => ({
  kernel: 'f32_gelu_tanh',
  args: [pointer, pointer, size],
  axes: [{ size: 2, units: size, step: 1 << 14, moves: [0, 4, 1, 4] }],
});

function* busy(engine: Engine, calls: number): Steps<void> {
  const x = engine.tensor(256, 1024);
  for (let i = 0; i < calls; i++) yield* engine.steps(gelu(x));
}

/** Two workers beside the thread that asks. */
async function started(): Promise<{ engine: Engine; pair: Worker[] }> {
  workers.length = 0;
  const engine = await Engine.create({ threads: 3 });
  await engine.run(() => busy(engine, 1));
  assert.is(workers.length, 2);
  return { engine, pair: [...workers] };
}

async function fails(compute: () => Promise<unknown>): Promise<WorkerError> {
  try {
    await compute();
  } catch (error) {
    assert.instance(error, WorkerError, String(error));
    return error as WorkerError;
  }
  throw new Error('no error');
}

const exited = (worker: Worker) =>
  worker.threadId === -1 ? undefined : new Promise((resolve) => worker.once('exit', resolve));

for (const index of [0, 1]) {
  test(`worker ${index} of 2 ends in the middle of a run: WorkerError, from it and from what comes after; no worker is left`, async () => {
    const { engine, pair } = await started();
    const running = engine.run(() => busy(engine, 100_000));
    setTimeout(() => void pair[index].terminate(), 20);
    const error = await fails(() => running);
    assert.is(error.what, 'a worker thread ended');
    assert.is(error.where, 'threads');
    assert.match(error.got!, /exited with code 1/);
    await fails(() => engine.run(() => busy(engine, 1)));
    await Promise.all(pair.map(exited));
    assert.equal(
      pair.map(({ threadId }) => threadId),
      [-1, -1],
    );
    engine.dispose();
  });
}

test('a worker ends while nobody computes: the next call is a WorkerError, not a wait', async () => {
  const { engine, pair } = await started();
  await pair[1].terminate();
  const error = await fails(() => engine.run(() => busy(engine, 1)));
  assert.is(error.expected, 'one that lives as long as the model');
  engine.dispose();
});

test('a blocking wait for the part of a worker that ended gives up after 300 looks without progress', async () => {
  const { engine, pair } = await started();
  const { wait } = Atomics;
  let waits = 0;
  const error = await fails(() =>
    engine.run(function* () {
      // One part of seconds, which a worker takes at once. Its end is not heard of, for the event loop has no turn.
      const x = engine.tensor(1 << 25);
      engine.call({ ...gelu(x), axes: [] });
      for (const end = performance.now() + 20; performance.now() < end; );
      for (const worker of pair) void worker.terminate();
      Atomics.wait = ((array: Int32Array, at: number, value: number, limit: number) => {
        waits++;
        return wait(array, at, value, Math.min(limit, 2));
      }) as typeof wait;
      try {
        engine.f32(0, 1);
      } finally {
        Atomics.wait = wait;
      }
    }),
  );
  assert.match(error.got!, /no call was done for five minutes/);
  assert.ok(waits >= 300 && waits < 1000, `${waits} waits`);
  engine.dispose();
});

test('a model whose worker ended rejects generate with WorkerError, and dispose() still works', async () => {
  workers.length = 0;
  const model = await SmolVLMForConditionalGeneration.from_pretrained('checkpoints/smolvlm-shapes', {
    threads: 2,
  });
  const input_ids = { dims: [1, 3], data: Int32Array.of(5, 6, 7) };
  await model.generate({ input_ids, max_new_tokens: 1 });
  const running = model.generate({ input_ids, max_new_tokens: 400, min_new_tokens: 400 });
  setTimeout(() => void workers[0].terminate(), 10);
  await fails(() => running);
  await fails(() => model.generate({ input_ids, max_new_tokens: 1 }));
  model.dispose();
  assert.is(model.memory, 0);
});

test.run();
