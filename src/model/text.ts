import type { Ops } from '../runtime/ops.js';
import type { Steps } from '../runtime/steps.js';
import type { HostTensor, Tensor } from '../runtime/tensor.js';
import { ACTIVATION_KERNELS } from './activations.js';
import type { KVCache } from './cache.js';
import type { SmolVLMTextConfig } from './config.js';
import type { StageTap } from './taps.js';
import type { PackedTokens } from './tokens.js';
import type { TextLayerWeights, TextWeights } from './weights.js';

const PATH = 'model.text_model';

/** What a run may listen to besides the result. */
export interface TextObservers {
  tap?: StageTap;
  /** Hidden states as the reference's `hidden_states`: the embeddings, each layer's output, the last one normed. */
  hidden?: (index: number, hidden: Tensor, tokens: PackedTokens) => void;
  /** Attention probabilities [B, heads, S, past + S] of a layer. */
  attentions?: (index: number, probabilities: HostTensor<Float32Array>) => void;
}

/**
 * The Llama decoder over packed tokens (LlamaModel). Appends the tokens' keys and values to the cache.
 * @param hidden [tokens, hidden_size], the merged embeddings; used up
 * @returns [tokens, hidden_size], normed
 * @throws MemoryError when the cache cannot grow; the cache then holds what it held before
 */
export function* textModel(
  ops: Ops,
  weights: TextWeights,
  config: SmolVLMTextConfig,
  tokens: PackedTokens,
  hidden: Tensor,
  cache: KVCache,
  observers: TextObservers = {},
): Steps<Tensor> {
  const { engine } = ops;
  const { tap } = observers;
  for (const [row, { count }] of tokens.rows.entries()) cache.reserve(row, count);
  const rotary = rotaryTables(ops, config, tokens.positions);
  observers.hidden?.(0, hidden, tokens);
  for (const [index, layer] of weights.layers.entries()) {
    const mark = engine.activations.mark();
    const context: LayerContext = { ops, config, tokens, cache, index, rotary, observers };
    yield* decoderLayer(context, layer, hidden);
    if (index + 1 < weights.layers.length) observers.hidden?.(index + 1, hidden, tokens);
    engine.activations.release(mark);
  }
  for (const [row, { start, count }] of tokens.rows.entries()) {
    const columns = tokens.places.subarray(start, start + count);
    cache.advance(
      row,
      Array.from(columns, (place) => cache.seen + (place % tokens.sequence)),
    );
  }
  cache.seen += tokens.sequence;
  const out = ops.rmsNorm(hidden, weights.norm, config.rms_norm_eps);
  tap?.(`${PATH}.norm`, out);
  tap?.(PATH, out);
  observers.hidden?.(weights.layers.length, out, tokens);
  return out;
}

interface LayerContext {
  ops: Ops;
  config: SmolVLMTextConfig;
  tokens: PackedTokens;
  cache: KVCache;
  index: number;
  rotary: Rotary;
  observers: TextObservers;
}

interface Rotary {
  cos: Tensor;
  sin: Tensor;
}

/** cos and sin of the tokens' rotary angles, [positions, head_dim] each (LlamaRotaryEmbedding). */
export function rotaryTables(ops: Ops, config: SmolVLMTextConfig, positions: Int32Array): Rotary {
  const { engine } = ops;
  const dim = config.head_dim;
  const cos = engine.tensor(positions.length, dim);
  const sin = engine.tensor(positions.length, dim);
  const frequencies = engine.tensor(dim / 2);
  engine.kernels.f32_rope_inv_freq(frequencies.pointer, dim, config.rope_theta);
  const list = engine.uploadInt32(positions);
  const { f32_rope_table } = engine.kernels;
  f32_rope_table(cos.pointer, sin.pointer, list, frequencies.pointer, positions.length, dim);
  return { cos, sin };
}

/** In place (LlamaDecoderLayer). */
function* decoderLayer(context: LayerContext, weights: TextLayerWeights, hidden: Tensor): Steps<void> {
  const { ops, config, observers, index } = context;
  const { tap } = observers;
  const path = `${PATH}.layers.${index}`;
  let x = ops.rmsNorm(hidden, weights.input_layernorm, config.rms_norm_eps);
  tap?.(`${path}.input_layernorm`, x);
  x = yield* attention(context, weights, x, `${path}.self_attn`);
  ops.add(hidden, x);

  x = ops.rmsNorm(hidden, weights.post_attention_layernorm, config.rms_norm_eps);
  tap?.(`${path}.post_attention_layernorm`, x);
  const gate = yield* ops.linear(x, weights.gate_proj.weight, weights.gate_proj.bias);
  tap?.(`${path}.mlp.gate_proj`, gate);
  yield* ops.activation(ACTIVATION_KERNELS[config.hidden_act], gate);
  tap?.(`${path}.mlp.act_fn`, gate);
  const up = yield* ops.linear(x, weights.up_proj.weight, weights.up_proj.bias);
  tap?.(`${path}.mlp.up_proj`, up);
  ops.multiply(gate, up);
  x = yield* ops.linear(gate, weights.down_proj.weight, weights.down_proj.bias);
  tap?.(`${path}.mlp.down_proj`, x);
  tap?.(`${path}.mlp`, x);
  ops.add(hidden, x);
  tap?.(path, hidden);
}

/** Causal grouped-query attention over the cache (LlamaAttention). */
function* attention(
  context: LayerContext,
  weights: TextLayerWeights,
  x: Tensor,
  path: string,
): Steps<Tensor> {
  const { ops, config, tokens, cache, index, rotary, observers } = context;
  const { tap } = observers;
  const { engine } = ops;
  const headDim = config.head_dim;
  const q = yield* ops.linear(x, weights.q_proj.weight, weights.q_proj.bias);
  const k = yield* ops.linear(x, weights.k_proj.weight, weights.k_proj.bias);
  const v = yield* ops.linear(x, weights.v_proj.weight, weights.v_proj.bias);
  tap?.(`${path}.q_proj`, q);
  tap?.(`${path}.k_proj`, k);
  tap?.(`${path}.v_proj`, v);
  ops.rope(q, rotary.cos, rotary.sin, headDim);
  ops.rope(k, rotary.cos, rotary.sin, headDim);

  const mixed = engine.tensor(q.rows, q.columns);
  const probabilities = observers.attentions && attentionMatrix(context);
  for (const [row, { start, count }] of tokens.rows.entries()) {
    if (count === 0) continue;
    cache.write(index, row, k, v, start, count);
    const mark = engine.activations.mark();
    const { pointer, pageCount } = cache.pages(index, row);
    const past = cache.length(row);
    yield* ops.attention(
      q.slice(start, count),
      pointer,
      {
        keys: past + count,
        kvHeads: config.num_key_value_heads,
        headDim,
        causalStart: past,
        scale: 1 / Math.sqrt(headDim),
        pageCount,
      },
      probabilities && ((...strip) => probabilities.write(row, strip)),
      mixed.slice(start, count),
    );
    engine.activations.release(mark);
  }
  if (probabilities) observers.attentions?.(index, probabilities.value);
  const out = yield* ops.linear(mixed, weights.o_proj.weight, weights.o_proj.bias);
  tap?.(`${path}.o_proj`, out);
  tap?.(path, out);
  return out;
}

type Strip = [head: number, firstRow: number, count: number, pointer: number, ld: number];

/** Collects strips of probabilities into [B, heads, S, past + S]; pads, as rows and as columns, are 0. */
function attentionMatrix({ ops, config, tokens, cache }: LayerContext) {
  const heads = config.num_attention_heads;
  const { batch, sequence } = tokens;
  const columns = cache.seen + sequence;
  const dims = [batch, heads, sequence, columns];
  const data = new Float32Array(batch * heads * sequence * columns);
  const write = (row: number, [head, firstRow, count, pointer, ld]: Strip) => {
    const { start } = tokens.rows[row];
    const past = cache.columns(row);
    const source = ops.engine.f32(pointer, count * ld);
    for (let i = 0; i < count; i++) {
      const query = tokens.places[start + firstRow + i] % sequence;
      const base = ((row * heads + head) * sequence + query) * columns;
      past.forEach((column, key) => {
        data[base + column] = source[i * ld + key];
      });
      for (let j = 0; j <= firstRow + i; j++) {
        const column = cache.seen + (tokens.places[start + j] % sequence);
        data[base + column] = source[i * ld + past.length + j];
      }
    }
  };
  return { value: { dims, data } as HostTensor<Float32Array>, write };
}
