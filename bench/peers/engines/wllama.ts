/** wllama: llama.cpp in WebAssembly, in Chromium. */
import { join } from 'node:path';
import { openPage } from '../chromium.js';
import { type Engine, Unsupported } from '../engine.js';
import { PEERS, peerVersion } from '../packages.js';
import { promptText } from '../prompts.js';
import { ggufOf } from './node-llama-cpp.js';

interface Timings {
  readonly prompt_n: number;
  readonly prompt_ms: number;
  readonly predicted_n: number;
  readonly predicted_ms: number;
}

/** What the page's script leaves on `window`. */
interface Opened {
  createCompletion(options: object): Promise<{ timings: Timings }>;
}

export const engine: Engine<string> = {
  async files(group, { dtype }, files) {
    if (group !== 'text') throw new Unsupported('text models only');
    return ggufOf(dtype, await files.smollm2());
  },
  async open(_, { threads }, model) {
    const esm = join(PEERS, 'node_modules/@wllama/wllama/esm');
    const page = await openPage({ esm, 'model.gguf': model });
    const thread = await page.evaluate(openInPage, { threads, context: 2304 });
    if (thread !== threads) throw new Unsupported(`${threads} threads asked for, ${thread} given`);
    let peak: number | null = null;
    return {
      version: `@wllama/wllama ${peerVersion('@wllama/wllama')} in Chromium`,
      async measure(work, run) {
        const prompt = promptText(work.context as number, run);
        const made = work.tokens === undefined ? 1 : work.tokens + 1;
        const timings = await page.evaluate(completeInPage, { prompt, max_tokens: made });
        // The first word alone may be one that another work's prompt began with.
        if (timings.prompt_n < (work.context as number) - 1)
          throw new Error(`${timings.prompt_n} tokens of the prompt were computed`);
        peak = page.peakBytes();
        if (work.tokens === undefined) return [timings.prompt_ms / 1000];
        return [(work.tokens * timings.predicted_ms) / 1000 / timings.predicted_n];
      },
      peakBytes: () => peak,
      close: () => page.close(),
    };
  },
};

/** Runs in the page. @returns the threads that it got */
async function openInPage({ threads, context }: { threads: number; context: number }): Promise<number> {
  const path = '/esm/index.js';
  const { Wllama, LoggerWithoutDebug } = await import(path);
  const wllama = new Wllama({ default: '/esm/wasm/wllama.wasm' }, { logger: LoggerWithoutDebug });
  const model = await (await fetch('/model.gguf')).blob();
  await wllama.loadModel([model], { n_threads: threads, n_ctx: context, n_gpu_layers: 0, n_parallel: 1 });
  Object.assign(window, { wllama });
  return wllama.isMultithread() ? wllama.getNumThreads() : 1;
}

/** Runs in the page. */
async function completeInPage(options: { prompt: string; max_tokens: number }): Promise<Timings> {
  const { wllama } = window as unknown as { wllama: Opened };
  const { timings } = await wllama.createCompletion({ ...options, temperature: 0, ignore_eos: true });
  return timings;
}
