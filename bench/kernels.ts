/** The kernels at the real models' shapes (bench/shapes.json), each figure beside a ceiling taken at the same moment. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../test/support/paths.js';
import { ARITHMETIC_NAMES, type Ceilings } from './ceilings.js';
import { products } from './products.js';
import type { Report } from './report.js';
import { time } from './timing.js';
import { type Bench, openBench } from './wasm.js';

interface Shapes {
  gemm: { name: string; M: number; K: number; N: number }[];
  gemv: { name: string; K: number; N: number }[];
  attention: { name: string; rows: number; keys: number; headDim: number; causal: boolean }[];
  elementwise: { name: string; rows: number; n: number }[];
}

const MIB = 2 ** 20;
const PAGE_KEYS = 128;
const BUDGET = 0.12;

export interface KernelOptions {
  /** Only shapes whose names hold this. */
  readonly pattern: string;
  readonly relaxed: boolean;
}

export async function benchKernels(
  ceilings: Ceilings,
  report: Report,
  options: KernelOptions,
): Promise<void> {
  const shapes: Shapes = JSON.parse(readFileSync(join(root, 'bench/shapes.json'), 'utf8'));
  const bench = await openBench(512, options.relaxed);
  const wanted = <S extends { name: string }>(list: S[]) =>
    list.filter(({ name }) => name.toLowerCase().includes(options.pattern));
  const context: Context = { bench, ceilings, report, relaxed: options.relaxed };
  for (const shape of wanted(shapes.gemm)) benchGemm(context, shape);
  for (const shape of wanted(shapes.gemv)) benchGemv(context, shape);
  for (const shape of wanted(shapes.attention)) benchAttention(context, shape);
  for (const shape of wanted(shapes.elementwise)) benchElementwise(context, shape);
}

interface Context {
  bench: Bench;
  ceilings: Ceilings;
  report: Report;
  relaxed: boolean;
}

/** What bounds arithmetic in this build, at this moment. */
function peak({ ceilings, relaxed }: Context): { name: string; value: number } {
  const kind = relaxed ? 'fused_multiply_add' : 'multiply_add';
  return { name: ARITHMETIC_NAMES[kind], value: ceilings.arithmetic(kind)! };
}

function benchGemm(context: Context, { name, M, K, N }: Shapes['gemm'][number]): void {
  const { bench, ceilings, report, relaxed } = context;
  const [a, out] = [bench.base, aligned(bench.base + 4 * M * K)];
  const scratch = aligned(out + 4 * M * N);
  const operations = 2e-9 * M * K * N;
  bench.fill(a, M * K);
  let scalarRate = 0;
  for (const { kernel, arithmetic, ...product } of products(bench, relaxed)) {
    const w = aligned(scratch + product.scratchBytes(M, K));
    product.fill(w, product.bytes(N, K));
    scalarRate ||= scalarGemm(bench.loops, { out, a, w }, { M, N, K });
    const against = { name: ARITHMETIC_NAMES[arithmetic], value: ceilings.arithmetic(arithmetic)! };
    const { median, ...spread } = time(() => product.multiply({ out, a, w, scratch }, M, N, K), {
      budget: BUDGET,
    });
    const value = operations / median;
    report({
      part: 'kernels',
      configuration: `${name}, M ${M}, K ${K}, N ${N}`,
      work: kernel,
      seconds: median,
      ...spread,
      value,
      unit: 'GFLOP/s',
      against,
      note: `${(value / scalarRate).toFixed(1)} × scalar`,
    });
  }
}

/** GFLOP/s of one float32 product at a time; a few rows are enough for that. */
function scalarGemm(
  { scalar_gemm }: Bench['loops'],
  { out, a, w }: { out: number; a: number; w: number },
  { M, N, K }: { M: number; N: number; K: number },
): number {
  const rows = Math.min(M, Math.max(1, Math.floor(3e7 / (K * N))));
  return (2e-9 * rows * N * K) / time(() => scalar_gemm(out, a, w, rows, N, K), { budget: 0.02 }).least;
}

const aligned = (pointer: number) => Math.ceil(pointer / 64) * 64;

function benchGemv({ bench, report, relaxed }: Context, { name, K, N }: Shapes['gemv'][number]): void {
  const [a, out, scratch, w] = [0, 1, 2, 4].map((mebibytes) => bench.base + mebibytes * MIB);
  bench.fill(a, K);
  for (const { kernel, ...product } of products(bench, relaxed)) {
    const bytes = product.bytes(N, K);
    // Several copies one after the other, more than caches hold, as the layers of a model follow each other.
    const copies = Math.max(1, Math.min(64, Math.floor((384 * MIB) / bytes)));
    product.fill(w, copies * bytes);
    const gigabytes = (copies * bytes) / 1e9;
    const load = () => time(() => bench.loops.load_sum(w, copies * bytes), { budget: BUDGET / 3 }).least;
    const before = load();
    const { median, ...spread } = time(
      () => {
        for (let c = 0; c < copies; c++) {
          product.multiply({ out, a, w: w + c * bytes, scratch }, 1, N, K);
        }
      },
      { budget: BUDGET },
    );
    report({
      part: 'kernels',
      configuration: `${name}, one row, K ${K}, N ${N}`,
      work: kernel,
      seconds: median / copies,
      ...spread,
      value: gigabytes / median,
      unit: 'GB/s',
      against: { name: 'load-sum of the same bytes', value: gigabytes / Math.min(before, load()) },
    });
  }
}

function benchAttention(context: Context, shape: Shapes['attention'][number]): void {
  const { kernels, base, fill } = context.bench;
  const { name, rows, keys, headDim, causal } = shape;
  const count = Math.ceil(keys / PAGE_KEYS);
  const pages = base;
  const [k, q, out, probs] = [1, 32, 64, 96].map((mebibytes) => base + mebibytes * MIB);
  const pageFloats = PAGE_KEYS * (headDim + Math.ceil(headDim / 8) * 8);
  fill(k, count * pageFloats);
  fill(q, rows * headDim);
  writePages(context.bench, pages, k, count, 4 * pageFloats);
  const start = causal ? keys - rows : -1;
  const against = peak(context);
  const scale = 1 / Math.sqrt(headDim);
  const { median, ...spread } = time(
    () =>
      kernels.f32_attention(out, q, pages, probs, rows, keys, start, headDim, headDim, headDim, scale, 1, 0),
    { budget: BUDGET },
  );
  const operations = 4e-9 * rows * keys * headDim * (causal ? 0.5 : 1);
  const value = operations / median;
  const configuration = `${name}, ${rows} × ${keys} × ${headDim}`;
  const work = 'f32_attention';
  context.report({
    part: 'kernels',
    configuration,
    work,
    seconds: median,
    ...spread,
    value,
    unit: 'GFLOP/s',
    against,
  });
}

function writePages({ memory }: Bench, list: number, first: number, count: number, bytes: number): void {
  const addresses = new Uint32Array(memory.buffer, list, count);
  for (let i = 0; i < count; i++) addresses[i] = first + i * bytes;
}

function benchElementwise(
  { bench, report }: Context,
  { name, rows, n }: Shapes['elementwise'][number],
): void {
  const { kernels, loops, base, fill } = bench;
  const values = rows * n;
  const [x, y, out] = [base, base + 64 * MIB, base + 128 * MIB];
  const calls: Record<string, () => void> = {
    f32_add: () => kernels.f32_add(out, x, y, values),
    f32_gelu_tanh: () => kernels.f32_gelu_tanh(out, x, values),
    f32_silu_mul: () => kernels.f32_silu_mul(out, x, y, values),
    f32_layer_norm: () => kernels.f32_layer_norm(out, x, y, y, rows, n, 1e-6, 0),
    f32_rms_norm: () => kernels.f32_rms_norm(out, x, y, rows, n, 1e-6, 0),
    f32_softmax: () => kernels.f32_softmax(out, rows, n, n),
  };
  fill(y, values);
  const gigabytes = (4 * values) / 1e9;
  for (const [kernel, call] of Object.entries(calls)) {
    fill(x, values);
    fill(out, values);
    const stream = time(() => loops.load_sum(x, 4 * values), { budget: BUDGET / 4 });
    const { median, ...spread } = time(call, { budget: BUDGET / 2 });
    report({
      part: 'kernels',
      configuration: `${name}, ${rows} × ${n}`,
      work: kernel,
      seconds: median,
      ...spread,
      value: gigabytes / median,
      unit: 'GB/s',
      against: { name: 'load-sum of the input', value: gigabytes / stream.least },
    });
  }
}
