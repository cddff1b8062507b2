/**
 * How soon an abort is answered at the real 256M size: `node build/bench/aborts.js [THREADS] [ABORTS]`. Each stage is cancelled
 * at random moments; a latency counts from the moment that the timer was set for, so a loop that is kept waiting counts too.
 */
import { Random } from '../src/generation/random.js';
import { type PretrainedOptions, SmolVLMForConditionalGeneration } from '../src/index.js';
import { checkpoint } from './checkpoints.js';
import { textIds, tile } from './inputs.js';
import { sizeConfig } from './sizes.js';

const threads = Number(process.argv[2] ?? 1);
const aborts = Number(process.argv[3] ?? 12);
const random = new Random(7, threads);
const config = sizeConfig('256m');

/** Milliseconds from the moment of the abort to the rejection; undefined where the call was done before. */
async function latency(
  call: (signal: AbortSignal) => Promise<unknown>,
  after: number,
): Promise<number | undefined> {
  const controller = new AbortController();
  const due = performance.now() + after;
  const timer = setTimeout(() => controller.abort(), after);
  try {
    await call(controller.signal);
    clearTimeout(timer);
    return undefined;
  } catch (error) {
    if (!controller.signal.aborted) throw error;
    return performance.now() - due;
  }
}

/** A call that takes `whole` milliseconds or more, cancelled at random moments of it. */
async function measure(
  stage: string,
  whole: number,
  call: (signal: AbortSignal) => Promise<unknown>,
): Promise<void> {
  const found: number[] = [];
  for (let i = 0; i < aborts; i++) {
    const taken = await latency(call, whole * random.float64());
    if (taken !== undefined) found.push(taken);
  }
  found.sort((a, b) => a - b);
  const at = (share: number) =>
    found[Math.min(found.length - 1, Math.floor(share * found.length))]?.toFixed(1);
  const figures = `median ${at(0.5)} ms, 9 of 10 within ${at(0.9)} ms, longest ${at(1)} ms`;
  console.log(`threads ${threads}, ${stage.padEnd(26)} ${found.length} aborts: ${figures}`);
}

const folder = await checkpoint('256m');
const open = (options: PretrainedOptions) =>
  SmolVLMForConditionalGeneration.from_pretrained(folder, { threads, image_cache_bytes: 0, ...options });
const loading = (options: PretrainedOptions) => async (signal: AbortSignal) =>
  (await open({ ...options, signal })).dispose();
await measure('loading', 500, loading({}));
await measure('loading, quantised to int8', 1000, loading({ dtype: 'int8' }));
await measure('loading, quantised to int4', 1000, loading({ dtype: 'int4' }));
for (const dtype of ['auto', 'int8'] as const) {
  const model = await open({ dtype });
  const prompt = { input_ids: textIds(config, 1000), reuse_prefix: false };
  const short = { input_ids: textIds(config, 20), max_new_tokens: 200, min_new_tokens: 200 };
  await model.generate({ ...short, max_new_tokens: 2, min_new_tokens: 2 });
  const name = (stage: string) => `${stage}${dtype === 'auto' ? '' : `, ${dtype}`}`;
  await measure(name('encoding a tile'), 1500, (signal) => {
    return model.get_image_features(tile(config), null, { signal });
  });
  await measure(name('prefill of 1000 tokens'), 2000, (signal) => model.generate({ ...prompt, signal }));
  await measure(name('decoding'), 1000, (signal) => model.generate({ ...short, signal }));
  model.dispose();
}
