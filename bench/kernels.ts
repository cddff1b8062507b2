/**
 * The kernels at the real models' shapes (bench/shapes.json), each figure beside a ceiling measured in the same run.
 * Usage, after `npm run build`: node build/bench/kernels.js [PATTERN]. The last line is JSON.
 */
import { readFileSync } from 'node:fs';
import binaryen from 'binaryen';
import { KERNELS_WASM_BASE64 } from '../src/runtime/kernels.generated.js';
import type { Kernels } from '../src/runtime/kernels.js';

interface Shapes {
  gemm: { name: string; M: number; K: number; N: number }[];
  gemv: { name: string; K: number; N: number }[];
  attention: { name: string; rows: number; keys: number; headDim: number; causal: boolean }[];
  elementwise: { name: string; rows: number; n: number }[];
}
interface Ceilings {
  load_sum(ptr: number, bytes: number): number;
  multiply_add(steps: number, x: number): number;
  scalar_gemm(out: number, a: number, w: number, M: number, N: number, K: number): void;
}
type Row = { kernel: string; shape: string; value: number; unit: string; ratio: number; of: string };

const MIB = 2 ** 20;
const BUDGET_MS = 250;
const DTYPES = ['f32', 'bf16', 'f16'] as const;

const shapes: Shapes = JSON.parse(readFileSync('bench/shapes.json', 'utf8'));
const pattern = process.argv[2] ?? '';
const memory = new WebAssembly.Memory({ initial: (512 * MIB) / 65536, maximum: 65536 });
const instantiate = (bytes: Uint8Array) =>
  new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource), { env: { memory } }).exports;
const kernels = instantiate(Buffer.from(KERNELS_WASM_BASE64, 'base64')) as unknown as Kernels;
const wat = binaryen.parseText(readFileSync('bench/ceilings.wat', 'utf8'));
wat.setFeatures(binaryen.Features.All);
const ceilings = instantiate(wat.emitBinary()) as unknown as Ceilings;

const HEAP = 1 * MIB;
const words = new Float32Array(memory.buffer, HEAP);
// Realistic sizes: denormals and huge values would be timed as something else.
for (let i = 0; i < words.length; i++) words[i] = ((i * 7919) % 1000) / 5000 - 0.1;
const halves = new Uint16Array(memory.buffer);

/** Seconds of the fastest of the calls that fit the budget (at least 3), the first one left out. */
function best(call: () => void, budget = BUDGET_MS): number {
  call();
  let least = Number.POSITIVE_INFINITY;
  const end = performance.now() + budget;
  for (let i = 0; i < 3 || performance.now() < end; i++) {
    const started = performance.now();
    call();
    least = Math.min(least, performance.now() - started);
  }
  return least / 1000;
}

const rows: Row[] = [];
function report(
  kernel: string,
  shape: string,
  value: number,
  unit: string,
  ceiling: number,
  of: string,
): void {
  const ratio = value / ceiling;
  rows.push({ kernel, shape, value: round(value), unit, ratio: round(ratio), of });
  console.log(
    `${kernel.padEnd(16)} ${shape.padEnd(38)} ${value.toFixed(1).padStart(7)} ${unit.padEnd(9)} ${ratio.toFixed(2)} of ${of}`,
  );
}
const round = (value: number) => Number(value.toPrecision(4));
const wanted = (kernel: string) => kernel.includes(pattern);

/** Fills with 2-byte weights of either dtype that are of ordinary size (f16 2^-3, bf16 2^-6 and around). */
function fillHalves(ptr: number, count: number, dtype: 'bf16' | 'f16'): void {
  const base = dtype === 'bf16' ? 0x3c80 : 0x2c00;
  for (let i = 0; i < count; i++) halves[ptr / 2 + i] = base + ((i * 7919) & 0xff) + ((i & 1) << 15);
}

/** GFLOP/s of products and sums in registers. Taken again beside every figure: clocks and neighbours change. */
const peakNow = () => 96e-9 / (best(() => ceilings.multiply_add(1_000_000, 0.5), BUDGET_MS / 4) / 1e6);
const peak = peakNow();
const stream = (256 * MIB) / 1e9 / best(() => ceilings.load_sum(HEAP, 256 * MIB));
console.log(`ceilings: multiply and add ${peak.toFixed(1)} GFLOP/s, memory read ${stream.toFixed(1)} GB/s\n`);

for (const { name, M, K, N } of shapes.gemm) {
  if (!wanted('gemm')) break;
  const [a, out] = [HEAP, HEAP + 4 * M * K];
  const w = out + 4 * M * N;
  const flops = 2e-9 * M * K * N;
  const scalarRows = Math.min(M, 16);
  const scalar = (flops * scalarRows) / M / best(() => ceilings.scalar_gemm(out, a, w, scalarRows, N, K));
  for (const dtype of DTYPES) {
    if (dtype !== 'f32') fillHalves(w, N * K, dtype);
    const gemm = kernels[`f32_${dtype}w_gemm`];
    const rate = flops / best(() => gemm(out, a, w, 0, M, N, K, K, K, N, 0));
    report(
      `f32_${dtype}w_gemm`,
      name,
      rate,
      'GFLOP/s',
      peakNow(),
      `peak, ${(rate / scalar).toFixed(1)} × scalar`,
    );
  }
  words.subarray((w - HEAP) / 4, (w - HEAP) / 4 + N * K).fill(0.01);
}

for (const { name, K, N } of shapes.gemv) {
  if (!wanted('gemv')) break;
  for (const dtype of DTYPES) {
    const bytes = N * K * (dtype === 'f32' ? 4 : 2);
    const [a, out, w] = [HEAP, HEAP + MIB, HEAP + 4 * MIB];
    // Several copies one after the other, more than the caches hold, as the layers of a model follow each other.
    const copies = Math.max(1, Math.min(64, Math.floor((192 * MIB) / bytes)));
    if (dtype !== 'f32') fillHalves(w, (copies * bytes) / 2, dtype);
    else words.subarray((w - HEAP) / 4, (w - HEAP) / 4 + (copies * bytes) / 4).fill(0.01);
    const ceiling = (copies * bytes) / 1e9 / best(() => ceilings.load_sum(w, copies * bytes));
    const gemv = kernels[`f32_${dtype}w_gemm`];
    const seconds = best(() => {
      for (let c = 0; c < copies; c++) gemv(out, a, w + c * bytes, 0, 1, N, K, K, K, N, 0);
    });
    report(`f32_${dtype}w_gemv`, name, (copies * bytes) / 1e9 / seconds, 'GB/s', ceiling, 'load-sum');
  }
}

for (const { name, rows: M, keys, headDim, causal } of shapes.attention) {
  if (!wanted('attention')) break;
  words.subarray(0, 64 * MIB).forEach((_, i, all) => {
    all[i] = Math.sin(i);
  });
  const pages = HEAP;
  const count = Math.ceil(keys / 128);
  for (let i = 0; i < count; i++) new Int32Array(memory.buffer)[pages / 4 + i] = HEAP + MIB * (i + 1);
  const [q, out, probs] = [HEAP + 32 * MIB, HEAP + 48 * MIB, HEAP + 64 * MIB];
  const start = causal ? keys - M : -1;
  const seconds = best(() =>
    kernels.f32_attention(out, q, pages, probs, M, keys, start, headDim, headDim, headDim, 0.125),
  );
  const flops = 4e-9 * M * keys * headDim * (causal ? 0.5 : 1);
  report(
    'f32_attention',
    name,
    flops / seconds,
    'GFLOP/s',
    peakNow(),
    `peak, ${(seconds * 1e3).toFixed(2)} ms`,
  );
}

for (const { name, rows: M, n } of shapes.elementwise) {
  if (!wanted('elementwise')) break;
  const [x, y, out] = [HEAP, HEAP + 16 * MIB, HEAP + 32 * MIB];
  const read = (4 * M * n) / 1e9 / best(() => ceilings.load_sum(x, 4 * M * n));
  words.subarray(0, 16 * MIB).forEach((_, i, all) => {
    all[i] = Math.sin(i) * 3;
  });
  const calls: Record<string, () => void> = {
    f32_add: () => kernels.f32_add(out, x, y, M * n),
    f32_gelu_tanh: () => kernels.f32_gelu_tanh(out, x, M * n),
    f32_gelu_erf: () => kernels.f32_gelu_erf(out, x, M * n),
    f32_silu_mul: () => kernels.f32_silu_mul(out, x, y, M * n),
    f32_selu: () => kernels.f32_selu(out, x, M * n),
    f32_layer_norm: () => kernels.f32_layer_norm(out, x, y, y, M, n, 1e-6),
    f32_rms_norm: () => kernels.f32_rms_norm(out, x, y, M, n, 1e-6),
    f32_softmax: () => kernels.f32_softmax(x, M, n, n),
  };
  for (const [kernel, call] of Object.entries(calls)) {
    const seconds = best(call);
    const rate = (4 * M * n) / 1e9 / seconds;
    report(kernel, name, rate, 'GB/s in', read, `load-sum, ${(seconds * 1e3).toFixed(2)} ms`);
  }
}

console.log(
  JSON.stringify({ bench: 'kernels', node: process.version, peak: round(peak), stream: round(stream), rows }),
);
