/** A whole model of a real size: one tile, prompts, tokens at growing context. */
import type { SmolVLMConfig } from '../src/model/config.js';
import type { SmolVLMForConditionalGeneration } from '../src/modeling.js';
import { ARITHMETIC_NAMES, Ceilings } from './ceilings.js';
import { arithmeticOf, CACHE_BYTES, type Configuration, openModel, WEIGHT_BYTES } from './configuration.js';
import { decodeTimes } from './decode.js';
import { textIds, tile } from './inputs.js';
import type { Job, Say } from './job.js';
import type { Row } from './report.js';
import { cacheValues, sizeConfig, textOperations, tokenWeights, visionOperations } from './sizes.js';
import { ThreadCeilings } from './thread-ceilings.js';
import { timeAsync } from './timing.js';

/** How much more several threads' registers do than one's. */
export const THREADS_AT_ONCE = 'registers of all threads at once';

const PROMPTS = [64, 512, 1141];
const CONTEXTS = [128, 512, 2048, 4096];
const DECODED = 24;
/** Seconds that the repetitions of one figure may take; two are made in any case. */
const BUDGET = 5;

interface Context {
  model: SmolVLMForConditionalGeneration;
  config: SmolVLMConfig;
  configuration: Configuration;
  ceilings: Ceilings;
  /** Of all threads of the configuration, where it has several. */
  together: ThreadCeilings | undefined;
  report: (row: Omit<Row, 'part'>) => void;
}

export async function benchModel({ size, folder, configuration }: Job, say: Say): Promise<void> {
  const model = await openModel(folder, configuration);
  const ceilings = new Ceilings();
  const report = (row: Omit<Row, 'part'>) => say({ row: { part: 'model', ...row } });
  const { threads } = configuration;
  const together = threads > 1 ? await ThreadCeilings.start(threads) : undefined;
  const context = { model, config: sizeConfig(size), configuration, ceilings, together, report };
  if (together) await benchThreads(context, together);
  await warmUp(context);
  await benchTile(context);
  for (const count of PROMPTS) await benchPrompt(context, count);
  for (const count of CONTEXTS) await benchDecode(context, count);
  report({ work: 'WebAssembly memory at the end', value: model.memory / 1e6, unit: 'MB' });
  model.dispose();
  await together?.close();
}

/** What more threads could gain at best. */
async function benchThreads({ configuration, report }: Context, together: ThreadCeilings): Promise<void> {
  const kind = arithmeticOf(configuration);
  const one = await together.arithmetic(kind, 1);
  const all = await together.arithmetic(kind);
  if (one === undefined || all === undefined) return;
  const against = { name: 'threads', value: configuration.threads };
  report({ work: THREADS_AT_ONCE, value: all / one, unit: '×', against, note: ARITHMETIC_NAMES[kind] });
}

/** Half a second of small work: engines compile for speed what has run for a while. */
async function warmUp({ model, config }: Context): Promise<void> {
  const { patch_size, num_channels } = config.vision_config;
  const side = 2 * config.scale_factor * patch_size;
  const data = tile(config).data.subarray(0, num_channels * side * side);
  const end = performance.now() + 500;
  while (performance.now() < end) {
    await model.get_image_features({ dims: [1, 1, num_channels, side, side], data });
    await model.forward({ input_ids: textIds(config, 8), use_cache: false, logits_to_keep: 1 });
  }
}

async function benchTile(context: Context): Promise<void> {
  const { model, config, report } = context;
  const pixels = tile(config);
  const against = await arithmeticCeiling(context);
  const { median, ...spread } = await timeAsync(() => model.get_image_features(pixels), SLOW);
  const { image_size } = config.vision_config;
  report({
    work: `one ${image_size} × ${image_size} tile`,
    seconds: median,
    ...spread,
    value: visionOperations(config) / 1e9 / median,
    unit: 'GFLOP/s',
    against,
  });
}

async function benchPrompt(context: Context, count: number): Promise<void> {
  const { model, config, report } = context;
  const input_ids = textIds(config, count);
  const against = await arithmeticCeiling(context);
  const { median, ...spread } = await timeAsync(
    () => model.forward({ input_ids, use_cache: false, logits_to_keep: 1 }),
    SLOW,
  );
  report({
    work: `prompt of ${count} tokens`,
    seconds: median,
    ...spread,
    value: textOperations(config, count) / 1e9 / median,
    unit: 'GFLOP/s',
    against,
    note: `${(count / median).toFixed(0)} tokens/s`,
  });
}

const SLOW = { least: 2, budget: BUDGET, warm: 0 };

async function benchDecode({ model, config, configuration, ceilings, report }: Context, context: number) {
  const stream = ceilings.loadSum();
  const { median, ...spread } = await decodeTimes(model, config, context, DECODED);
  const cacheBytes = CACHE_BYTES[configuration.kv_cache_dtype ?? 'float32'];
  const bytes =
    WEIGHT_BYTES[configuration.dtype] * tokenWeights(config) + cacheBytes * cacheValues(config, context);
  report({
    work: `a token at context ${context}`,
    seconds: median,
    ...spread,
    value: bytes / 1e9 / median,
    unit: 'GB/s',
    against: { name: 'load-sum of memory', value: stream },
    note: `${(1 / median).toFixed(1)} tokens/s`,
  });
}

/** What registers allow, of all threads at once. */
async function arithmeticCeiling({ ceilings, together, configuration }: Context): Promise<Row['against']> {
  const kind = arithmeticOf(configuration);
  const value = together ? await together.arithmetic(kind) : ceilings.arithmetic(kind);
  const name = ARITHMETIC_NAMES[kind] + (together ? `, ${configuration.threads} threads at once` : '');
  return value === undefined ? undefined : { name, value };
}
