import type { KVCache } from '../model/cache.js';
import type { HostTensor } from '../runtime/tensor.js';

/** BaseModelOutput: what a SmolVLMVisionTransformer gives. */
export interface BaseModelOutput {
  /** [B, patches, hidden_size], post-normed. */
  last_hidden_state: HostTensor<Float32Array>;
  /** The embeddings and each layer's output, before the last norm: [B, patches, hidden_size] each. */
  hidden_states?: HostTensor<Float32Array>[];
  /** [B, heads, patches, patches] each; masked patches have 0 as keys. */
  attentions?: HostTensor<Float32Array>[];
}

/** SmolVLMBaseModelOutputWithPast: everything copied out of the engine but the cache. */
export interface SmolVLMBaseModelOutputWithPast {
  /** [B, S, hidden_size], normed. */
  last_hidden_state: HostTensor<Float32Array>;
  /** Holds memory until its `dispose()` or the model's. */
  past_key_values?: KVCache;
  /** Embeddings, each layer's output, the last one normed: [B, S, hidden_size] each. */
  hidden_states?: HostTensor<Float32Array>[];
  /** [B, heads, S, past + S] each; columns of pads are 0. */
  attentions?: HostTensor<Float32Array>[];
  /** [images, states, hidden_size]. */
  image_hidden_states?: HostTensor<Float32Array>;
}

/** SmolVLMCausalLMOutputWithPast. */
export interface SmolVLMCausalLMOutputWithPast
  extends Omit<SmolVLMBaseModelOutputWithPast, 'last_hidden_state'> {
  /** Mean cross entropy of the next tokens, where there are labels. */
  loss?: number;
  /** [B, kept, vocab_size]. */
  logits: HostTensor<Float32Array>;
}

/** What `return_dict: false` gives: the outputs that there are, in the reference's order. */
export type OutputTuple = (HostTensor<Float32Array> | HostTensor<Float32Array>[] | KVCache | number)[];

const ORDER = [
  'loss',
  'logits',
  'last_hidden_state',
  'past_key_values',
  'hidden_states',
  'attentions',
  'image_hidden_states',
] as const;

/** ModelOutput.to_tuple. */
export function toTuple(output: { readonly [K in (typeof ORDER)[number]]?: unknown }): OutputTuple {
  return ORDER.map((name) => output[name]).filter((value) => value !== undefined) as OutputTuple;
}
