/** Keys and values of known prompts as bytes that can be kept outside, and given to another engine with the same weights. */
import { InputError } from '../errors.js';
import { PAGE_KEYS } from '../runtime/pages.js';
import type { Steps } from '../runtime/steps.js';
import { weightBytes } from '../runtime/weight.js';
import { type ForwardInputs, newCache, readPictures } from './forward.js';
import type { BaseModel } from './model.js';
import { commonLength, type PrefixRow, prefixRows } from './prefix-row.js';

/** What the prefix cache knew of a prompt. */
export interface SavedPrefix {
  /**
   * Names the weights and everything else that keys and values follow from: only a model of the same fingerprint takes
   * them.
   */
  fingerprint: string;
  /** The tokens whose keys and values there are. */
  ids: Int32Array;
  /** [slabs, bytes of a slab]: 128 tokens in each. */
  slabs: Uint8Array<ArrayBuffer>;
}

/** Raised whenever the kernels give other bits than before. */
const NUMERICS = 3;
/** A few milliseconds' worth of digest. */
const PIECE_BYTES = 8 << 20;
const KEY = new Uint8Array(16);

/** A copy of what is known of a prompt [1, S]; nothing where nothing is, or not all weights are in memory. */
export function* savePrefix(model: BaseModel, inputs: ForwardInputs): Steps<SavedPrefix | undefined> {
  const row = yield* rowOf(model, inputs);
  if (!row || model.streams) return undefined;
  const { engine } = model.ops;
  const { prefixes, cacheShape } = model;
  const source = prefixes.slabs(cacheShape);
  const name = yield* fingerprint(model);
  yield* engine.drain();
  const found = prefixes.find(row, source, row.ids.length);
  if (!found) return undefined;
  const { length } = found;
  // In one go: between steps, another session could have them evicted.
  const count = Math.ceil(length / PAGE_KEYS);
  const slabs = new Uint8Array(count * source.bytes);
  for (let i = 0; i < count; i++) {
    slabs.set(engine.u8(found.slabs[i], source.bytes), i * source.bytes);
  }
  return { fingerprint: name, ids: Int32Array.from({ length }, (_, i) => row.ids[i]), slabs };
}

/**
 * Gives the prefix cache what was known of a prompt. Tokens count up to the first at which the two differ.
 * @returns how many tokens the prompt is spared; 0 for another model's
 * @throws InputError for bytes that are not as many as the tokens need; MemoryError
 */
export function* restorePrefix(model: BaseModel, inputs: ForwardInputs, saved: SavedPrefix): Steps<number> {
  const row = yield* rowOf(model, inputs);
  if (!row || model.streams || saved.fingerprint !== (yield* fingerprint(model))) return 0;
  const { engine } = model.ops;
  const cache = newCache(model, 1);
  try {
    const { bytes } = cache.source;
    const known: PrefixRow = { ...row, ids: saved.ids };
    cache.reserve(0, saved.ids.length);
    const slabs = cache.slabs(0);
    if (saved.slabs.length !== slabs.length * bytes) {
      const expected = `${slabs.length} slabs of ${bytes} bytes for ${saved.ids.length} tokens`;
      throw new InputError({
        what: 'keys and values do not fit their tokens',
        where: 'slabs',
        expected,
        got: `${saved.slabs.length} bytes`,
      });
    }
    yield* engine.drain();
    for (const [i, slab] of slabs.entries()) {
      engine.u8(slab, bytes).set(saved.slabs.subarray(i * bytes, (i + 1) * bytes));
      yield;
    }
    const length = commonLength(known, row, model.config.image_token_id, saved.ids.length);
    cache.advance(
      0,
      Array.from({ length }, (_, i) => i),
    );
    model.prefixes.keep(cache, 0, { ...row, ids: saved.ids.slice(0, length) }, false);
    return model.prefixes.limit > 0 ? length : 0;
  } finally {
    cache.dispose();
  }
}

/** @throws InputError for a batch */
function* rowOf(model: BaseModel, inputs: ForwardInputs): Steps<PrefixRow | undefined> {
  const { input_ids, attention_mask } = inputs;
  if (input_ids?.dims[0] !== 1) {
    const got = input_ids ? `[${input_ids.dims}]` : 'none';
    throw new InputError({ what: 'not one prompt', where: 'input_ids', expected: '[1, sequence]', got });
  }
  const pictures = yield* readPictures(model, inputs);
  return prefixRows(input_ids, attention_mask, model.config.image_token_id, pictures)?.[0];
}

const known = new WeakMap<BaseModel['named'], { epoch: number; text: string }>();

/** The digest of all weights, and what else decides the bits of keys and values. */
function* fingerprint({ ops, named, prefixes, cacheShape, config }: BaseModel): Steps<string> {
  // Whatever changes weights in place begins a new epoch.
  const { epoch } = prefixes;
  const before = known.get(named);
  if (before?.epoch === epoch) return before.text;
  const { engine } = ops;
  const list: unknown[] = [NUMERICS, engine.relaxed, cacheShape, config];
  yield* engine.drain();
  for (const [name, { layout, dtype, N, K, pointer }] of named) {
    list.push(name, layout, dtype, N, K);
    const bytes = weightBytes(layout, dtype, N, K);
    for (let at = 0; at < bytes; at += PIECE_BYTES) {
      list.push(ops.digest(pointer + at, Math.min(PIECE_BYTES, bytes - at), KEY));
      yield;
    }
  }
  const data = new TextEncoder().encode(JSON.stringify(list));
  const mark = engine.activations.mark();
  const place = engine.activations.allocate(data.length);
  engine.u8(place, data.length).set(data);
  const text = ops.digest(place, data.length, KEY);
  engine.activations.release(mark);
  known.set(named, { epoch, text });
  return text;
}
