/**
 * What is still computed once a call is aborted, counted: the kernels' calls and multiply-adds between the abort and the
 * rejection. The clock is made to say that a turn of the event loop is due at every pause, so what is counted is one step, the
 * most that an abort ever waits for beside the 6 ms of a slice; it fails here on any machine, however fast.
 */
import '../support/kernel-calls.js';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { textIds, tile } from '../../bench/inputs.js';
import { quantizeCheckpoint } from '../../src/index.js';
import { WorkerPool } from '../../src/runtime/pool.js';
import { cutModel } from '../support/cut-model.js';
import { watchKernels } from '../support/kernel-calls.js';
import { countWork } from '../support/work.js';
import { STEP_CALLS, STEP_MACS } from '../tolerance.js';

/** It never goes back, for an engine remembers when its last turn was. */
let time = performance.now();

/** A turn is due at every look at the clock. */
async function withEveryTurn<T>(compute: () => Promise<T>): Promise<T> {
  const { now } = performance;
  time = Math.max(time, now.call(performance));
  performance.now = () => (time += 50);
  try {
    return await compute();
  } finally {
    performance.now = now;
  }
}

class Enough extends Error {}

/** Aborts at the n-th event and counts those that come after it. */
function trap(n: number) {
  const controller = new AbortController();
  const state = { seen: 0, after: 0, signal: controller.signal };
  const hear = () => {
    if (++state.seen === n) controller.abort(new Enough());
    else if (state.seen > n) state.after++;
  };
  return { state, hear };
}

async function isEnough(call: Promise<unknown>): Promise<boolean> {
  try {
    await call;
    return false;
  } catch (error) {
    if (!(error instanceof Enough)) throw error;
    return true;
  }
}

const { model, config } = await cutModel();
const prompt = { input_ids: textIds(config, 150), reuse_prefix: false };
const stages: Record<string, (signal?: AbortSignal) => Promise<unknown>> = {
  'encoding a tile': (signal) => model.get_image_features(tile(config), null, { signal }),
  'prefill of 150 tokens': (signal) => model.generate({ ...prompt, max_new_tokens: 1, signal }),
  'decoding 8 tokens': (signal) =>
    model.generate({ input_ids: textIds(config, 4), max_new_tokens: 8, min_new_tokens: 8, signal }),
};

for (const [name, call] of Object.entries(stages)) {
  test(`${name}: no kernel call has more than ${STEP_MACS / 1e6} million multiply-adds, a few milliseconds`, async () => {
    const { products, calls } = await countWork(() => call());
    const most = products.reduce((largest, { macs }) => Math.max(largest, macs), 0);
    assert.ok(calls.size > 5 && most > 0);
    assert.ok(most <= STEP_MACS, `${most / 1e6} million`);
  });

  test(`${name}: at most ${STEP_CALLS} kernel calls come after an abort, whenever it comes (6 moments)`, async () => {
    let all = 0;
    await watchKernels(
      () => all++,
      () => call(),
    );
    let cancelled = 0;
    for (let i = 0; i < 6; i++) {
      const { state, hear } = trap(1 + Math.floor((i * all) / 6));
      const ended = await withEveryTurn(() => watchKernels(hear, () => isEnough(call(state.signal))));
      if (ended) cancelled++;
      assert.ok(
        state.after <= STEP_CALLS,
        `${state.after} calls after the ${state.seen - state.after}th of ${all}`,
      );
    }
    assert.ok(cancelled >= 5, `${cancelled} of 6`);
  });
}

test(`with workers: at most ${STEP_CALLS} calls are written down after an abort, in each stage (6 moments)`, async () => {
  const pair = await cutModel({ threads: 2 });
  const { push } = WorkerPool.prototype;
  const each = {
    encoding: (signal?: AbortSignal) => pair.model.get_image_features(tile(config), null, { signal }),
    prefill: (signal?: AbortSignal) => pair.model.generate({ ...prompt, max_new_tokens: 1, signal }),
  };
  try {
    for (const [name, call] of Object.entries(each)) {
      const count = async (hear: () => void, compute: () => Promise<unknown>) => {
        WorkerPool.prototype.push = function (kernelCall) {
          push.call(this, kernelCall);
          hear();
        };
        return compute();
      };
      let all = 0;
      await count(
        () => all++,
        () => call(),
      );
      assert.ok(all > 20, `${name}: ${all} calls`);
      for (let i = 0; i < 6; i++) {
        const { state, hear } = trap(1 + Math.floor((i * all) / 6));
        await withEveryTurn(async () => count(hear, () => isEnough(call(state.signal))));
        assert.ok(
          state.after <= STEP_CALLS,
          `${name}: ${state.after} after the ${state.seen - state.after}th of ${all}`,
        );
      }
    }
  } finally {
    WorkerPool.prototype.push = push;
    pair.model.dispose();
  }
});

for (const dtype of ['bfloat16', 'int8', 'int4'] as const) {
  test(`loading as ${dtype}: what is packed after an abort is at most a piece of 1 MiB, whenever it comes (8 moments)`, async () => {
    let all = 0;
    await watchKernels(
      () => all++,
      async () => (await cutModel({ dtype })).model.dispose(),
    );
    // Panels of a piece: of the narrowest rows there are most.
    const panels = Math.ceil((1 << 20) / (8 * 2 * 576)) + STEP_CALLS;
    for (let i = 0; i < 8; i++) {
      const { state, hear } = trap(1 + Math.floor((i * all) / 8));
      const loading = () => cutModel({ dtype, signal: state.signal }).then(({ model }) => model.dispose());
      await withEveryTurn(() => watchKernels(hear, () => isEnough(loading())));
      assert.ok(state.after <= panels, `${state.after} of ${all} calls, at most ${panels}`);
    }
    assert.ok(all > 4 * panels, `${all} calls in all`);
  });
}

test('quantizeCheckpoint: what is packed after an abort is at most a piece of 1 MiB (6 moments)', async () => {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  await model.save_pretrained(files);
  const location = Object.fromEntries(files);
  const quantize = (signal?: AbortSignal) =>
    quantizeCheckpoint(location, new Map(), { dtype: 'int8', signal });
  let all = 0;
  await watchKernels(
    () => all++,
    () => quantize(),
  );
  const panels = Math.ceil((1 << 20) / (8 * 2 * 576)) + STEP_CALLS;
  let most = 0;
  for (let i = 0; i < 6; i++) {
    const { state, hear } = trap(1 + Math.floor((i * all) / 6));
    await withEveryTurn(() => watchKernels(hear, () => isEnough(quantize(state.signal))));
    most = Math.max(most, state.after);
  }
  assert.ok(all > 4 * panels, `${all} calls in all`);
  assert.ok(most <= panels, `${most} calls, at most ${panels}`);
});

test.after(() => model.dispose());
test.run();
