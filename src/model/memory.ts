import { PAGE_KEYS, pageBytes } from '../runtime/pages.js';
import { quantizedRowBytes } from '../runtime/quantized-rows.js';
import type { SmolVLMConfig } from './config.js';

/** Bytes of KV cache that a token of one sequence takes; slabs come for 128 tokens at a time. */
export function cacheBytesPerToken({ text_config }: SmolVLMConfig): number {
  const { num_hidden_layers, num_key_value_heads, head_dim } = text_config;
  return (num_hidden_layers * num_key_value_heads * pageBytes(head_dim)) / PAGE_KEYS;
}

/**
 * Bytes of activations for encoding one full tile, the largest part of a run: the pixels and patches, the hidden states,
 * and what one layer makes (two norms, q, k, v, their pages, the mixed and projected values, the MLP's two, the last of them
 * as integers too where weights are quantised).
 */
export function activationBytes({ vision_config }: SmolVLMConfig): number {
  const { num_patches, patch_size, num_channels, hidden_size, intermediate_size } = vision_config;
  const patchValues = num_channels * patch_size ** 2;
  const floats = 2 * patchValues + 2 * hidden_size + 10 * hidden_size + intermediate_size;
  return num_patches * (4 * floats + quantizedRowBytes(intermediate_size, false));
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
