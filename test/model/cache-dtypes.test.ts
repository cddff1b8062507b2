/** A KV cache in half precision and in int8: what is written comes back as near as the dtype is. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type CacheDtype, KVCache } from '../../src/model/cache.js';
import { cacheFromTensors } from '../../src/model/cache-import.js';
import { Engine } from '../../src/runtime/engine.js';
import { PAGE_KEYS, pageBytes } from '../../src/runtime/pages.js';
import { normals } from '../kernels/harness.js';

const [layers, kvHeads, headDim] = [2, 3, 18];

/** The largest error relative to the row's largest size: half a step of bfloat16 of the value itself, of 127 steps. */
const LARGEST_ERROR: Record<CacheDtype, number> = { float32: 0, bfloat16: 2 ** -8, int8: 0.5001 / 127 };

for (const kv_cache_dtype of ['float32', 'bfloat16', 'int8'] as const) {
  const bound = LARGEST_ERROR[kv_cache_dtype];
  test(`${kv_cache_dtype}: keys and values come back within ${bound} of their row's largest, and so they go in again`, async () => {
    const engine = await Engine.create();
    const shape = { layers, kvHeads, headDim, kv_cache_dtype };
    const count = 150;
    const width = kvHeads * headDim;
    const [kData, vData] = [normals(count * width, 1, 3), normals(count * width, 2)];
    await engine.run(function* () {
      const cache = new KVCache(engine, shape, 1);
      assert.is(cache.dtype, kv_cache_dtype);
      const k = engine.upload(kData, [count, width]);
      const v = engine.upload(vData, [count, width]);
      const before = engine.heap.used;
      cache.reserve(0, count);
      const slab = Math.ceil((layers * kvHeads * pageBytes(headDim, kv_cache_dtype)) / 64) * 64;
      assert.is(engine.heap.used - before, 2 * slab);
      for (let layer = 0; layer < layers; layer++) {
        cache.write(layer, 0, k, v, 0, 131, 0);
        cache.write(layer, 0, k, v, 131, count - 131, 131);
      }
      cache.advance(
        0,
        Array.from({ length: count }, (_, i) => i),
      );
      cache.seen = count;
      const { keys, values } = cache.layer(1);
      let compared = 0;
      for (const [stored, source] of [
        [keys, kData],
        [values, vData],
      ] as const) {
        assert.equal(stored.dims, [1, kvHeads, count, headDim]);
        for (let head = 0; head < kvHeads; head++) {
          for (let key = 0; key < count; key++) {
            const at = key * width + head * headDim;
            const row = source.slice(at, at + headDim);
            const largest = Math.max(...row.map(Math.abs));
            row.forEach((want, d) => {
              const got = stored.data[(head * count + key) * headDim + d];
              const size = kv_cache_dtype === 'bfloat16' ? Math.abs(want) : largest;
              assert.ok(
                Math.abs(got - want) <= bound * size,
                `head ${head}, key ${key}, ${d}: expected ${want}, got ${got}`,
              );
              compared++;
            });
          }
        }
      }
      assert.is(compared, 2 * count * width);
      const again = cacheFromTensors(
        engine,
        shape,
        [0, 1].map((index) => cache.layer(index)),
      );
      const second = again.layer(1);
      if (kv_cache_dtype === 'int8') {
        const step = Math.max(
          ...second.keys.data.map((x, i) => Math.abs(x - keys.data[i]) / Math.max(1e-9, Math.abs(x))),
        );
        assert.ok(step < 2e-6, `a stored key changed by ${step} of itself`);
      } else {
        assert.equal(second, { keys, values });
      }
      again.dispose();
      cache.dispose();
      yield;
    });
    engine.dispose();
  });
}

test('bytes of a page of 128 keys, head dimension 64: 64 KiB, 32 KiB, 17 KiB, 33 KiB', () => {
  const sizes = (['float32', 'bfloat16', 'int8', 'int16'] as const).map(
    (dtype) => pageBytes(64, dtype) / 1024,
  );
  assert.equal(sizes, [64, 32, 17, 33]);
  assert.is(PAGE_KEYS, 128);
});

test.run();
