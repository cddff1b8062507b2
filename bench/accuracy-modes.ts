/** The precisions that bench/accuracy.ts compares, and what each makes of the text's windows. */
import { join } from 'node:path';
import { openCheckpoint } from '../src/checkpoint/folder.js';
import { forward } from '../src/model/forward.js';
import { head } from '../src/model/head.js';
import { type LoadOptions, loadModel } from '../src/model/load.js';
import type { Model } from '../src/model/model.js';
import { uniformDtypes } from '../src/model/weight-dtypes.js';
import type { Engine } from '../src/runtime/engine.js';
import type { Weight } from '../src/runtime/weight.js';
import { quantisedRounding, type RowRounding, roundWeights } from '../test/support/dequantised.js';
import { dequantize, GGML_Q4_0, GGML_Q8_0, quantize } from '../test/support/gguf/quants.js';
import { llamaCppLosses } from './accuracy-llama-cpp.js';

/** −log p of every predicted token, in order. */
export interface Scores {
  losses: number[];
}

interface Mode {
  load?: LoadOptions;
  /** How a matrix is rounded before a float32 run. */
  rounding?: (engine: Engine, weight: Weight) => RowRounding | undefined;
  /** A file of the folder that llama.cpp runs instead. */
  gguf?: 'q4_0.gguf' | 'q4_1.gguf' | 'q8_0.gguf';
}

/** The token embedding, which is the head too where they are tied. */
const isVocabulary = ({ name }: Weight) => /(embed_tokens|lm_head)\.weight$/.test(name);
/** The vision tower of the converted checkpoint is a stub that the text never reaches. */
const isText = ({ name }: Weight) => /text_model|lm_head/.test(name);

const int8 = (engine: Engine) => quantisedRounding(engine, 8);
const int4 = (engine: Engine) => quantisedRounding(engine, 4);
const ggml =
  (type: typeof GGML_Q4_0 | typeof GGML_Q8_0): RowRounding =>
  (rows) =>
    dequantize(type, quantize(type, rows), rows.length);

export const MODES: Readonly<Record<string, Mode>> = {
  float32: {},
  bf16: { load: { dtypes: uniformDtypes('BF16') } },
  int8: { load: { dtypes: uniformDtypes('I8') } },
  'int8 relaxed': { load: { dtypes: uniformDtypes('I8'), relaxed: true } },
  int4: { load: { dtypes: uniformDtypes('I4') } },
  'int4 relaxed': { load: { dtypes: uniformDtypes('I4'), relaxed: true } },
  'weights int8': { rounding: int8 },
  'weights Q8_0': { rounding: () => ggml(GGML_Q8_0) },
  'weights int4': { rounding: (engine, weight) => (isVocabulary(weight) ? int8(engine) : int4(engine)) },
  'weights int4 all': { rounding: int4 },
  'weights Q4_0': { rounding: (_, weight) => ggml(isVocabulary(weight) ? GGML_Q8_0 : GGML_Q4_0) },
  'weights Q4_0 all': { rounding: () => ggml(GGML_Q4_0) },
  'llama.cpp Q4_1': { gguf: 'q4_1.gguf' },
  'llama.cpp Q8_0': { gguf: 'q8_0.gguf' },
  'llama.cpp Q4_0': { gguf: 'q4_0.gguf' },
};

/** @param folder with hf/ and the GGUF files */
export async function scoreMode(
  name: string,
  folder: string,
  windows: readonly Int32Array[],
  threads: number,
): Promise<Scores> {
  const mode = MODES[name];
  if (!mode) throw new Error(`unknown mode ${name}; there are: ${Object.keys(MODES).join(', ')}`);
  if (mode.gguf) return { losses: await llamaCppLosses(join(folder, mode.gguf), windows, threads) };
  const model = await loadModel(await openCheckpoint(join(folder, 'hf')), { threads, ...mode.load });
  const { engine } = model.ops;
  try {
    const { rounding } = mode;
    if (rounding) {
      const of = (weight: Weight) => (isText(weight) ? rounding(engine, weight) : undefined);
      await engine.run(() => roundWeights(engine, model.named, of));
    }
    const losses: number[] = [];
    for (const window of windows) losses.push(...(await windowLosses(model, window)));
    return { losses };
  } finally {
    engine.dispose();
  }
}

/** Tokens whose logits are held at once. */
const CHUNK = 64;

function windowLosses(model: Model, ids: Int32Array): Promise<number[]> {
  const { engine } = model.ops;
  const vocabulary = model.weights.lm_head.N;
  return engine.run(function* () {
    const input_ids = { dims: [1, ids.length], data: ids };
    const { hidden, past_key_values } = yield* forward(model, { input_ids });
    const losses: number[] = [];
    for (let start = 0; start + 1 < ids.length; start += CHUNK) {
      const count = Math.min(CHUNK, ids.length - 1 - start);
      const mark = engine.activations.mark();
      const columns = Array.from({ length: count }, (_, i) => start + i);
      const scores = yield* head(model, hidden, columns);
      yield* engine.drain();
      for (const column of columns) {
        const row = scores.pointer + 4 * (column - start) * vocabulary;
        losses.push(engine.kernels.f64_cross_entropy(row, vocabulary, ids[column + 1]!));
      }
      engine.activations.release(mark);
      yield;
    }
    past_key_values.dispose();
    return losses;
  });
}
