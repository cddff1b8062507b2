import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { QUANTISED_SEARCH_LOSS } from '../tolerance.js';
import { type Area, area, checkGuards, kernels, normals, random, reset } from './harness.js';
import { DTYPES, type Dtype, encode, stored } from './panels.js';
import {
  BLOCKS,
  bf16Value,
  dequantise,
  fileBytes,
  PACK,
  packed,
  panelArea,
  type QuantisedBits,
  type QuantisedRow,
  quantisedPanels,
  quantiseRow,
  RECORD_BYTES,
} from './quantised.js';

const REPACK = { 8: kernels.i8_repack, 4: kernels.i4_repack };
const UNPACK = { 8: kernels.i8_unpack_rows, 4: kernels.i4_unpack_rows };
const BITS: QuantisedBits[] = [8, 4];
/** Magnitudes from this power of two up have no place. */
const LIMIT = { 8: 127, 4: 126 };
const SIZES = [1, 2, 3, 4, 5, 7, 8, 31, 32, 33, 63, 64, 65, 70, 131];

/** Student's t with 3 degrees of freedom, as trained weights have outliers. */
function heavy(n: number, seed: number): Float32Array {
  const x = normals(n, seed);
  const [a, b, c] = [1, 2, 3].map((i) => normals(n, seed + 1000 * i));
  return x.map((value, i) => value / Math.sqrt((a![i]! ** 2 + b![i]! ** 2 + c![i]! ** 2) / 3 + 1e-6));
}

/** Rows of what weights are like and of what they are not. */
function sample(count: number, seed: number): Float32Array {
  const next = random(seed);
  const values = seed % 2 ? normals(count, seed, 0.02) : heavy(count, seed);
  if (seed % 5 === 3) return values.map(() => (next() < 0.9 ? 0 : next() - 0.5));
  if (seed % 5 === 4) return values.map(() => (next() < 0.5 ? -0.375 : 0.375));
  return values;
}

/** Values of a dtype in memory, `gap` elements between rows, not aligned beyond their size. */
function source(dtype: Dtype, words: Uint32Array, rows: number, K: number, gap: number): Area {
  const size = dtype === 'f32' ? 4 : 2;
  const out = area((rows * (K + gap) * size) / 4 + 1, 0, size);
  const view = dtype === 'f32' ? out.u32 : out.u16;
  view.fill(encode(dtype, Number.NaN));
  for (let r = 0; r < rows; r++) view.set(words.subarray(r * K, (r + 1) * K), r * (K + gap));
  return out;
}

for (const bits of BITS) {
  for (const dtype of DTYPES) {
    test(`int${bits} from ${dtype}: the panels of the model in TypeScript, bit for bit`, () => {
      let compared = 0;
      for (const rows of [1, 2, 3, 4, 5, 7, 8]) {
        for (const K of SIZES) {
          reset();
          const gap = (rows + K) % 2 ? 3 : 0;
          const { bits: words, values } = stored(dtype, sample(rows * K, rows * 100 + K));
          const src = source(dtype, words, rows, K, gap);
          const out = panelArea(bits, K);
          const context = `rows ${rows}, K ${K}`;
          assert.is(PACK[bits][dtype](out.ptr, src.ptr, rows, K, K + gap), -1, context);
          const want = quantisedPanels(bits, rowsOf(bits, values, K));
          checkGuards(context);
          samePanel(out, want, context);
          compared += out.u32.length;
        }
      }
      assert.ok(compared > 1000, String(compared));
    });
  }

  test(`int${bits}: panels come back from a file's rows with the same bits`, () => {
    for (const rows of [1, 3, 4, 5, 8]) {
      for (const K of SIZES) {
        reset();
        const blocks = Math.ceil(K / BLOCKS[bits]);
        const quantised = rowsOf(bits, Float64Array.from(sample(rows * K, rows * 100 + K)), K);
        const panel = quantisedPanels(bits, quantised);
        const stride = bits === 8 ? K : (K + 1) >> 1;
        // One byte off any alignment, as a row of a file may be.
        const q = area(Math.ceil((rows * stride + 1) / 4), 0).ptr + 1;
        UNPACK[bits](q, panel.ptr, rows, K);
        const heads = (bits === 8 ? [0] : [0, 16]).map((place) => {
          const head = area(Math.ceil((rows * blocks) / 2) + 1, 0, 2);
          kernels.panel8_take_scales(head.ptr, panel.ptr + place, rows, blocks, RECORD_BYTES[bits]);
          return { place, head };
        });
        const context = `rows ${rows}, K ${K}`;
        checkGuards(context);
        const bytes = new Uint8Array(panel.u32.buffer, q, rows * stride);
        quantised.forEach((row, r) => {
          const got = bytes.slice(r * stride, (r + 1) * stride);
          assert.equal(got, fileBytes(bits, row, K), `${context}: row ${r}`);
          for (const { place, head } of heads) {
            const want = place === 0 ? row.scales : row.minimums;
            assert.equal(head.u16.slice(r * blocks, (r + 1) * blocks), want, `${context}: head ${place}`);
          }
        });
        const out = panelArea(bits, K);
        for (const { place, head } of heads) {
          kernels.panel8_put_scales(out.ptr + place, head.ptr, rows, blocks, RECORD_BYTES[bits]);
        }
        assert.is(REPACK[bits](out.ptr, q, rows, K), -1, context);
        checkGuards(context);
        samePanel(out, panel, context);
      }
    }
  });

  test(`int${bits}: no weight is off by more than half a scale, unless 4 bits clip it`, () => {
    for (const values of [normals(4096, 5, 0.03), heavy(4096, 6)]) {
      const row = packed(bits, values);
      const back = dequantise(row, values.length);
      let clipped = 0;
      values.forEach((w, k) => {
        const scale = bf16Value(row.scales[Math.floor(k / BLOCKS[bits])]!);
        if (bits === 4 && (row.q[k] === 15 || row.q[k] === 0)) clipped++;
        // The quotient is rounded, so a value between two levels may go either way.
        else assert.ok(Math.abs(back[k]! - w) <= scale * 0.50001, `k ${k}: ${w} became ${back[k]}`);
      });
      assert.ok(bits === 8 || (clipped > 64 && clipped < 1024), String(clipped));
    }
  });

  test(`int${bits}: rms error within ${QUANTISED_SEARCH_LOSS[bits]} of the best ${bits === 8 ? 'of all bfloat16 scales' : 'of 800 ranges'}`, () => {
    for (const values of [normals(8192, 7, 0.05), heavy(8192, 8)]) {
      const back = dequantise(packed(bits, values), values.length);
      let got = 0;
      let best = 0;
      for (let k = 0; k < values.length; k += BLOCKS[bits]) {
        const block = values.subarray(k, k + BLOCKS[bits]);
        got += block.reduce((sum, w, i) => sum + (w - back[k + i]!) ** 2, 0);
        best += exhaustive(bits, block);
      }
      const ratio = Math.sqrt(got / best);
      assert.ok(ratio >= 1 - 1e-6 && ratio <= 1 + QUANTISED_SEARCH_LOSS[bits], `ratio ${ratio}`);
    }
  });

  test(`int${bits}: a block times a power of two has the same q, and its scale times that`, () => {
    const values = normals(256, 9);
    const plain = packed(bits, values);
    for (const power of [-90, -30, 1, 60, 123]) {
      const scaled = packed(
        bits,
        values.map((w) => w * 2 ** power),
      );
      assert.equal(scaled.q, plain.q, `2^${power}`);
      plain.scales.forEach((scale, b) => {
        assert.is(bf16Value(scaled.scales[b]!), bf16Value(scale) * 2 ** power, `2^${power}`);
        const minimum = bf16Value(plain.minimums[b]!) * 2 ** power;
        assert.is(bf16Value(scaled.minimums[b]!), minimum, `2^${power}`);
      });
    }
  });

  test(`int${bits}: zeros, magnitudes under 2^-100 and those just below 2^${LIMIT[bits]}`, () => {
    const edge = 2 ** -100;
    const most = 2 ** LIMIT[bits] * (1 - 2 ** -24);
    for (const [values, live] of [
      [[0, -0, 0], false],
      [[1e-45, -1e-40, edge * (1 - 2 ** -24)], false],
      [[edge, 0, -edge / 2], true],
      [[most, -most, 1], true],
    ] as const) {
      const row = packed(bits, Float32Array.from(values));
      if (!live) {
        assert.equal(
          [...row.scales, ...row.minimums, ...row.q],
          new Array(2 + BLOCKS[bits]).fill(0),
          String(values),
        );
        continue;
      }
      const back = dequantise(row, 3);
      back.forEach((w, k) => {
        const reach = bf16Value(row.scales[0]!) * (bits === 4 ? 1 : 0.50001);
        assert.ok(Number.isFinite(Math.fround(w)), `${values} became ${back}`);
        assert.ok(Math.abs(w - values[k]!) <= reach, `${values} became ${back}`);
      });
    }
  });

  for (const dtype of DTYPES) {
    test(`int${bits} from ${dtype}: a weight that is not finite or from 2^${LIMIT[bits]} up is reported by its place`, () => {
      const K = 70;
      const bad = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
      if (dtype !== 'f16') bad.push(2 ** LIMIT[bits], -(2 ** LIMIT[bits]));
      for (const rows of [1, 5, 8]) {
        for (const k of [0, 31, 32, 63, 64, 69]) {
          for (const value of bad) {
            reset();
            const values = normals(rows * K, 11);
            const place = (rows - 1) * K + k;
            values[place] = value;
            const src = source(dtype, stored(dtype, values).bits, rows, K, 2);
            const out = panelArea(bits, K);
            const context = `${value} at row ${rows - 1}, column ${k}`;
            assert.is(PACK[bits][dtype](out.ptr, src.ptr, rows, K, K + 2), place, context);
            checkGuards(context);
          }
        }
      }
    });
  }
}

test('int8: rows of a file with a q of −128 are reported by its place', () => {
  const K = 70;
  for (const rows of [1, 6, 8]) {
    for (const k of [0, 15, 16, 31, 32, 47, 63, 64, 69]) {
      reset();
      const q = area(Math.ceil((rows * K) / 4), 0);
      const place = (rows - 1) * K + k;
      new Int8Array(q.u32.buffer, q.ptr, rows * K)[place] = -128;
      assert.is(kernels.i8_repack(panelArea(8, K).ptr, q.ptr, rows, K), place);
      checkGuards();
    }
  }
});

function rowsOf(bits: QuantisedBits, values: Float64Array, K: number): QuantisedRow[] {
  return Array.from({ length: values.length / K }, (_, r) =>
    quantiseRow(bits, values.subarray(r * K, (r + 1) * K)),
  );
}

/** The least squared error of a block: over every bfloat16 scale in reach; of 4 bits over ranges, fitted by least squares. */
function exhaustive(bits: QuantisedBits, block: Float32Array): number {
  let least = Number.POSITIVE_INFINITY;
  if (bits === 8) {
    const peak = block.reduce((most, w) => Math.max(most, Math.abs(w)), 0);
    for (let word = encode('bf16', peak / 130); word <= encode('bf16', (1.7 * peak) / 127); word++) {
      const s = bf16Value(word);
      const level = (w: number) => Math.min(127, Math.max(-127, Math.round(w / s)));
      least = Math.min(
        least,
        block.reduce((error, w) => error + (w - s * level(w)) ** 2, 0),
      );
    }
    return least;
  }
  const [low, high] = [Math.min(...block), Math.max(...block)];
  for (let levels = 12; levels < 17; levels += 0.25) {
    for (let offset = -2; offset < 2; offset += 0.1) {
      const step = (high - low) / levels;
      const level = (w: number) => Math.min(15, Math.max(0, Math.round((w - low) / step + offset)));
      least = Math.min(least, fitted(block, Array.from(block, level)));
    }
  }
  return least;
}

/** Σ(w − s·q − m)² with the s and m that make it least. */
function fitted(block: Float32Array, q: number[]): number {
  const mean = (values: ArrayLike<number>) => Array.from(values).reduce((sum, x) => sum + x, 0) / 32;
  const [w, level] = [mean(block), mean(q)];
  let [ww, wq, qq] = [0, 0, 0];
  block.forEach((x, i) => {
    ww += (x - w) ** 2;
    wq += (x - w) * (q[i]! - level);
    qq += (q[i]! - level) ** 2;
  });
  return ww - wq ** 2 / qq;
}

function samePanel(got: Area, want: Area, context: string): void {
  assert.is(got.u32.length, want.u32.length, context);
  const at = got.u32.findIndex((word, i) => word !== want.u32[i]);
  if (at >= 0) {
    const [expected, found] = [want, got].map((a) => a.u32[at]!.toString(16));
    assert.unreachable(`${context}: byte ${4 * at}, expected ${expected}, got ${found}`);
  }
}

test.run();
