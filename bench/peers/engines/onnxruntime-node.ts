/** onnxruntime-node: the native CPU provider, in this process. */
import type { Engine } from '../engine.js';
import { loadPeer } from '../packages.js';
import { type Ort, type OrtPaths, ortFiles, ortSession } from './ort.js';

export const engine: Engine<OrtPaths> = {
  files: ortFiles,
  async open(_, { threads }, paths) {
    const { module, version } = await loadPeer<{ default?: Ort } & Ort>('onnxruntime-node');
    const options = { executionProviders: ['cpu'], intraOpNumThreads: threads, interOpNumThreads: 1 };
    return ortSession(module.default ?? module, version, options, paths);
  },
};
