/** What kernel calls amount to, by their arguments: products with weights, attention, and how many calls there were. */
import type { Kernels } from '../../src/runtime/kernels.js';
import { type PanelDtype, type Weight, weightBytes } from '../../src/runtime/weight.js';
import { type KernelName, watchKernels } from './kernel-calls.js';

/** One call of a matrix product with weights. */
export interface Product {
  /** Where the first weight lies. */
  readonly pointer: number;
  readonly macs: number;
  /** Bytes of weights that it reads. */
  readonly bytes: number;
}

/** Of one computation. */
export interface Work {
  /** Calls by kernel. */
  readonly calls: ReadonlyMap<KernelName, number>;
  readonly products: readonly Product[];
  /** Multiply-adds of attention, scores and mixing together. */
  readonly attentionMacs: number;
}

type Counted = { readonly product?: Product; readonly attentionMacs?: number };
type Counters = { readonly [K in KernelName]?: (...args: Parameters<Kernels[K]>) => Counted };

type Counter<K extends KernelName> = (...args: Parameters<Kernels[K]>) => Counted;

/** out[M][N] = a[M][K] · Wᵀ over panels of 8 outputs. */
const gemm =
  (dtype: PanelDtype): Counter<'f32_f32w_gemm'> =>
  (_out, _a, pointer, _bias, M, N, K) => ({
    product: { pointer, macs: M * N * K, bytes: weightBytes('panel', dtype, N, K) },
  });

const quantizedGemm =
  (dtype: PanelDtype): Counter<'f32_i8w_gemm'> =>
  (_out, _a, pointer, _bias, M, N, K) => ({
    product: { pointer, macs: M * N * K, bytes: weightBytes('panel', dtype, N, K) },
  });

const quantizedGemv =
  (dtype: PanelDtype): Counter<'f32_i8w_gemv'> =>
  (_out, _x, pointer, _bias, N, K) => ({
    product: { pointer, macs: N * K, bytes: weightBytes('panel', dtype, N, K) },
  });

/** A strip of rows is multiplied with the keys that its last row sees. */
const attention: Counter<'f32_attention'> = (...args) => {
  const [, , , , rows, keys, causalStart, headDim, , , , heads] = args;
  const visible = causalStart < 0 ? keys : Math.min(keys, causalStart + rows);
  return { attentionMacs: 2 * heads * rows * visible * headDim };
};

/** Kernels that multiply matrices: every one whose name says so must be here. */
const COUNTERS: Counters = {
  f32_f32w_gemm: gemm('F32'),
  f32_bf16w_gemm: gemm('BF16'),
  f32_f16w_gemm: gemm('F16'),
  f32_i8w_gemm: quantizedGemm('I8'),
  f32_i4w_gemm: quantizedGemm('I4'),
  f32_i8w_gemv: quantizedGemv('I8'),
  f32_i8w_fine_gemv: quantizedGemv('I8'),
  f32_i4w_gemv: quantizedGemv('I4'),
  f32_attention: attention,
};

const MUST_COUNT = /gemm|gemv|attention/;

/** Counts the kernel calls of a computation in this thread. @throws Error for a product that nobody taught it to count */
export async function countWork(compute: () => Promise<unknown>): Promise<Work> {
  const calls = new Map<KernelName, number>();
  const products: Product[] = [];
  let attentionMacs = 0;
  await watchKernels((name, args) => {
    calls.set(name, (calls.get(name) ?? 0) + 1);
    const counter = COUNTERS[name] as ((...args: readonly number[]) => Counted) | undefined;
    if (!counter && MUST_COUNT.test(name)) throw new Error(`no count for ${name}`);
    const counted = counter?.(...args);
    if (counted?.product) products.push(counted.product);
    attentionMacs += counted?.attentionMacs ?? 0;
  }, compute);
  return { calls, products, attentionMacs };
}

/** Multiply-adds and bytes of products, summed up. */
export function sum(products: readonly Product[]): { macs: number; bytes: number } {
  return products.reduce((all, { macs, bytes }) => ({ macs: all.macs + macs, bytes: all.bytes + bytes }), {
    macs: 0,
    bytes: 0,
  });
}

/** What products have to do with this weight: of one that takes several weights in one go its share of the bytes read. */
export function productsOf({ products }: Work, { pointer }: Weight, bytes: number): Product[] {
  return products.flatMap((product) => {
    const from = Math.max(product.pointer, pointer);
    const read = Math.min(product.pointer + product.bytes, pointer + bytes) - from;
    if (read <= 0) return [];
    return [{ pointer: from, macs: (product.macs * read) / product.bytes, bytes: read }];
  });
}
