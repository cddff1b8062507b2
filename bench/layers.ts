/**
 * One layer of each tower at real widths: what a model with three layers takes more than one with a single layer, halved,
 * and how the time divides among the kernels.
 */
import type { SmolVLMConfig } from '../src/model/config.js';
import type { SmolVLMForConditionalGeneration } from '../src/modeling.js';
import { watchKernels } from '../test/support/kernel-calls.js';
import { ARITHMETIC_NAMES, Ceilings } from './ceilings.js';
import { checkpoint } from './checkpoints.js';
import { arithmeticOf, type Configuration, openModel, WEIGHT_BYTES } from './configuration.js';
import { legacyCache, textIds, tile } from './inputs.js';
import type { Job, Say } from './job.js';
import { duration, type Row } from './report.js';
import {
  type Size,
  sizeConfig,
  textLayerOperations,
  textLayerWeights,
  visionLayerOperations,
} from './sizes.js';
import { timing } from './timing.js';

const FEW = 1;
const MANY = 3;
/** A small vocabulary: the head is no part of a layer. */
const VOCABULARY = 1024;
const PROMPT = 512;
const RUNS = 3;
const DECODED = 40;

/** Seconds, and milliseconds by kernel. */
interface Profile {
  seconds: number;
  spread: number;
  kernels: Map<string, number>;
}

type Work = (model: SmolVLMForConditionalGeneration, config: SmolVLMConfig) => Promise<Profile>;

export async function benchLayers({ size, configuration }: Job, say: Say): Promise<void> {
  const few = await openCut(size, FEW, configuration);
  const many = await openCut(size, MANY, configuration);
  const ceilings = new Ceilings();
  const layerOf = async (work: Work): Promise<Profile> => {
    const [less, more] = [await work(few.model, few.config), await work(many.model, many.config)];
    const kernels = new Map(
      [...more.kernels].map(([name, ms]) => [name, ms - (less.kernels.get(name) ?? 0)]),
    );
    return { seconds: (more.seconds - less.seconds) / (MANY - FEW), spread: more.spread, kernels };
  };
  const report = (work: string, { seconds, spread, kernels }: Profile, figure: Partial<Row>) =>
    say({ row: { part: 'layers', work, seconds, spread, runs: RUNS, ...figure, note: shares(kernels) } });

  const { vision_config } = few.config;
  const kind = arithmeticOf(configuration);
  const arithmetic = (operations: number, seconds: number) => ({
    value: operations / 1e9 / seconds,
    unit: 'GFLOP/s',
    against: { name: ARITHMETIC_NAMES[kind], value: ceilings.arithmetic(kind)! },
  });
  const vision = await layerOf(visionWork);
  report(
    'a vision layer, one tile',
    vision,
    arithmetic(visionLayerOperations(vision_config), vision.seconds),
  );
  const prompt = await layerOf(promptWork);
  const operations = textLayerOperations(few.config, PROMPT);
  report(`a text layer, prompt of ${PROMPT}`, prompt, arithmetic(operations, prompt.seconds));
  const token = await layerOf(tokenWork);
  const bytes = WEIGHT_BYTES[configuration.dtype] * textLayerWeights(few.config.text_config);
  report(`a text layer, a token at context ${PROMPT}`, token, {
    value: bytes / 1e9 / token.seconds,
    unit: 'GB/s',
    against: { name: 'load-sum of memory', value: ceilings.loadSum() },
  });
  few.model.dispose();
  many.model.dispose();
}

async function openCut(size: Size, layers: number, configuration: Configuration) {
  const change = { layers, vocab_size: VOCABULARY };
  const model = await openModel(await checkpoint(size, change), configuration);
  return { model, config: sizeConfig(size, change) };
}

const visionWork: Work = (model, config) => {
  const pixels = tile(config);
  return profile(RUNS, () => model.get_image_features(pixels));
};

const promptWork: Work = (model, config) => {
  const input_ids = textIds(config, PROMPT);
  return profile(RUNS, () => model.forward({ input_ids, use_cache: false, logits_to_keep: 1 }));
};

const tokenWork: Work = async (model, config) => {
  const past_key_values = await model.from_legacy_cache(legacyCache(config, PROMPT));
  const input_ids = textIds(config, 1);
  const result = await profile(DECODED, () =>
    model.forward({ input_ids, past_key_values, logits_to_keep: 1 }),
  );
  past_key_values.dispose();
  return result;
};

/** The median of `runs` calls, and each kernel's part of a call on average. The first call is not counted. */
async function profile(runs: number, call: () => Promise<unknown>): Promise<Profile> {
  await call();
  const kernels = new Map<string, number>();
  const seconds: number[] = [];
  await watchKernels(
    (name, _, ms) => kernels.set(name, (kernels.get(name) ?? 0) + ms / runs),
    async () => {
      for (let i = 0; i < runs; i++) {
        const started = performance.now();
        await call();
        seconds.push((performance.now() - started) / 1000);
      }
    },
  );
  const { median, spread } = timing(seconds);
  return { seconds: median, spread, kernels };
}

/** Kernels of more than a hundredth of a layer: `f32_bf16w_gemm 71 %, f32_attention 20 %`. */
function shares(kernels: Map<string, number>): string {
  const total = [...kernels.values()].reduce((sum, ms) => sum + Math.max(0, ms), 0);
  const parts = [...kernels]
    .filter(([, ms]) => ms > total / 100)
    .sort(([, a], [, b]) => b - a)
    .map(([name, ms]) => `${name} ${((100 * ms) / total).toFixed(0)} %`);
  return `in kernels ${duration(total / 1e3 / (MANY - FEW))}: ${parts.join(', ')}`;
}
