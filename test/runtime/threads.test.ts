/** Threads: the bits of one, whatever their number; the caller's thread stays free; nothing is left behind. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/folder.js';
import { fileSource } from '../../src/checkpoint/source.js';
import { DisposedError, InputError, MemoryError, WorkerError } from '../../src/errors.js';
import {
  AutoProcessor,
  SmolVLMConfig,
  SmolVLMForConditionalGeneration,
  SmolVLMVisionTransformer,
} from '../../src/index.js';
import { forward } from '../../src/model/forward.js';
import { logits } from '../../src/model/head.js';
import { loadModel } from '../../src/model/load.js';
import type { Model } from '../../src/model/model.js';
import { readOptions } from '../../src/modeling/options.js';
import { openGolden } from '../../src/parity/golden.js';
import { compareGolden, summarize } from '../../src/parity/parity.js';
import { kernelsModule } from '../../src/runtime/binaries.js';
import { type KernelCall, partArguments, partCount } from '../../src/runtime/call.js';
import { readPart, ringBuffer, ringViews, writeCall } from '../../src/runtime/command.js';
import { Engine } from '../../src/runtime/engine.js';
import { WorkerPool } from '../../src/runtime/pool.js';
import type { Steps } from '../../src/runtime/steps.js';
import { random } from '../kernels/harness.js';

const FOLDER = 'checkpoints/smolvlm-shapes';
const TOKENS = 150;

const { cases } = JSON.parse(readFileSync('test/goldens/cases.json', 'utf8')) as {
  cases: { name: string; golden: string }[];
};

async function open(options: Parameters<typeof readOptions>[0]): Promise<Model> {
  return loadModel(await openCheckpoint(FOLDER), readOptions(options));
}

/** A text and, in front of it, one picture: [B, S, vocab_size] bits. */
function run(model: Model, signal?: AbortSignal): Promise<Uint32Array> {
  const input_ids = { dims: [1, TOKENS], data: Int32Array.from({ length: TOKENS }, (_, i) => (i * 37) % 90) };
  const { num_channels, patch_size } = model.config.vision_config;
  const patches = 4 * model.config.scale_factor;
  const side = patches * patch_size;
  const size = num_channels * side ** 2;
  const next = random(7);
  const pixel_values = {
    dims: [1, 1, num_channels, side, side],
    data: Float32Array.from({ length: size }, () => 2 * next() - 1),
  };
  input_ids.data.fill(model.config.image_token_id, 2, 2 + 4 ** 2);
  return model.ops.engine.run(function* () {
    const result = yield* forward(model, { input_ids, pixel_values });
    result.past_key_values.dispose();
    const { data } = yield* logits(model, result.hidden, result.tokens);
    return new Uint32Array(data.buffer);
  }, signal);
}

for (const dtype of ['auto', 'int8', 'int4'] as const) {
  for (const kv_cache_dtype of ['float32', 'bfloat16', 'int8'] as const) {
    test(`${dtype}, KV cache ${kv_cache_dtype}: 2, 3 and 5 threads give the bits of one`, async () => {
      const bits: Uint32Array[] = [];
      for (const threads of [1, 2, 3, 5]) {
        const options = { dtype, kv_cache_dtype, threads, image_cache_bytes: 0, prefix_cache_bytes: 0 };
        const model = await open(options);
        assert.is(model.ops.engine.threads, threads);
        bits.push(await run(model));
        model.ops.engine.dispose();
      }
      assert.ok(new Set(bits[0]).size > 1000, 'the logits differ among themselves');
      for (const other of bits.slice(1)) assert.equal(other, bits[0]);
    });
  }
}

for (const { name, golden: file } of cases.slice(0, 6)) {
  test(`golden ${name}: holds with 2 and 3 threads, taps on and off`, async () => {
    for (const threads of [2, 3]) {
      const golden = await openGolden(await fileSource(`test/goldens/${name}/${file}`));
      const model = await loadModel(await openCheckpoint(`test/goldens/${name}`), { threads });
      const report = await compareGolden(model, golden);
      assert.equal(
        summarize(report).failures.map(({ name, detail }) => `${name}: ${detail}`),
        [],
      );
      assert.ok(report.sameBits, 'the logits have the same bits with and without taps');
      model.ops.engine.dispose();
      await golden.file.close();
    }
  });
}

test('an abort ends a run with the signal’s reason, and the next run has its bits', async () => {
  const model = await open({ threads: 2, image_cache_bytes: 0 });
  const want = await run(model);
  for (let i = 0; i < 10; i++) {
    const controller = new AbortController();
    const reason = new Error(`stop ${i}`);
    const result = run(model, controller.signal);
    setTimeout(() => controller.abort(reason), i);
    try {
      assert.equal(await result, want);
    } catch (error) {
      assert.is(error, reason);
    }
  }
  assert.equal(await run(model), want);
  model.ops.engine.dispose();
});

test('a kernel that fails in a worker rejects the run, each of 50 times, and the next run is none the worse', async () => {
  const engine = await Engine.create({ threads: 2 });
  const beyond = 0x7fff0000;
  const fail = () =>
    engine.run(function* (): Steps<void> {
      engine.call({ kernel: 'f32_add', args: [beyond, beyond, beyond, 64] });
      yield;
    });
  for (let i = 0; i < 50; i++) {
    const error = await fail().then(
      () => assert.unreachable(`run ${i}`),
      (reason: unknown) => reason,
    );
    assert.instance(error, WorkerError);
    assert.is((error as WorkerError).what, 'a kernel failed');
    assert.match((error as WorkerError).got!, /out of bounds/);
  }
  const sum = await engine.run(function* () {
    const x = engine.upload([1, 2, 3, 4], [4]);
    engine.call({ kernel: 'f32_add', args: [x.pointer, x.pointer, x.pointer, 4] });
    yield* engine.drain();
    return engine.download(x);
  });
  assert.equal([...sum], [2, 4, 6, 8]);
  engine.dispose();
});

test('dispose in the middle of a run: DisposedError, from it and from what comes after', async () => {
  const model = await open({ threads: 2, image_cache_bytes: 0 });
  await run(model);
  // One after the other: a machine may be quick enough to end the first.
  const running = Array.from({ length: 5 }, () => run(model).catch((error: unknown) => error));
  await new Promise((resolve) => setTimeout(resolve, 2));
  model.ops.engine.dispose();
  for (const ended of [running.at(-1), run(model).catch((error: unknown) => error)]) {
    const error = await ended;
    assert.instance(error, DisposedError);
    assert.match(String(error), /disposed of/);
  }
});

test('dispose while the workers start: the run ends with DisposedError, and no worker is left', async () => {
  for (let wait = 0; wait < 6; wait++) {
    const engine = await Engine.create({ threads: 3 });
    const running = engine.run(function* () {
      for (;;) yield;
    });
    for (let i = 0; i < wait; i++) await new Promise((resolve) => setTimeout(resolve, wait));
    engine.dispose();
    try {
      await running;
      assert.unreachable();
    } catch (error) {
      assert.instance(error, DisposedError);
      assert.match(String(error), /disposed of/);
    }
  }
});

test('no call waits blocking, 0 times: every output of forward, taps, embeddings without ids, generate, several at once', async () => {
  const { finish } = WorkerPool.prototype;
  let blocking = 0;
  WorkerPool.prototype.finish = function () {
    if (this.pending > 0) blocking++;
    finish.call(this);
  };
  try {
    const processor = await AutoProcessor.from_pretrained(FOLDER);
    const image = new Uint8Array(readFileSync('examples/pictures/shapes-on-checks.jpg'));
    const content = [{ type: 'image' as const, image }];
    const inputs = await processor.apply_chat_template([{ role: 'user', content }], {
      add_generation_prompt: true,
      tokenize: true,
    });
    const model = await SmolVLMForConditionalGeneration.from_pretrained(FOLDER, { threads: 2 });
    await model.forward({ ...inputs });
    for (const more of [{}, { do_sample: true, top_p: 0.9 }, { num_beams: 2 }])
      await model.generate({ ...inputs, max_new_tokens: 12, ...more });
    let taps = 0;
    const every = { output_hidden_states: true, output_attentions: true };
    const output = await model.forward({ ...inputs, ...every, tap: () => taps++ });
    assert.ok(output.hidden_states!.length > 1 && output.attentions!.length > 1 && taps > 50);
    const { weight } = await model.get_input_embeddings();
    const width = weight.dims[1];
    const ids = inputs.input_ids.data;
    const rows = Float32Array.from({ length: ids.length * width }, (_, i) => {
      return weight.data[Number(ids[Math.floor(i / width)]) * width + (i % width)];
    });
    const inputs_embeds = { dims: [1, ids.length, width], data: rows };
    const { input_ids: _ids, ...pictures } = inputs;
    const again = await model.forward({ ...pictures, inputs_embeds });
    assert.equal(again.logits.data, output.logits.data);
    const tower = await SmolVLMVisionTransformer.from_pretrained(FOLDER, { threads: 2 });
    const { dims, data } = inputs.pixel_values!;
    const tile = { dims: [1, ...dims.slice(2)], data: data.subarray(0, data.length / dims[1]) };
    const seen = await tower.forward({ pixel_values: tile, ...every });
    assert.ok(seen.hidden_states!.length > 1 && seen.attentions!.length > 1);
    tower.dispose();
    // While one call is under way, the scores of another must not wait for it.
    await Promise.all([
      model.generate({ ...inputs, max_new_tokens: 8, do_sample: true, top_p: 0.9, reuse_prefix: false }),
      model.generate({ ...inputs, max_new_tokens: 8, num_beams: 2, reuse_prefix: false }),
      model.forward({ ...inputs }),
      model.forward({ ...inputs }),
    ]);
    assert.is(model.threads, 2);
    model.dispose();
  } finally {
    WorkerPool.prototype.finish = finish;
  }
  assert.is(blocking, 0);
});

test('more calls than the ring has slots are carried out in order', async () => {
  const engine = await Engine.create({ threads: 2 });
  const count = 10_000;
  const sum = await engine.run(function* () {
    const x = engine.upload([1], [1]);
    const y = engine.upload([0], [1]);
    for (let i = 0; i < count; i++)
      engine.call({ kernel: 'f32_add', args: [y.pointer, y.pointer, x.pointer, 1] });
    yield* engine.drain();
    return engine.download(y);
  });
  assert.is(sum[0], count);
  engine.dispose();
});

for (const [name, text] of [
  ['that is disposed of', 'engine.dispose();'],
  ['that is left as it is', ''],
]) {
  test(`an engine ${name} keeps no process alive`, () => {
    const script = `
      const { Engine } = await import('./build/src/runtime/engine.js');
      const engine = await Engine.create({ threads: 3 });
      await engine.run(function* () { engine.upload([1], [1]); });
      ${text}
      console.log('done');`;
    const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
      timeout: 60_000,
    });
    assert.is(status, 0);
    assert.is(stdout.trim(), 'done');
  });
}

test('workers of an engine that nobody holds end when it is collected (30 engines of 2, at most 12 workers left)', () => {
  const script = `
    const { readdirSync } = await import('node:fs');
    const { Engine } = await import('./build/src/runtime/engine.js');
    const before = readdirSync('/proc/self/task').length;
    const one = async () => {
      const engine = await Engine.create({ threads: 2, maximumBytes: 64 << 20 });
      await engine.run(function* () { engine.upload([1], [1]); });
    };
    for (let i = 0; i < 30; i++) {
      await one();
      gc();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    console.log(readdirSync('/proc/self/task').length - before);`;
  const args = ['--expose-gc', '--input-type=module', '-e', script];
  if (process.platform !== 'linux') return assert.ok(true, 'threads are counted under Linux');
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 });
  assert.is(status, 0, stderr);
  assert.ok(Number(stdout) <= 12, stdout);
});

for (const threads of [0, -1, 1.5, 65, Number.NaN, '2' as never]) {
  test(`threads: ${JSON.stringify(threads)} is an InputError`, async () => {
    try {
      await Engine.create({ threads });
      assert.unreachable();
    } catch (error) {
      assert.instance(error, InputError);
      assert.match(String(error), /threads/);
      assert.match(String(error), /expected 'auto' or 1 … 64/);
      assert.match(String(error), new RegExp(`got ${String(threads)}`));
    }
  });
}

test('a module that is compiled already: one thread, its own build, nothing else', async () => {
  const module = await kernelsModule(false, false);
  for (const threads of [1, 'auto', undefined] as const) {
    const engine = await Engine.create({ module, threads, relaxed: 'auto' });
    assert.is(engine.threads, 1);
    assert.is(engine.relaxed, false);
    engine.dispose();
  }
  for (const [options, expected] of [
    [{ threads: 2 }, /one thread \(threads\): expected 1 or 'auto', got 2/],
    [
      { relaxed: true },
      /another build \(module\): expected kernels-relaxed\.wasm, or relaxed: false, got the build without/,
    ],
  ] as const) {
    try {
      await Engine.create({ module, ...options });
      assert.unreachable();
    } catch (error) {
      assert.instance(error, InputError);
      assert.match(String(error), expected);
    }
  }
});

test('where nothing is said a model of 8 million weights takes all threads, a smaller one takes one', async () => {
  const { availableParallelism } = await import('node:os');
  const small = await SmolVLMForConditionalGeneration.from_pretrained(FOLDER);
  assert.is(small.threads, 1);
  small.dispose();
  const asked = await SmolVLMForConditionalGeneration.from_pretrained(FOLDER, { threads: 'auto' });
  assert.is(asked.threads, Math.min(64, availableParallelism()));
  asked.dispose();
  const { text_config, vision_config, ...config } = asked.config.to_dict() as Record<string, object>;
  const large = new SmolVLMForConditionalGeneration(
    new SmolVLMConfig({
      ...config,
      vision_config,
      text_config: { ...text_config, vocab_size: Math.ceil(8e6 / asked.config.text_config.hidden_size) },
    }),
  );
  await large.ready();
  assert.ok((await large.num_parameters()) >= 8e6);
  assert.is(large.threads, Math.min(64, availableParallelism()));
  large.dispose();
});

test('maximumBytes bounds shared memory too: MemoryError with the limit', async () => {
  const maximumBytes = 80 << 20;
  const engine = await Engine.create({ threads: 2, maximumBytes });
  try {
    engine.allocateWeights(maximumBytes);
    assert.unreachable();
  } catch (error) {
    assert.instance(error, MemoryError);
    assert.match(String(error), /weights.*expected at most 83886080 bytes in all.*got 83886080 bytes more/);
  }
  engine.dispose();
});

test("threads: 'auto' takes as many as the host runs at once", async () => {
  const engine = await Engine.create({ threads: 'auto' });
  const { availableParallelism } = await import('node:os');
  assert.is(engine.threads, Math.min(64, availableParallelism()));
  engine.dispose();
});

test('parts of a call: a ring’s slot gives the arguments of each part as the call itself does (300 random calls)', () => {
  const ring = ringViews(ringBuffer());
  const next = random(11);
  const integer = (below: number) => Math.floor(next() * below);
  let parts = 0;
  for (let i = 0; i < 300; i++) {
    const axes = Array.from({ length: integer(4) }, () => {
      const units = 1 + integer(40);
      const moves = Array.from({ length: integer(4) }, () => [integer(8), integer(1000)]).flat();
      return { size: integer(9) - 1, units, step: 1 + integer(units), moves };
    });
    const args = Array.from({ length: 8 }, (_, arg) => (arg === 5 ? next() : integer(1e9)));
    const call: KernelCall = { kernel: 'f32_add', args, axes, scratch: { arg: 7, bytes: 4096 } };
    writeCall(ring, i, call, 3);
    for (let part = 0; part < partCount(call); part++, parts++) {
      const [want, got]: number[][] = [[], []];
      partArguments(call, part, want);
      readPart(ring, i, part, 0, got);
      assert.equal(got, want);
      readPart(ring, i, part, 2, got);
      assert.is(got[7], want[7] + 2 * 4096);
    }
  }
  assert.ok(parts > 3000);
});

test.run();
