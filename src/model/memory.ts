import { PAGE_KEYS, pageBytes } from '../runtime/pages.js';
import { quantizedRowBytes } from '../runtime/quantized-rows.js';
import type { SmolVLMConfig } from './config.js';

/** Bytes of KV cache that a token of one sequence takes; slabs come for 128 tokens at a time. */
export function cacheBytesPerToken({ text_config }: SmolVLMConfig): number {
  const { num_hidden_layers, num_key_value_heads, head_dim } = text_config;
  return (num_hidden_layers * num_key_value_heads * pageBytes(head_dim)) / PAGE_KEYS;
}

/**
 * Bytes of activations for encoding one full tile, the largest part of a run: the hidden states, and beside them the most of
 * what the embeddings make (pixels, patches, their products and positions), a layer's attention (a norm, q, k, v, their
 * pages, the mixed and projected values) or its MLP (a norm, its two products, the first as integers too where weights are
 * quantised).
 */
export function activationBytes({ vision_config }: SmolVLMConfig): number {
  const { num_patches, patch_size, num_channels, hidden_size, intermediate_size } = vision_config;
  const patchValues = num_channels * patch_size ** 2;
  const embeddings = 4 * (2 * patchValues + 2 * hidden_size);
  const attention = 4 * 8 * hidden_size + quantizedRowBytes('I8', hidden_size);
  const mlp = 4 * (2 * hidden_size + intermediate_size) + quantizedRowBytes('I8', intermediate_size);
  return num_patches * (4 * hidden_size + Math.max(embeddings, attention, mlp));
}

/** Tokens that a model should have room for once its weights are there: a picture of a few tiles and an answer. */
const ROOM_TOKENS = 1024;

/** Bytes that a run needs beside the weights: the activations of a tile and the cache of a prompt. */
export function workingBytes(config: SmolVLMConfig): number {
  return activationBytes(config) + ROOM_TOKENS * cacheBytesPerToken(config);
}

const PREFIX_TOKENS = 2048;

/** Bytes that earlier prompts' keys and values may take unless told otherwise: 128 MiB, or 2048 tokens if they take more. */
export function prefixCacheBytes(config: SmolVLMConfig): number {
  return Math.max(128 << 20, PREFIX_TOKENS * cacheBytesPerToken(config));
}
