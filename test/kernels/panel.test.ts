import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { area, bits, checkGuards, ints, kernels, reset } from './harness.js';
import { DTYPES, type Dtype, decode, panels } from './panels.js';

const GATHER = {
  f32: kernels.f32_f32w_gather,
  bf16: kernels.f32_bf16w_gather,
  f16: kernels.f32_f16w_gather,
};

/** Bits that differ from element to element and have no special meaning in any of the dtypes. */
function pattern(dtype: Dtype, count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) =>
    dtype === 'f32' ? 0x3f000000 + i * 977 : (i * 37) % 0x7000,
  );
}

for (const dtype of DTYPES) {
  const size = dtype === 'f32' ? 4 : 2;
  const pack = dtype === 'f32' ? kernels.panel8_pack_32 : kernels.panel8_pack_16;

  test(`${dtype}: packing gives [K][8] with zeros for missing rows, strides and unaligned sources included`, () => {
    for (const rows of [1, 2, 3, 7, 8]) {
      for (const K of [1, 2, 3, 4, 5, 8, 9, 17, 131]) {
        for (const gap of [0, 3]) {
          reset();
          const ld = K + gap;
          const words = pattern(dtype, rows * ld);
          const source = area(rows * ld, 0, size);
          const out = area((K * 8 * size) / 4);
          const view = dtype === 'f32' ? source.u32 : source.u16;
          view.set(words);
          pack(out.ptr, source.ptr, rows, K, ld);
          checkGuards(`rows ${rows}, K ${K}`);
          const packed = dtype === 'f32' ? out.u32 : out.u16;
          for (let k = 0; k < K; k++) {
            for (let r = 0; r < 8; r++) {
              assert.is(
                packed[k * 8 + r],
                r < rows ? words[r * ld + k] : 0,
                `rows ${rows}, K ${K}, [${k}][${r}]`,
              );
            }
          }
        }
      }
    }
  });

  test(`${dtype}: gathering gives each row back exactly, in any order and twice`, () => {
    for (const [N, K] of [
      [1, 1],
      [8, 5],
      [19, 7],
      [27, 130],
    ] as const) {
      reset();
      const words = pattern(dtype, N * K);
      const ids = [N - 1, 0, N >> 1, 0, N - 1];
      const w = panels(dtype, { bits: words, values: new Float64Array(0) }, N, K);
      const out = area(ids.length * K);
      GATHER[dtype](out.ptr, w.ptr, ints(ids).ptr, ids.length, K);
      checkGuards(`N ${N}, K ${K}`);
      ids.forEach((id, i) => {
        for (let k = 0; k < K; k++)
          assert.is(out.f32[i * K + k], decode(dtype, words[id * K + k]!), `row ${id}`);
      });
    }
  });
}

for (const dtype of ['bf16', 'f16'] as const) {
  const unpack = dtype === 'bf16' ? kernels.f32_bf16_unpack : kernels.f32_f16_unpack;

  test(`${dtype}: all 65536 values widen exactly, subnormals, zeros, infinities and NaN included`, () => {
    for (const path of ['vector', 'scalar', 'gather'] as const) {
      reset();
      const source = area(32768);
      source.u16.forEach((_, i) => {
        source.u16[i] = i;
      });
      const out = area(65536);
      if (path === 'vector') unpack(out.ptr, source.ptr, 65536);
      else if (path === 'scalar')
        for (let i = 0; i < 65536; i++) unpack(out.ptr + 4 * i, source.ptr + 2 * i, 1);
      else GATHER[dtype](out.ptr, source.ptr, ints([0, 1, 2, 3, 4, 5, 6, 7]).ptr, 8, 8192);
      checkGuards(path);
      const words = bits(out.f32);
      for (let i = 0; i < 65536; i++) {
        // A gather of 8 rows of 8192 walks the patterns with a stride of 8.
        const at = path === 'gather' ? (i & 7) * 8192 + (i >> 3) : i;
        const want = decode(dtype, i);
        const label = `${path}, ${i.toString(16)}: expected ${want}, got ${out.f32[at]}`;
        assert.ok(Object.is(out.f32[at], want), label);
        assert.is(words[at]! >>> 31, i >>> 15, `${label}: sign`);
      }
    }
  });

  test(`${dtype}: widening any length from any 2-byte place`, () => {
    for (let n = 0; n <= 13; n++) {
      for (const offset of [0, 2, 6]) {
        reset();
        const source = area(8, 0, offset);
        for (let i = 0; i < 16; i++) source.u16[i] = 0x3c00 + i;
        const out = area(n);
        unpack(out.ptr, source.ptr, n);
        checkGuards(`n ${n}`);
        out.f32.forEach((value, i) => {
          assert.is(value, decode(dtype, 0x3c00 + i));
        });
      }
    }
  });
}

test('scales go into the records of a quantised panel and back, missing rows get 0, and a bad one is named', () => {
  for (const record of [272, 160]) {
    for (const rows of [1, 3, 8]) {
      for (const blocks of [1, 2, 5]) {
        reset();
        const words = Uint16Array.from({ length: rows * blocks }, (_, i) => 0x3c00 + 37 * i);
        const source = area((rows * blocks + 1) >> 1, 0, 2);
        const panel = area((blocks * record) / 4);
        const back = area((rows * blocks + 1) >> 1, 0, 2);
        source.u16.set(words);
        panel.u32.fill(0xffffffff);
        assert.is(kernels.panel8_put_scales(panel.ptr, source.ptr, rows, blocks, record), -1);
        kernels.panel8_take_scales(back.ptr, panel.ptr, rows, blocks, record);
        checkGuards(`rows ${rows}, blocks ${blocks}`);
        assert.equal([...back.u16.subarray(0, words.length)], [...words]);
        for (let block = 0; block < blocks; block++) {
          const bytes = new Uint8Array(panel.u32.buffer, panel.ptr + block * record, record);
          const head = new Uint16Array(panel.u32.buffer, panel.ptr + block * record, 8);
          for (let r = 0; r < 8; r++) assert.is(head[r], r < rows ? words[r * blocks + block] : 0);
          assert.ok(
            bytes.subarray(16).every((byte) => byte === 0xff),
            'the values stay',
          );
        }
        const last = rows * blocks - 1;
        for (const bad of [0x7f80, 0xff80, 0x7fc0]) {
          source.u16[last] = bad;
          assert.is(kernels.panel8_put_scales(panel.ptr, source.ptr, rows, blocks, record), last);
        }
      }
    }
  }
});

test.run();
