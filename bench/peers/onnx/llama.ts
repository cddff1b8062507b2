import type { SmolVLMTextConfig } from '../../../src/model/config.js';
import type { WeightsFile } from '../weights-file.js';
import { Graph, type GraphDtype } from './graph.js';
import { quantizeDynamic8 } from './quantize.js';

const PREFIX = 'model.text_model';

export interface DecoderOptions {
  /** Takes `inputs_embeds` instead of `input_ids`, as the decoders of picture models do. */
  readonly embeds?: boolean;
}

/**
 * The Llama decoder with its cache, in the shape of transformers.js's `decoder_model_merged`: tokens [1, S], `attention_mask`
 * [1, T], `past_key_values.i.key|value` [1, heads, T − S, d] to `present.…` and `logits`, of the last token alone, since no
 * engine here computes more.
 */
export function llamaGraph(
  weights: WeightsFile,
  config: SmolVLMTextConfig,
  dtype: GraphDtype,
  { embeds = false }: DecoderOptions = {},
): Graph {
  const graph = new Graph(dtype);
  const D = config.hidden_size;
  let x = embeds
    ? graph.input('inputs_embeds', 'FLOAT', [1, 'sequence', D])
    : embedding(graph, weights, config, graph.input('input_ids', 'INT64', [1, 'sequence']));
  const mask = graph.input('attention_mask', 'INT64', [1, 'total']);
  const positions = rotary(graph, config, mask);
  for (let i = 0; i < config.num_hidden_layers; i++) x = layer(graph, weights, config, x, i, positions);
  const last = graph.node('Slice', [x, graph.integers(-1), graph.integers(2 ** 31), graph.integers(1)]);
  const name = config.tie_word_embeddings ? `${PREFIX}.embed_tokens.weight` : 'lm_head.weight';
  const head = { name: 'lm_head', N: config.vocab_size, K: D, values: weights.values(name) };
  graph.nodes('Identity', [graph.linear(norm(graph, weights, config, last, 'norm'), head)], ['logits']);
  graph.output('logits', 'FLOAT', [1, 1, config.vocab_size]);
  return graph;
}

/** `input_ids` [1, S] to `inputs_embeds`. */
export function embeddingGraph(weights: WeightsFile, config: SmolVLMTextConfig, dtype: GraphDtype): Graph {
  const graph = new Graph(dtype);
  const x = embedding(graph, weights, config, graph.input('input_ids', 'INT64', [1, 'sequence']));
  graph.nodes('Identity', [x], ['inputs_embeds']);
  graph.output('inputs_embeds', 'FLOAT', [1, 'sequence', config.hidden_size]);
  return graph;
}

/** Quantised graphs keep the table as `quantize_dynamic` does: int8 with one scale, widened after the look-up. */
function embedding(graph: Graph, weights: WeightsFile, config: SmolVLMTextConfig, ids: string): string {
  const values = weights.values(`${PREFIX}.embed_tokens.weight`);
  const dims = [config.vocab_size, config.hidden_size];
  if (graph.dtype === 'float32')
    return graph.node('Gather', [graph.floats('embed_tokens', values, dims), ids]);
  const { data, scale } = quantizeDynamic8(values);
  const rows = graph.node('Gather', [graph.tensor('embed_tokens q', 'INT8', dims, () => data), ids]);
  const floats = graph.tensor('embed_tokens scale', 'FLOAT', [], () => Float32Array.of(scale));
  return graph.node('DequantizeLinear', [rows, floats]);
}

interface Positions {
  readonly seqlens: string;
  readonly total: string;
  readonly cos: string;
  readonly sin: string;
}

/** What GroupQueryAttention wants to know, taken from the mask, and the tables of the rotary embedding [positions, d/2]. */
function rotary(graph: Graph, config: SmolVLMTextConfig, mask: string): Positions {
  const sum = graph.node('ReduceSum', [mask, graph.integers(1)], { keepdims: 0 });
  const seqlens = graph.node('Cast', [graph.node('Sub', [sum, graph.integers(1)])], { to: 6 });
  const length = graph.node('Gather', [
    graph.node('Shape', [mask]),
    graph.tensor('one', 'INT64', [], () => BigInt64Array.of(1n)),
  ]);
  const half = config.head_dim / 2;
  const table = (of: (angle: number) => number) => {
    const values = new Float32Array(config.max_position_embeddings * half);
    for (let at = 0; at < values.length; at++) {
      values[at] = of(Math.floor(at / half) * config.rope_theta ** (-(at % half) / half));
    }
    return values;
  };
  const dims = [config.max_position_embeddings, half];
  return {
    seqlens,
    total: graph.node('Cast', [length], { to: 6 }),
    cos: graph.floats('cos', table(Math.cos), dims),
    sin: graph.floats('sin', table(Math.sin), dims),
  };
}

function layer(
  graph: Graph,
  weights: WeightsFile,
  config: SmolVLMTextConfig,
  x: string,
  i: number,
  { seqlens, total, cos, sin }: Positions,
): string {
  const { num_attention_heads: num_heads, num_key_value_heads: kv_num_heads, head_dim } = config;
  const linear = (input: string, name: string) => {
    const { shape, values } = weights.tensor(`${PREFIX}.layers.${i}.${name}.weight`);
    return graph.linear(input, { name: `layers.${i}.${name}`, N: shape[0], K: shape[1], values });
  };
  const before = norm(graph, weights, config, x, `layers.${i}.input_layernorm`);
  const [q, k, v] = ['q', 'k', 'v'].map((name) => linear(before, `self_attn.${name}_proj`));
  const [key, value] = ['key', 'value'].map((name) =>
    graph.input(`past_key_values.${i}.${name}`, 'FLOAT', [1, kv_num_heads, 'past', head_dim]),
  );
  const present = ['key', 'value'].map((name) => `present.${i}.${name}`);
  for (const name of present) graph.output(name, 'FLOAT', [1, kv_num_heads, 'total', head_dim]);
  const [mixed] = graph.nodes(
    'GroupQueryAttention',
    [q, k, v, key, value, seqlens, total, cos, sin],
    [`attention ${i}`, ...present],
    { num_heads, kv_num_heads, do_rotary: 1 },
  );
  const between = graph.node('Add', [x, linear(mixed, 'self_attn.o_proj')]);
  const inner = norm(graph, weights, config, between, `layers.${i}.post_attention_layernorm`);
  const gate = linear(inner, 'mlp.gate_proj');
  const silu = graph.node('Mul', [gate, graph.node('Sigmoid', [gate])]);
  const product = graph.node('Mul', [silu, linear(inner, 'mlp.up_proj')]);
  return graph.node('Add', [between, linear(product, 'mlp.down_proj')]);
}

function norm(
  graph: Graph,
  weights: WeightsFile,
  config: SmolVLMTextConfig,
  x: string,
  name: string,
): string {
  const scale = graph.floats(name, weights.values(`${PREFIX}.${name}.weight`));
  const attributes = { axis: -1, epsilon: { float: config.rms_norm_eps } };
  return graph.node('SimplifiedLayerNormalization', [x, scale], attributes);
}
