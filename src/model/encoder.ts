import type { Steps } from '../runtime/steps.js';
import type { HostTensor, Tensor } from '../runtime/tensor.js';
import { POSITION_DTYPES, type PositionDtype } from './config.js';
import { connector } from './connector.js';
import type { KeptImages } from './images.js';
import type { BaseModel } from './model.js';
import type { OnPassProgress } from './progress.js';
import { imageTap } from './tap-places.js';
import type { Taps } from './taps.js';
import { GROUP_PATCHES, visionTransformer } from './vision.js';

export interface EncodeOptions {
  positionDtype: PositionDtype;
  /** The content of each tile (`tileKeys`): equal ones are encoded once. Default: every tile is encoded. */
  keys?: readonly string[];
  /** Tiles whose states are not asked for. Default: none. */
  isUnused?: (tile: number) => boolean;
  /** With taps every tile is encoded. */
  taps?: Taps;
  progress?: OnPassProgress;
}

/**
 * The names of tiles by all that their states follow from: pixels, the mask of the patches, the dtype of the position ids.
 * Two tiles of one name have the same states, bit for bit.
 */
export function* tileKeys(
  { ops, tiles }: BaseModel,
  { indices, channels, height, width, pixels, patchMasks }: KeptImages,
  positionDtype: PositionDtype,
): Steps<string[]> {
  const { engine } = ops;
  const size = channels * height * width;
  const header = [channels, height, width, POSITION_DTYPES.indexOf(positionDtype)];
  const keys: string[] = [];
  yield* engine.drain();
  for (const [i, image] of indices.entries()) {
    const mark = engine.activations.mark();
    const bytes = 4 * (header.length + size) + patchMasks[i].length;
    const pointer = engine.activations.allocate(bytes);
    engine.i32(pointer, header.length).set(header);
    engine.f32(pointer + 4 * header.length, size).set(pixels.subarray(image * size, (image + 1) * size));
    engine.u8(pointer + bytes - patchMasks[i].length, patchMasks[i].length).set(patchMasks[i]);
    keys.push(tiles.digest(pointer, bytes));
    engine.activations.release(mark);
    yield;
  }
  return keys;
}

/** The same for states [images, states, hidden_size] that are given instead of pixels. */
export function* stateKeys({ ops, tiles }: BaseModel, { dims, data }: HostTensor): Steps<string[]> {
  const { engine } = ops;
  const [images, ...shape] = dims;
  const size = shape.reduce((product, n) => product * n, 1);
  const keys: string[] = [];
  yield* engine.drain();
  for (let image = 0; image < images; image++) {
    const mark = engine.activations.mark();
    const { pointer } = engine.upload((data as Float32Array).subarray(image * size, (image + 1) * size), [
      size,
    ]);
    keys.push(`states ${shape} ${tiles.digest(pointer, 4 * size)}`);
    engine.activations.release(mark);
    yield;
  }
  return keys;
}

/**
 * Tiles to states of the text model's width: vision transformer and connector, a group of tiles at a time. A tile that is
 * known, from this call or an earlier one, is copied.
 * @param states [tiles · seqLen, hidden_size], filled but for the unused tiles
 */
export function* encodeTiles(
  model: BaseModel,
  kept: KeptImages,
  states: Tensor,
  seqLen: number,
  options: EncodeOptions,
): Steps<void> {
  const { keys, taps, isUnused, progress } = options;
  const { ops, tiles } = model;
  const rows = (tile: number) => states.slice(tile * seqLen, seqLen);
  const copy = (to: Tensor, from: Tensor) => ops.copyRows(to, 0, from, 0, from.rows);
  const first = new Map<string, number>();
  const missing: number[] = [];
  const copies: { tile: number; of: number }[] = [];
  for (const tile of kept.indices.keys()) {
    if (isUnused?.(tile)) continue;
    const key = taps ? undefined : keys?.[tile];
    const of = key === undefined ? undefined : first.get(key);
    if (of !== undefined) copies.push({ tile, of });
    else if (key === undefined || !tiles.read(key, rows(tile))) missing.push(tile);
    else tiles.hits++;
    if (key !== undefined && of === undefined) first.set(key, tile);
  }
  const group = Math.max(1, Math.floor(GROUP_PATCHES / kept.patchMasks[0].length));
  const total = missing.length;
  const cached = kept.indices.length - total;
  const report = (done: number) => progress?.({ status: 'encoding', done, total, cached });
  report(0);
  for (let start = 0; start < missing.length; start += group) {
    const mark = ops.engine.activations.mark();
    const some = missing.slice(start, start + group);
    const layers = progress && ((done: number, of: number) => report(start + (some.length * done) / of));
    const encoded = yield* encodeGroup(model, kept, some, options, layers);
    for (const [i, tile] of some.entries()) copy(rows(tile), encoded.slice(i * seqLen, seqLen));
    ops.engine.activations.release(mark);
    yield* ops.engine.drain();
    if (keys && !taps) for (const tile of some) tiles.keep(keys[tile], rows(tile));
  }
  // What a tile took goes back before the text model and its cache ask for memory, which never shrinks.
  if (missing.length > 0) ops.engine.activations.trim();
  for (const { tile, of } of copies) copy(rows(tile), rows(of));
  tiles.hits += copies.length;
  tiles.misses += missing.length;
}

function* encodeGroup(
  { ops, config, weights }: BaseModel,
  kept: KeptImages,
  some: readonly number[],
  { positionDtype, taps }: EncodeOptions,
  layers?: (done: number, of: number) => void,
): Steps<Tensor> {
  // With taps all tiles are encoded, so a group's first is its place in the whole.
  const tap = taps && imageTap(taps, kept, some[0], config);
  const { vision_config, scale_factor } = config;
  const group: KeptImages = {
    ...kept,
    indices: some.map((tile) => kept.indices[tile]),
    patchMasks: some.map((tile) => kept.patchMasks[tile]),
  };
  const count = some.length;
  const { vision } = weights;
  const observers = { tap, layers };
  const x = yield* visionTransformer(ops, vision, vision_config, group, 0, count, positionDtype, observers);
  return yield* connector(ops, weights.connector, scale_factor, x, count, tap);
}
