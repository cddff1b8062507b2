import type { SmolVLMConfig } from '../configuration/smolvlm-config.js';
import type { CacheDtype, CacheShape, KVCache } from '../model/cache.js';
import { cacheFromTensors } from '../model/cache-import.js';
import type { CacheLayer } from '../model/cache-tensors.js';
import { imageStates } from '../model/forward.js';
import type { Level } from '../model/levels.js';
import type { BaseModel } from '../model/model.js';
import type { TileCache } from '../model/tile-cache.js';
import type { Steps } from '../runtime/steps.js';
import type { HostTensor } from '../runtime/tensor.js';
import { type Cancellable, PreTrainedModel } from './pretrained-model.js';
import { imageHiddenStates, type ModelForwardArguments } from './run-forward.js';
import { checkTensors } from './tensor-arguments.js';
import {
  EMBED_TOKENS,
  type Embedding,
  type ResizeOptions,
  readMatrix,
  resizedCount,
  resizeTokens,
  writeMatrix,
} from './token-embeddings.js';

/**
 * What the image cache holds and has spared: `hits` tiles were there or stood twice in one call, `misses` were encoded. The
 * `limit` in bytes may be changed at any time and holds from the next tile on. A change of the weights empties it.
 */
export type ImageCache = Pick<TileCache, 'limit' | 'bytes' | 'size' | 'hits' | 'misses' | 'clear'>;

/** What the two classes with a text model share. */
export abstract class TextAndVisionModel<L extends Exclude<Level, 'vision'>> extends PreTrainedModel<
  L,
  SmolVLMConfig
> {
  /** The states of tiles that were encoded before, by their content; see `clear()`. They are there once the weights are. */
  get image_cache(): ImageCache {
    return (this.model as BaseModel).tiles;
  }

  /** Pictures [B, N, C, H, W] to states [images, states, hidden_size]; all-zero images are left out. */
  async get_image_features(
    pixel_values: HostTensor,
    pixel_attention_mask?: HostTensor | null,
    { position_dtype, signal }: Pick<ModelForwardArguments, 'position_dtype' | 'signal'> = {},
  ): Promise<HostTensor<Float32Array>> {
    const inputs = { pixel_values, pixel_attention_mask: pixel_attention_mask ?? undefined };
    checkTensors(inputs);
    return this.run(function* (model: BaseModel): Steps<HostTensor<Float32Array>> {
      const images = yield* imageStates(model, inputs, { position_dtype });
      return (yield* imageHiddenStates(model, images))!;
    }, signal);
  }

  /** The token embedding's values. */
  get_input_embeddings({ signal }: Cancellable = {}): Promise<Embedding> {
    return this.run(({ ops, named }: BaseModel) => readMatrix(ops.engine, named.get(EMBED_TOKENS)!), signal);
  }

  /**
   * Sets the token embedding's values, rounded to its dtype; a tied head has them too (as after the reference's
   * `tie_weights()`). An abort is answered until it has begun: no weight is left half written.
   * @throws InputError for a shape other than [vocab_size, hidden_size]: `resize_token_embeddings` changes that
   */
  set_input_embeddings(
    value: { weight: HostTensor } | HostTensor,
    { signal }: Cancellable = {},
  ): Promise<void> {
    const write = function* ({ ops, named, prefixes }: BaseModel): Steps<void> {
      yield* writeMatrix(ops.engine, named.get(EMBED_TOKENS)!, value);
      prefixes.clear();
    };
    return this.run(write, signal, { whole: true });
  }

  /**
   * Gives the token embedding, and the head with it, another number of rows; the config's vocab_size follows. The old
   * rows' memory comes back with the engine's. Without a number nothing changes but what `pad_to_multiple_of` asks.
   * @returns the new embedding's values
   * @throws InputError, MemoryError; AbortError: the model is as it was then, unless only the result was still to be read
   */
  async resize_token_embeddings(
    new_num_tokens?: number | null,
    options: ResizeOptions = {},
  ): Promise<Embedding> {
    const { text_config } = this.config;
    const count = resizedCount(Number(text_config.vocab_size), new_num_tokens, options);
    if (count !== text_config.vocab_size) {
      const deviation = Number(text_config.initializer_range ?? 0.02);
      const { signal } = options;
      await this.change((model: BaseModel) => resizeTokens(model, count, deviation, options), signal);
      text_config.vocab_size = count;
    }
    return this.get_input_embeddings(options);
  }

  /** How a cache stores keys and values (see the option); undefined before the weights are there. */
  get kv_cache_dtype(): CacheDtype | undefined {
    const shape: CacheShape | undefined = this.state?.cacheShape;
    return shape && (shape.kv_cache_dtype ?? 'float32');
  }

  /**
   * A cache from tensors (DynamicCache.from_legacy_cache), such as another model's `to_legacy_cache()` gives: for each
   * layer its rotated keys and its values [B, kv_heads, S, head_dim].
   * @param attention_mask [B, S]; columns of 0 are no keys. Default: all are
   * @throws InputError when the shapes do not fit each other or the model; MemoryError
   */
  from_legacy_cache(
    past: readonly (readonly [HostTensor, HostTensor])[],
    attention_mask?: HostTensor | null,
    { signal }: Cancellable = {},
  ): Promise<KVCache> {
    const layers = past.map(([keys, values]) => ({ keys, values }) as CacheLayer);
    return this.run(function* (model: BaseModel): Steps<KVCache> {
      const { engine } = model.ops;
      // One step; its memory is bounded by the cache's own.
      const cache = cacheFromTensors(engine, model.cacheShape, layers, attention_mask ?? undefined);
      let isDone = false;
      try {
        yield* engine.drain();
        isDone = true;
        return cache;
      } finally {
        if (!isDone && !engine.disposed) cache.dispose();
      }
    }, signal);
  }
}
