import type { SmolVLMConfig } from '../../../src/model/config.js';
import type { WeightsFile } from '../weights-file.js';
import { Graph, type GraphDtype } from './graph.js';
import { siglipStates } from './siglip.js';

/**
 * transformers.js's `vision_encoder` for one tile: the SigLIP encoder, the pixel shuffle and the connector's projection.
 * `pixel_values` [1, 1, 3, S, S] and `pixel_attention_mask` [1, 1, S, S] (there, but not looked at: the tile is full) to
 * `image_features` [1, tokens, D].
 */
export function visionEncoderGraph(weights: WeightsFile, config: SmolVLMConfig, dtype: GraphDtype): Graph {
  const graph = new Graph(dtype);
  const { vision_config: vision, text_config: text, scale_factor: s } = config;
  const size = vision.image_size;
  const input = graph.input('pixel_values', 'FLOAT', [1, 1, vision.num_channels, size, size]);
  const pixels = graph.node('Reshape', [input, graph.integers(1, vision.num_channels, size, size)]);
  const states = siglipStates(graph, weights, vision, pixels);
  const { num_patches_per_side: side, hidden_size: D } = vision;
  // [row, row in block, column, column in block, D] with the blocks' insides gathered: the reference's pixel_shuffle.
  const blocks = graph.node('Reshape', [states, graph.integers(side / s, s, side / s, s, D)]);
  const shuffled = graph.node('Transpose', [blocks], { perm: [0, 2, 1, 3, 4] });
  const rows = graph.node('Reshape', [shuffled, graph.integers(1, config.image_seq_len, D * s * s)]);
  const name = 'model.connector.modality_projection.proj.weight';
  const projection = { name, N: text.hidden_size, K: D * s * s, values: weights.values(name) };
  graph.nodes('Identity', [graph.linear(rows, projection)], ['image_features']);
  graph.output('image_features', 'FLOAT', [1, config.image_seq_len, text.hidden_size]);
  return graph;
}
