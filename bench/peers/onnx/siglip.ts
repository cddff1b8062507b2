import type { SmolVLMVisionConfig } from '../../../src/model/config.js';
import type { WeightsFile } from '../weights-file.js';
import { Graph, type GraphDtype } from './graph.js';

const PREFIX = 'model.vision_model';

/** The SigLIP encoder over one full tile: `pixel_values` [1, 3, S, S] to `last_hidden_state` [1, patches, D]. */
export function siglipGraph(weights: WeightsFile, config: SmolVLMVisionConfig, dtype: GraphDtype): Graph {
  const graph = new Graph(dtype);
  const size = config.image_size;
  const pixels = graph.input('pixel_values', 'FLOAT', [1, config.num_channels, size, size]);
  const hidden = siglipStates(graph, weights, config, pixels);
  graph.nodes('Identity', [hidden], ['last_hidden_state']);
  graph.output('last_hidden_state', 'FLOAT', [1, config.num_patches, config.hidden_size]);
  return graph;
}

/** @returns the states of the patches of [1, C, S, S] pixels, [1, patches, D] */
export function siglipStates(
  graph: Graph,
  weights: WeightsFile,
  config: SmolVLMVisionConfig,
  pixels: string,
): string {
  const { hidden_size: D, patch_size, num_patches, layer_norm_eps } = config;
  const linear = (x: string, name: string) => {
    const { shape, values } = weights.tensor(`${PREFIX}.${name}.weight`);
    const bias = weights.values(`${PREFIX}.${name}.bias`);
    return graph.linear(x, { name, N: shape[0], K: shape[1], values }, bias);
  };
  const floats = (name: string, dims?: readonly number[]) =>
    graph.floats(name, weights.values(`${PREFIX}.${name}`), dims);
  const norm = (x: string, name: string) =>
    graph.node('LayerNormalization', [x, floats(`${name}.weight`), floats(`${name}.bias`)], {
      epsilon: { float: layer_norm_eps },
    });

  // A convolution whose stride is its kernel; quantised graphs keep it too, as transformers.js's do.
  const patch = 'embeddings.patch_embedding';
  const kernel = floats(`${patch}.weight`, [D, config.num_channels, patch_size, patch_size]);
  const strides = [patch_size, patch_size];
  const map = graph.node('Conv', [pixels, kernel, floats(`${patch}.bias`)], {
    kernel_shape: strides,
    strides,
  });
  const flat = graph.node('Reshape', [map, graph.integers(1, D, num_patches)]);
  const positions = floats('embeddings.position_embedding.weight', [1, num_patches, D]);
  let x = graph.node('Add', [graph.node('Transpose', [flat], { perm: [0, 2, 1] }), positions]);

  for (let i = 0; i < config.num_hidden_layers; i++) {
    const layer = `encoder.layers.${i}`;
    const before = norm(x, `${layer}.layer_norm1`);
    const [q, k, v] = ['q', 'k', 'v'].map((name) => linear(before, `${layer}.self_attn.${name}_proj`));
    const mixed = attention(graph, config, q, k, v);
    x = graph.node('Add', [x, linear(mixed, `${layer}.self_attn.out_proj`)]);
    const inner = linear(norm(x, `${layer}.layer_norm2`), `${layer}.mlp.fc1`);
    x = graph.node('Add', [x, linear(graph.node('FastGelu', [inner]), `${layer}.mlp.fc2`)]);
  }
  return norm(x, 'post_layernorm');
}

/**
 * softmax(Q · Kᵀ / √d) · V in single operators, as exporters write it. onnxruntime's MultiHeadAttention in their place is no
 * faster natively and slower in WebAssembly.
 */
function attention(graph: Graph, config: SmolVLMVisionConfig, q: string, k: string, v: string): string {
  const { num_attention_heads: heads, head_dim, num_patches, hidden_size } = config;
  const split = (x: string, perm: readonly number[]) => {
    const rows = graph.node('Reshape', [x, graph.integers(1, num_patches, heads, head_dim)]);
    return graph.node('Transpose', [rows], { perm });
  };
  const scores = graph.node('MatMul', [split(q, [0, 2, 1, 3]), split(k, [0, 2, 3, 1])]);
  const scale = graph.tensor('attention scale', 'FLOAT', [], () => Float32Array.of(head_dim ** -0.5));
  const probabilities = graph.node('Softmax', [graph.node('Mul', [scores, scale])], { axis: -1 });
  const mixed = graph.node('MatMul', [probabilities, split(v, [0, 2, 1, 3])]);
  const rows = graph.node('Transpose', [mixed], { perm: [0, 2, 1, 3] });
  return graph.node('Reshape', [rows, graph.integers(1, num_patches, hidden_size)]);
}
