/**
 * Which engine is measured in which configuration at which works. Data only: what an engine cannot do (yet) is reported
 * as that and stops nothing.
 */
import type { EngineName, EngineSettings } from './engine.js';
import type { Group } from './works.js';

export interface Configuration extends Omit<EngineSettings, 'python'> {
  readonly engine: EngineName;
  /** `this`: the Node that runs the benchmark; `current`: the newest that comes as a package. Default: current. */
  readonly node?: 'this' | 'current';
  readonly groups: readonly Group[];
  /** Leaves out works that would take minutes a run, unless --all is given. */
  readonly slow?: readonly string[];
}

const MODEL: readonly Group[] = ['tile', 'text', 'picture'];
const EVERYTHING: readonly Group[] = ['matmul', ...MODEL];
/** At the speed of wllama. */
const SLOW_TEXT = ['prefill-1141', 'decode-2048'];

const ours = (settings: Omit<Configuration, 'engine'>): Configuration => ({
  engine: 'smolvlm-wasm',
  ...settings,
});

export const CONFIGURATIONS: readonly Configuration[] = [
  ours({ dtype: 'float32', threads: 1, node: 'this', groups: EVERYTHING }),
  ours({ dtype: 'float32', threads: 1, groups: EVERYTHING }),
  { engine: 'onnxruntime-web', dtype: 'float32', threads: 1, node: 'this', groups: ['matmul', 'tile'] },
  { engine: 'onnxruntime-web', dtype: 'float32', threads: 1, groups: EVERYTHING },
  ours({ dtype: 'float32', threads: 1, relaxed: true, groups: EVERYTHING }),
  { engine: 'onnxruntime-node', dtype: 'float32', threads: 1, groups: EVERYTHING },
  ours({ dtype: 'float32', threads: 2, groups: EVERYTHING }),
  ours({ dtype: 'float32', threads: 2, relaxed: true, groups: EVERYTHING }),
  { engine: 'onnxruntime-node', dtype: 'float32', threads: 2, groups: EVERYTHING },
  { engine: 'torch', dtype: 'float32', threads: 1, groups: ['matmul', 'tile'] },
  { engine: 'torch', dtype: 'float32', threads: 2, groups: ['matmul', 'tile'] },

  ours({ dtype: 'bfloat16', threads: 1, groups: ['text', 'picture'] }),
  ours({ dtype: 'int8', threads: 1, node: 'this', groups: MODEL }),
  ours({ dtype: 'int8', threads: 1, groups: MODEL }),
  { engine: 'onnxruntime-web', dtype: 'int8', threads: 1, node: 'this', groups: ['tile'] },
  { engine: 'onnxruntime-web', dtype: 'int8', threads: 1, groups: MODEL },
  ours({ dtype: 'int8', threads: 1, relaxed: true, groups: MODEL }),
  { engine: 'node-llama-cpp', dtype: 'Q8_0', threads: 1, groups: ['text'] },
  { engine: 'onnxruntime-node', dtype: 'int8', threads: 1, groups: MODEL },
  { engine: 'wllama', dtype: 'Q8_0', threads: 1, groups: ['text'], slow: SLOW_TEXT },
  ours({ dtype: 'int8', threads: 2, groups: MODEL }),
  ours({ dtype: 'int8', threads: 2, relaxed: true, groups: MODEL }),
  { engine: 'node-llama-cpp', dtype: 'Q8_0', threads: 2, groups: ['text'] },
  { engine: 'onnxruntime-node', dtype: 'int8', threads: 2, groups: MODEL },
  { engine: 'transformers.js', dtype: 'int8', threads: 1, groups: ['text', 'picture'] },
  { engine: 'transformers.js', dtype: 'int8', threads: 2, groups: ['text', 'picture'] },
  { engine: 'transformers.js-web', dtype: 'int8', threads: 1, groups: ['text', 'picture'], slow: SLOW_TEXT },
  { engine: 'transformers.js-web', dtype: 'int8', threads: 2, groups: ['text', 'picture'], slow: SLOW_TEXT },
  { engine: 'wllama', dtype: 'Q8_0', threads: 2, groups: ['text'], slow: SLOW_TEXT },

  ours({ dtype: 'int4', threads: 1, groups: MODEL }),
  ours({ dtype: 'int4', threads: 1, relaxed: true, groups: MODEL }),
  { engine: 'node-llama-cpp', dtype: 'Q4_0', threads: 1, groups: ['text'] },
  { engine: 'onnxruntime-node', dtype: 'int4', threads: 1, groups: ['text'] },
  { engine: 'wllama', dtype: 'Q4_0', threads: 1, groups: ['text'], slow: SLOW_TEXT },
  ours({ dtype: 'int4', threads: 2, relaxed: true, groups: MODEL }),
  { engine: 'node-llama-cpp', dtype: 'Q4_0', threads: 2, groups: ['text'] },
  { engine: 'wllama', dtype: 'Q4_0', threads: 2, groups: ['text'], slow: SLOW_TEXT },
];

/** `engine dtype threads`, as it is shown and as `--only` matches it. */
export function titleOf({ engine, dtype, threads, relaxed, node }: Configuration): string {
  const parts = [engine, dtype, `${threads} thread${threads > 1 ? 's' : ''}`];
  if (relaxed) parts.push('relaxed');
  const inNode = engine === 'smolvlm-wasm' || engine === 'onnxruntime-web';
  if (inNode) parts.push(node === 'this' ? 'this node' : 'current node');
  return parts.join(', ');
}
