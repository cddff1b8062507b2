/** The same predictions by llama.cpp, through node-llama-cpp where bench/peers is installed. */
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

/** As much of node-llama-cpp's interface as is used here. */
interface Llama {
  loadModel(options: { modelPath: string }): Promise<LlamaModel>;
  dispose(): Promise<void>;
}
interface LlamaModel {
  createContext(options: object): Promise<{ getSequence(): LlamaSequence; dispose(): Promise<void> }>;
}
interface LlamaSequence {
  clearHistory(): Promise<void>;
  controlledEvaluate(input: [number, object][]): Promise<({ next: Next } | undefined)[]>;
}
interface Next {
  logits?: Map<number, number>;
  totalLogitWeight?: number;
}

/**
 * −log p of every token of the windows but their first ones.
 * @throws Error where node-llama-cpp is not installed
 */
export async function llamaCppLosses(
  modelPath: string,
  windows: readonly Int32Array[],
  threads: number,
): Promise<number[]> {
  const path = createRequire(`${process.cwd()}/bench/peers/package.json`).resolve('node-llama-cpp');
  const { getLlama } = await import(pathToFileURL(path).href);
  const llama: Llama = await getLlama({ gpu: false, build: 'never', maxThreads: threads });
  try {
    const model = await llama.loadModel({ modelPath });
    const contextSize = Math.max(...windows.map(({ length }) => length));
    const context = await model.createContext({ contextSize, batchSize: contextSize, threads });
    const sequence = context.getSequence();
    const losses: number[] = [];
    for (const ids of windows) {
      await sequence.clearHistory();
      // The logits of the token that follows and of the likeliest one: log p = logit − (maximum + log Σ e^(x − maximum)).
      // Not `includeMax`: version 3.22.1 leaves the maximum out unless it is asked for by its id.
      const input = Array.from(ids.subarray(0, -1), (id, i): [number, object] => {
        const filter = { tokens: [ids[i + 1]], includeTop: 1 };
        return [id, { generateNext: { logits: { filter }, totalLogitWeight: true } }];
      });
      for (const [i, result] of (await sequence.controlledEvaluate(input)).entries()) {
        const { logits, totalLogitWeight } = result!.next;
        const largest = Math.max(...logits!.values());
        losses.push(largest + Math.log(totalLogitWeight!) - logits!.get(ids[i + 1]!)!);
      }
    }
    await context.dispose();
    return losses;
  } finally {
    await llama.dispose();
  }
}
