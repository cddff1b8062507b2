/** onnxruntime-web: its WebAssembly provider, in Node. */
import { type Engine, Unsupported } from '../engine.js';
import { loadPeer } from '../packages.js';
import { type Ort, type OrtPaths, ortFiles, ortSession } from './ort.js';

export const engine: Engine<OrtPaths> = {
  files: ortFiles,
  async open(_, { threads }, paths) {
    if (threads > 1) throw new Unsupported('its threads need a browser');
    const { module, version } = await loadPeer<{ default?: Ort } & Ort>('onnxruntime-web');
    const ort = module.default ?? module;
    ort.env.wasm.numThreads = 1;
    return ortSession(ort, version, { executionProviders: ['wasm'] }, paths);
  },
};
