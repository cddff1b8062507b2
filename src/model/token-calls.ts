/**
 * One token after the other of one row: the kernel calls of the layers differ in nothing but the place of the token's key, so
 * they are written down once for as long as the cache has the same number of pages. Made anew they cost a token a
 * twentieth of its time.
 */
import { KEYS_ARGUMENT } from '../runtime/attention.js';
import type { KernelCall } from '../runtime/call.js';
import { PAGE_KERNELS, PAGE_KEYS } from '../runtime/pages.js';
import type { Steps } from '../runtime/steps.js';
import type { KVCache } from './cache.js';
import { HeldLayers } from './layer-source.js';
import type { ResidualStream } from './residual-stream.js';
import type { LayerContext } from './text-attention.js';
import type { TextWeights } from './weights.js';

interface Recording {
  readonly layers: TextWeights['layers'];
  /** Everything else that the calls follow from. */
  readonly place: readonly number[];
  readonly calls: readonly KernelCall[];
  /** The arguments of those that write the key, and of those that attend to it. */
  readonly writing: readonly number[][];
  readonly attending: readonly number[][];
}

const recordings = new WeakMap<KVCache, Recording>();

/**
 * The layers over the residual stream: with the calls of the token before where they fit, else as `compute` does it.
 * @param compute leaves the activations as they were
 */
export function* throughLayers(
  context: Omit<LayerContext, 'index'>,
  layers: TextWeights['layers'],
  stream: ResidualStream,
  compute: () => Steps<void>,
): Steps<void> {
  const { ops, cache } = context;
  const place = placeOf(context, layers, stream);
  if (!place) return yield* compute();
  const known = recordings.get(cache);
  if (known?.layers === layers && place.every((value, i) => value === known.place[i])) {
    const past = cache.length(0);
    for (const args of known.writing) args[KEYS_ARGUMENT] = past;
    for (const args of known.attending) args[KEYS_ARGUMENT] = past + 1;
    yield* ops.engine.repeat(known.calls);
    // The last layer's branch waits for the norm that follows.
    if (layers.length > 0) stream.add();
    return;
  }
  recordings.delete(cache);
  const calls = yield* ops.engine.record(compute);
  if (!calls) return;
  const { write, attention } = PAGE_KERNELS[cache.dtype];
  const argumentsOf = (name: string) =>
    calls.filter(({ kernel }) => kernel === name).map(({ args }) => args as number[]);
  recordings.set(cache, {
    layers,
    place,
    calls,
    writing: argumentsOf(write),
    attending: argumentsOf(attention),
  });
}

/** What the calls of one token follow from, besides its key's place; nothing where a token is not all that there is. */
function placeOf(
  { ops: { engine }, tokens, cache, rotary, observers }: Omit<LayerContext, 'index'>,
  layers: TextWeights['layers'],
  { hidden, branch }: ResidualStream,
): number[] | undefined {
  const isWatched = observers.tap || observers.hidden || observers.layers || observers.attentions;
  if (isWatched || tokens.batch !== 1 || tokens.count !== 1 || !(layers instanceof HeldLayers))
    return undefined;
  const [run] = tokens.rows[0].runs;
  if (!run.isKey || run.lastColumn !== undefined) return undefined;
  const { activations, threads } = engine;
  const { chunk, offset } = activations.mark();
  const pages = cache.pages(0, 0);
  const tensors = [hidden, branch, rotary.cos, rotary.sin].map(({ pointer }) => pointer);
  const page = Math.floor(cache.length(0) / PAGE_KEYS);
  return [threads, activations.epoch, chunk, offset, ...tensors, pages.pointer, pages.pageCount, page];
}
