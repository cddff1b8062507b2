import type { Axis } from './call.js';
import type { Engine } from './engine.js';
import { PAGE_KERNELS, PAGE_KEYS, type PageDtype, type PageKernels } from './pages.js';
import { evenAxis, unitStep } from './splits.js';
import type { Steps } from './steps.js';
import type { Tensor } from './tensor.js';

/** Query rows of one attention step: whole groups of the kernels (of 32, in the relaxed build over float pages of 30). */
const STEP_QUERIES = 64;
const STEP_QUERIES_RELAXED = 60;

/**
 * Which argument of the kernels over pages follows from the keys that a cache holds: where they write the first one, or how
 * many they attend to. For who writes calls once more.
 */
export const KEYS_ARGUMENT = 5;

export interface AttentionShape {
  keys: number;
  kvHeads: number;
  headDim: number;
  /** Key index of the first row for a causal run, −1 for one that sees every key. */
  causalStart: number;
  scale: number;
  pageCount: number;
  /** How the pages store keys and values. Default: float32. */
  dtype?: PageDtype;
}

/** Gets each head's strips of probabilities [count, keys] at row stride `ld` as an attention makes them. */
export type Probabilities = (
  head: number,
  firstRow: number,
  count: number,
  pointer: number,
  ld: number,
) => void;

/** Rows of keys and values, and where they go. */
export interface KeyRows {
  /** Pointer to the page lists: `pageCount` addresses for each head. */
  pages: number;
  pageCount: number;
  dtype?: PageDtype;
  kvHeads: number;
  headDim: number;
  /** The first row. */
  start: number;
  count: number;
  /** Pointer to int32 rows, counted from `start`; 0: all of them. */
  indices: number;
  /** Key index of the first. */
  at: number;
}

/**
 * Attention of one sequence: q [rows, heads·headDim] over keys that lie in pages.
 * @param pages pointer to the page lists: `pageCount` addresses for each key/value head
 * @returns `out`, of q's shape
 */
export function* attend(
  engine: Engine,
  q: Tensor,
  pages: number,
  shape: AttentionShape,
  probs: Probabilities | undefined,
  out: Tensor,
): Steps<Tensor> {
  const { keys, kvHeads, headDim, causalStart, scale, dtype = 'float32' } = shape;
  const group = q.columns / headDim / kvHeads;
  // A single row sees the same keys with all heads of a group: they are taken as the rows of one product.
  const isGrouped = q.rows === 1 && !probs;
  const rows = isGrouped ? group : q.rows;
  const ld = isGrouped ? headDim : q.columns;
  const seen = isGrouped && causalStart >= 0 ? Math.min(keys, causalStart + 1) : keys;
  const start = isGrouped ? -1 : causalStart;
  const step = engine.relaxed && !dtype.startsWith('int') ? STEP_QUERIES_RELAXED : STEP_QUERIES;
  const scratchBytes = 4 * Math.min(rows, step) * Math.ceil(Math.max(keys, 1) / PAGE_KEYS) * PAGE_KEYS;
  const mark = engine.activations.mark();
  const kernels: PageKernels = PAGE_KERNELS[dtype];
  const parts = probs ? (kernels.watched ? 2 : 1) : engine.threads;
  const scratch = engine.activations.allocate(scratchBytes * parts);
  const heads = isGrouped && rows <= step ? kvHeads : 1;
  const sizes = [rows, seen, start, headDim, ld, ld, scale, heads, shape.pageCount];
  const args = [out.pointer, q.pointer, pages, scratch, ...sizes];
  if (probs) yield* watched(engine, args, shape, q, probs);
  else {
    const axes =
      heads > 1
        ? [headAxis(engine.threads, shape, rows)]
        : attentionAxes(shape, rows, step, ld, group, isGrouped, start);
    yield* engine.steps({ kernel: kernels.attention, args, axes, scratch: { arg: 3, bytes: scratchBytes } });
  }
  engine.activations.release(mark);
  return out;
}

/** Key/value heads of which each has a few rows: as many in one go as do not take long. */
function headAxis(
  threads: number,
  { keys, kvHeads, headDim, pageCount }: AttentionShape,
  rows: number,
): Axis {
  const bytes = 4 * rows * headDim;
  const step = unitStep(threads, kvHeads, 2 * rows * keys * headDim);
  return { size: 11, units: kvHeads, step, moves: [0, bytes, 1, bytes, 2, 4 * pageCount] };
}

/** Strips of rows, then the heads of a group, then the groups. */
function attentionAxes(
  { kvHeads, headDim, pageCount }: AttentionShape,
  rows: number,
  step: number,
  ld: number,
  group: number,
  isGrouped: boolean,
  start: number,
): Axis[] {
  const strips = [0, 4 * ld, 1, 4 * ld];
  if (start >= 0) strips.push(6, 1);
  const axes: Axis[] = [{ size: 4, units: rows, step: Math.min(rows, step), moves: strips }];
  const head = 4 * headDim;
  if (!isGrouped) axes.push({ size: -1, units: group, step: 1, moves: [0, head, 1, head] });
  const moves = [0, group * head, 1, group * head, 2, 4 * pageCount];
  axes.push({ size: -1, units: kvHeads, step: 1, moves });
  return axes;
}

/** Head by head and strip by strip, each looked at before the next one overwrites it. */
function* watched(
  engine: Engine,
  args: readonly number[],
  { keys, kvHeads, headDim, causalStart, pageCount, dtype = 'float32' }: AttentionShape,
  q: Tensor,
  probs: Probabilities,
): Steps<void> {
  const heads = q.columns / headDim;
  const kernels: PageKernels = PAGE_KERNELS[dtype];
  const kernel = kernels.watched ?? kernels.attention;
  for (let head = 0; head < heads; head++) {
    for (let row = 0; row < q.rows; row += STEP_QUERIES_RELAXED) {
      const rows = Math.min(STEP_QUERIES_RELAXED, q.rows - row);
      const offset = 4 * (row * q.columns + head * headDim);
      const start = causalStart < 0 ? -1 : causalStart + row;
      const visible = start < 0 ? keys : Math.min(keys, start + rows);
      const part = args.slice();
      part[0] += offset;
      part[1] += offset;
      part[2] += 4 * pageCount * Math.floor((head * kvHeads) / heads);
      part[4] = rows;
      part[5] = visible;
      part[6] = start;
      engine.call({ kernel, args: part });
      yield* engine.drain();
      probs(head, row, rows, args[3], Math.ceil(visible / PAGE_KEYS) * PAGE_KEYS);
      yield;
    }
  }
}

/** Keys and values of some rows [rows, kvHeads·headDim] to the key indices at, at + 1, … of each head's pages. */
export function writeKeys(engine: Engine, k: Tensor, v: Tensor, rows: KeyRows): void {
  const { pages, pageCount, dtype = 'float32', kvHeads, headDim, start, count, indices, at } = rows;
  const { columns } = k;
  const offset = 4 * start * columns;
  const head = 4 * headDim;
  const args = [pages, k.pointer + offset, v.pointer + offset, indices, count, at, headDim, columns, columns];
  engine.call({
    kernel: PAGE_KERNELS[dtype].write,
    args: [...args, kvHeads, pageCount],
    axes: [evenAxis(engine.threads, 9, kvHeads, 2 * count * headDim, [0, 4 * pageCount, 1, head, 2, head])],
  });
}
