/** How the time of a token grows with the context, by the dtype of the KV cache. */
import { openModel } from './configuration.js';
import { decodeTimes } from './decode.js';
import type { Job, Say } from './job.js';
import { cacheValues, sizeConfig } from './sizes.js';

const CONTEXTS = [128, 512, 1024, 2048, 4096];
const DECODED = 24;

export async function benchContext({ size, folder, configuration }: Job, say: Say): Promise<void> {
  const model = await openModel(folder, configuration);
  const config = sizeConfig(size);
  await decodeTimes(model, config, CONTEXTS[0], DECODED);
  const medians: number[] = [];
  for (const context of CONTEXTS) {
    const { median, ...spread } = await decodeTimes(model, config, context, DECODED);
    medians.push(median);
    const work = `a token at context ${context}`;
    const note = `${(cacheValues(config, context) / 1e6).toFixed(1)} million keys and values`;
    say({
      row: { part: 'context', work, seconds: median, ...spread, value: 1e3 * median, unit: 'ms', note },
    });
  }
  say({
    row: {
      part: 'context',
      work: `${CONTEXTS.at(-1)} against ${CONTEXTS[0]}`,
      value: medians[medians.length - 1] / medians[0],
      unit: '×',
      against: configuration.aim ? { name: 'the aim', value: configuration.aim } : undefined,
    },
  });
  model.dispose();
}
