import type { Engine } from '../runtime/engine.js';
import type { Activation, Ops } from '../runtime/ops.js';
import type { Prepared } from '../runtime/prepared.js';
import type { Steps } from '../runtime/steps.js';
import type { HostTensor, Tensor } from '../runtime/tensor.js';
import { ACTIVATION_KERNELS } from './activations.js';
import type { KVCache } from './cache.js';
import type { SmolVLMTextConfig } from './config.js';
import { ResidualStream } from './residual-stream.js';
import { scaleFrequencies } from './rope-scaling.js';
import type { StageTap } from './taps.js';
import { attention, type LayerContext, type Rotary } from './text-attention.js';
import { throughLayers } from './token-calls.js';
import type { PackedTokens } from './tokens.js';
import type { TextLayerWeights, TextWeights } from './weights.js';

const PATH = 'model.text_model';

/** What a run may listen to besides the result. */
export interface TextObservers {
  tap?: StageTap;
  /** Hidden states as the reference's `hidden_states`: the embeddings, each layer's output, the last one normed. */
  hidden?: (index: number, hidden: Tensor, tokens: PackedTokens) => Steps<void>;
  /** Layers that are done. With it workers are waited for after each. */
  layers?: (done: number, of: number) => void;
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
  const { tap } = observers;
  for (const [row, { keyColumns }] of tokens.rows.entries()) {
    cache.reserve(row, keyColumns.length);
    cache.placePages(row);
  }
  const rotary = rotaryTables(ops, config, tokens.positions);
  if (observers.hidden) yield* observers.hidden(0, hidden, tokens);
  const stream = new ResidualStream(ops, hidden);
  const context = { ops, config, tokens, cache, rotary, observers };
  yield* throughLayers(context, weights.layers, stream, () => decoderLayers(context, weights.layers, stream));
  for (const [row, { keyColumns }] of tokens.rows.entries()) {
    cache.advance(
      row,
      keyColumns.map((column) => cache.seen + column),
    );
  }
  cache.seen += tokens.sequence;
  const out = yield* stream.rmsNorm(weights.norm, config.rms_norm_eps).tensor();
  if (tap) yield* tap(`${PATH}.norm`, out);
  if (tap) yield* tap(PATH, out);
  if (observers.hidden) yield* observers.hidden(weights.layers.length, out, tokens);
  return out;
}

function* decoderLayers(
  context: Omit<LayerContext, 'index'>,
  layers: TextWeights['layers'],
  stream: ResidualStream,
): Steps<void> {
  const { ops, tokens, observers } = context;
  const { engine } = ops;
  for (let index = 0; index < layers.length; index++) {
    const layer = yield* layers.read(index);
    const mark = engine.activations.mark();
    yield* decoderLayer({ ...context, index }, layer, stream);
    if (index + 1 < layers.length && observers.hidden)
      yield* observers.hidden(index + 1, stream.settled(), tokens);
    engine.activations.release(mark);
    if (observers.layers) {
      yield* engine.drain();
      observers.layers(index + 1, layers.length);
    }
  }
}

/** cos and sin of the tokens' rotary angles, [positions, head_dim] each (LlamaRotaryEmbedding). */
export function rotaryTables(ops: Ops, config: SmolVLMTextConfig, positions: Int32Array): Rotary {
  const list = ops.engine.uploadInt32(positions);
  const frequencies = rotaryFrequencies(ops, config);
  return ops.ropeTables(list, positions.length, frequencies, config.head_dim);
}

const frequencies = new WeakMap<Engine, number>();

/** inv_freq [head_dim / 2] of the engine's text model, made once, when the model is: its pointer. */
export function rotaryFrequencies({ engine }: Ops, config: SmolVLMTextConfig): number {
  const made = frequencies.get(engine);
  if (made !== undefined) return made;
  const count = config.head_dim / 2;
  const pointer = engine.heap.allocate(4 * count, 'rotary frequencies');
  engine.kernels.f32_rope_inv_freq(pointer, config.head_dim, config.rope_theta);
  if (config.rope_scaling) scaleFrequencies(engine.f32(pointer, count), config.rope_scaling);
  frequencies.set(engine, pointer);
  return pointer;
}

/** In place (LlamaDecoderLayer). */
function* decoderLayer(
  context: LayerContext,
  weights: TextLayerWeights,
  stream: ResidualStream,
): Steps<void> {
  const { ops, config, observers, index } = context;
  const { tap } = observers;
  const { activations } = ops.engine;
  const path = `${PATH}.layers.${index}`;
  const mark = activations.mark();
  let x = stream.rmsNorm(weights.input_layernorm, config.rms_norm_eps);
  if (tap) yield* tap(`${path}.input_layernorm`, yield* x.tensor());
  yield* attention(context, weights, x, `${path}.self_attn`, stream.branch);
  stream.add();
  // The MLP takes the place of what attention took.
  activations.release(mark);

  x = stream.rmsNorm(weights.post_attention_layernorm, config.rms_norm_eps);
  if (tap) yield* tap(`${path}.post_attention_layernorm`, yield* x.tensor());
  const [gate, up] = yield* ops.linears(x, [weights.gate_proj, weights.up_proj]);
  const product = yield* gated(ops, ACTIVATION_KERNELS[config.hidden_act], gate, up, `${path}.mlp`, tap);
  const out = yield* ops.linear(product, weights.down_proj, stream.branch);
  if (tap) yield* tap(`${path}.mlp.down_proj`, out);
  if (tap) yield* tap(`${path}.mlp`, out);
  stream.add();
  if (tap) yield* tap(path, stream.settled());
}

/** In place: gate = activation(gate)·up, in two steps for a tap between them. */
function* gated(
  ops: Ops,
  name: Activation,
  gate: Tensor,
  up: Tensor,
  path: string,
  tap?: StageTap,
): Steps<Prepared | Tensor> {
  if (!tap) return ops.gate(name, gate, up);
  yield* tap(`${path}.gate_proj`, gate);
  yield* tap(`${path}.act_fn`, yield* ops.activation(name, gate).tensor());
  yield* tap(`${path}.up_proj`, up);
  ops.multiply(gate, up);
  return gate;
}
