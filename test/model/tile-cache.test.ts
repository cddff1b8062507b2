/** Tiles of one content are encoded once, in a call and across calls, and their states are those of a fresh run. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/folder.js';
import { imageStates } from '../../src/model/forward.js';
import { loadModel } from '../../src/model/load.js';
import type { Model } from '../../src/model/model.js';
import { type TapListener, Taps } from '../../src/model/taps.js';
import type { HostTensor } from '../../src/runtime/tensor.js';
import { normals } from '../kernels/harness.js';

const CHECKPOINT = 'test/goldens/batch-0123-images';
const load = async (options = {}) => loadModel(await openCheckpoint(CHECKPOINT), options);
const model = await load();
const { num_channels: channels, image_size: side } = model.config.vision_config;
const size = channels * side * side;
const slots = new Map<number, Float32Array>();

/** Pictures [1, N, C, H, W] of these contents; 0 is a padding image. */
function pictures(...contents: number[]): HostTensor<Float32Array> {
  const data = new Float32Array(contents.length * size);
  for (const [i, content] of contents.entries()) {
    if (content === 0) continue;
    if (!slots.has(content)) slots.set(content, normals(size, content));
    data.set(slots.get(content)!, i * size);
  }
  return { dims: [1, contents.length, channels, side, side], data };
}

/** A mask that hides the last column of patches in some of the pictures. */
function masked(...hides: boolean[]): HostTensor<Uint8Array> {
  const data = new Uint8Array(hides.length * side * side).fill(1);
  const { patch_size } = model.config.vision_config;
  for (let i = 0; i < data.length; i++) {
    if (hides[Math.floor(i / side ** 2)] && i % side >= side - patch_size) data[i] = 0;
  }
  return { dims: [1, hides.length, side, side], data };
}

type Inputs = Parameters<typeof imageStates>[1];

function encode(
  { ops, ...rest }: Model,
  inputs: Inputs,
  options: { tap?: TapListener; position_dtype?: 'float32' | 'bfloat16' } = {},
): Promise<Uint32Array> {
  const { engine } = ops;
  const taps = options.tap && new Taps(engine, options.tap);
  const { position_dtype } = options;
  return engine.run(function* () {
    const images = yield* imageStates({ ops, ...rest }, inputs, { taps, position_dtype });
    return new Uint32Array(engine.download(images!.states).buffer);
  });
}

/** What a model that keeps nothing makes of each picture alone. */
const none = await load({ image_cache_bytes: 0 });
async function alone(contents: number[], mask?: (i: number) => HostTensor): Promise<Uint32Array> {
  const parts: number[] = [];
  for (const [i, content] of contents.entries()) {
    if (content === 0) continue;
    const inputs = { pixel_values: pictures(content), pixel_attention_mask: mask?.(i) };
    for (const word of await encode(none, inputs)) parts.push(word);
  }
  return Uint32Array.from(parts);
}

/** How many tiles a computation encoded. */
async function encoded(compute: () => Promise<unknown>): Promise<number> {
  const before = model.tiles.misses;
  await compute();
  return model.tiles.misses - before;
}

test('a tile that stands several times in a call is encoded once, also where nothing is kept between calls', async () => {
  const contents = [1, 2, 1, 0, 1, 3, 2];
  const want = await alone(contents);
  for (const cache of [none, model]) {
    const before = cache.tiles.misses;
    assert.equal(await encode(cache, { pixel_values: pictures(...contents) }), want);
    assert.is(cache.tiles.misses - before, 3);
  }
  assert.is(none.tiles.bytes, 0);
});

test('a tile of an earlier call is not encoded again', async () => {
  model.tiles.clear();
  assert.is(await encoded(() => encode(model, { pixel_values: pictures(4, 5) })), 2);
  const hits = model.tiles.hits;
  const want = await alone([5, 6, 4]);
  assert.is(
    await encoded(async () => {
      assert.equal(await encode(model, { pixel_values: pictures(5, 6, 4) }), want);
    }),
    1,
  );
  assert.is(model.tiles.hits - hits, 2);
});

test('with taps every tile is encoded, and the states have the same bits', async () => {
  const contents = [7, 7, 8];
  const want = await encode(model, { pixel_values: pictures(...contents) });
  const seen: string[] = [];
  const tap: TapListener = (name, { dims }) => seen.push(`${name} ${dims[0]}`);
  assert.is(
    await encoded(async () => {
      assert.equal(await encode(model, { pixel_values: pictures(...contents) }, { tap }), want);
    }),
    3,
  );
  assert.ok(seen.includes('model.connector 3'), String(seen));
});

test('one pixel, the mask of the patches, the dtype of the position ids: each makes another tile', async () => {
  model.tiles.clear();
  const states: Uint32Array[] = [];
  const again: (() => Promise<Uint32Array>)[] = [];
  const changed = pictures(9);
  changed.data[size - 1]! += 2 ** -20;
  for (const [inputs, position_dtype] of [
    [{ pixel_values: pictures(9) }, 'float32'],
    [{ pixel_values: pictures(9) }, 'bfloat16'],
    [{ pixel_values: pictures(9), pixel_attention_mask: masked(true) }, 'float32'],
    [{ pixel_values: changed }, 'float32'],
  ] as const) {
    const compute = (on: Model) => encode(on, inputs, { position_dtype });
    assert.is(await encoded(async () => states.push(await compute(model))), 1);
    assert.equal(states.at(-1), await compute(none));
    again.push(() => compute(model));
  }
  for (const [i, compute] of again.entries()) {
    assert.is(await encoded(async () => assert.equal(await compute(), states[i])), 0);
  }
  // A mask that hides nothing is as good as none.
  const whole = { pixel_values: pictures(9), pixel_attention_mask: masked(false) };
  assert.is(await encoded(() => encode(model, whole, { position_dtype: 'float32' })), 0);
});

test('the limit in bytes holds; what was not used for longest goes first', async () => {
  const { tiles, ops } = model;
  const used = () => ops.engine.heap.used - ops.engine.activations.bytes;
  tiles.clear();
  const before = used();
  await encode(model, { pixel_values: pictures(11) });
  const tile = tiles.bytes;
  assert.is(used() - before, tile);
  tiles.limit = 3 * tile;
  await encode(model, { pixel_values: pictures(12, 13) });
  await encode(model, { pixel_values: pictures(11) });
  await encode(model, { pixel_values: pictures(14) });
  assert.equal([tiles.size, tiles.bytes, used() - before], [3, 3 * tile, 3 * tile]);
  assert.is(await encoded(() => encode(model, { pixel_values: pictures(14, 11, 13) })), 0);
  assert.is(await encoded(() => encode(model, { pixel_values: pictures(12) })), 1);
  tiles.limit = 0;
  tiles.clear();
  await encode(model, { pixel_values: pictures(11) });
  assert.equal([tiles.size, tiles.bytes, used() - before], [0, 0, 0]);
});

test.after(() => {
  model.ops.engine.dispose();
  none.ops.engine.dispose();
});
test.run();
