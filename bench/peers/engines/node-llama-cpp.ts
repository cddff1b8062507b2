/** node-llama-cpp: llama.cpp natively, from its prebuilt binary, on the CPU. */
import { type Engine, stretches, tokensToMake, Unsupported } from '../engine.js';
import { loadPeer } from '../packages.js';
import { promptText } from '../prompts.js';

interface LlamaModule {
  getLlama(options: object): Promise<{ loadModel(options: object): Promise<LlamaModel> }>;
}
interface LlamaModel {
  createContext(options: object): Promise<{ getSequence(): Sequence }>;
  tokenize(text: string): number[];
  dispose(): Promise<void>;
}
interface Sequence {
  clearHistory(): Promise<void>;
  evaluate(tokens: number[], options: object): AsyncGenerator<number>;
}

export const engine: Engine<string> = {
  async files(group, { dtype }, files) {
    if (group !== 'text') throw new Unsupported('text models only');
    return ggufOf(dtype, await files.smollm2());
  },
  async open(_, { threads }, modelPath) {
    const { module, version } = await loadPeer<LlamaModule>('node-llama-cpp');
    const llama = await module.getLlama({
      gpu: false,
      build: 'never',
      skipDownload: true,
      maxThreads: threads,
    });
    const model = await llama.loadModel({ modelPath });
    const context = await model.createContext({ contextSize: 2304, threads });
    const sequence = context.getSequence();
    return {
      version,
      async measure(work, run) {
        const tokens = model.tokenize(promptText(work.context as number, run));
        if (tokens.length !== work.context)
          throw new Error(`a prompt of ${tokens.length} tokens, not ${work.context}`);
        await sequence.clearHistory();
        const times: number[] = [];
        const started = performance.now();
        for await (const _ of sequence.evaluate(tokens, { temperature: 0, yieldEogToken: true })) {
          if (times.push(performance.now()) === tokensToMake(work)) break;
        }
        return stretches(work, started, times);
      },
      close: () => model.dispose(),
    };
  },
};

/** The GGUF of SmolLM2 in a format. */
export function ggufOf(dtype: string, files: { q8_0: string; q4_0: string; q4_1: string }): string {
  const path = { Q8_0: files.q8_0, Q4_0: files.q4_0, Q4_1: files.q4_1 }[dtype];
  if (path === undefined) throw new Unsupported(`dtype ${dtype}`);
  return path;
}
