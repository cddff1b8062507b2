import { InputError } from '../errors.js';
import type { Engine } from '../runtime/engine.js';
import type { HostTensor } from '../runtime/tensor.js';
import { type CacheShape, KVCache } from './cache.js';
import type { CacheLayer } from './cache-tensors.js';

/**
 * A cache from tensors, as `KVCache.layer` gives them. Must be called within a run of the engine.
 * @param past for each layer keys and values [B, kv_heads, S, head_dim]
 * @param attention_mask [B, S]; columns of 0 are no keys. Default: all are
 * @throws InputError when the shapes do not fit each other or the model; MemoryError
 */
export function cacheFromTensors(
  engine: Engine,
  shape: CacheShape,
  past: readonly CacheLayer[],
  attention_mask?: HostTensor,
): KVCache {
  const [batch, , sequence] = checkLayers(past, shape);
  const isKey = maskReader(attention_mask, batch, sequence);
  const cache = new KVCache(engine, shape, batch);
  try {
    for (let row = 0; row < batch; row++) {
      const columns = Array.from({ length: sequence }, (_, column) => column).filter((column) =>
        isKey(row, column),
      );
      cache.reserve(row, columns.length);
      for (const [layer, { keys, values }] of past.entries()) {
        const mark = engine.activations.mark();
        const width = shape.kvHeads * shape.headDim;
        const k = engine.upload(rowOfTokens(keys, row, columns), [columns.length, width]);
        const v = engine.upload(rowOfTokens(values, row, columns), [columns.length, width]);
        if (columns.length > 0) cache.write(layer, row, k, v, 0, columns.length, 0);
        engine.activations.release(mark);
      }
      cache.advance(row, columns);
    }
    cache.seen = sequence;
    return cache;
  } catch (error) {
    cache.dispose();
    throw error;
  }
}

/** [kv_heads, S, head_dim] of a row to [columns, kv_heads · head_dim]. */
function rowOfTokens({ dims, data }: HostTensor, row: number, columns: readonly number[]): Float32Array {
  const [, heads, sequence, headDim] = dims;
  const out = new Float32Array(columns.length * heads * headDim);
  for (const [i, column] of columns.entries()) {
    for (let head = 0; head < heads; head++) {
      const from = ((row * heads + head) * sequence + column) * headDim;
      const to = (i * heads + head) * headDim;
      for (let d = 0; d < headDim; d++) out[to + d] = Number(data[from + d]);
    }
  }
  return out;
}

function checkLayers(past: readonly CacheLayer[], shape: CacheShape): readonly number[] {
  const refuse = (where: string, expected: string, got: string): never => {
    throw new InputError({ what: 'the tensors do not make a cache', where, expected, got });
  };
  if (past.length !== shape.layers) refuse('past_key_values', `${shape.layers} layers`, `${past.length}`);
  const { dims } = past[0].keys;
  const [batch, , sequence] = dims;
  const expected = [batch, shape.kvHeads, sequence, shape.headDim];
  for (const [index, layer] of past.entries()) {
    for (const name of ['keys', 'values'] as const) {
      const { dims: got, data } = layer[name];
      const size = expected.reduce((product, n) => product * n, 1);
      const fits = String(got) === String(expected) && data.length === size;
      if (!fits) refuse(`past_key_values, ${name} of layer ${index}`, `[${expected}]`, `[${got}]`);
    }
  }
  return dims;
}

function maskReader(mask: HostTensor | undefined, batch: number, sequence: number) {
  if (!mask) return () => true;
  if (String(mask.dims) !== String([batch, sequence])) {
    throw new InputError({
      what: 'shape does not fit the cache',
      where: 'attention_mask',
      expected: `[${batch}, ${sequence}]`,
      got: `[${mask.dims}]`,
    });
  }
  return (row: number, column: number) => Number(mask.data[row * sequence + column]) !== 0;
}
