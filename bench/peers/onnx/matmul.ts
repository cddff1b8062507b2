import { counterValues } from '../../../test/support/counter.js';
import { Graph } from './graph.js';

/** `x` [M, K] times a constant [K, N]. */
export function matmulGraph(M: number, K: number, N: number): Graph {
  const graph = new Graph('float32');
  const values = counterValues('matmul.weight', [N, K], { dtype: 'F32' }, 0, N * K) as Float32Array;
  const y = graph.linear(graph.input('x', 'FLOAT', [M, K]), { name: 'w', N, K, values });
  graph.nodes('Identity', [y], ['y']);
  graph.output('y', 'FLOAT', [M, N]);
  return graph;
}
