/**
 * How the time of a token grows with the context, by the dtype of the KV cache, and how it would if keys and values were
 * read at the rate of a load-sum and cost nothing else. Tokens of all contexts and the load-sum take turns, so that a phase
 * of the machine falls on all of them.
 */
import { STREAM_BYTES, stream } from './ceilings.js';
import { CACHE_BYTES, openModel } from './configuration.js';
import { legacyCache, textIds } from './inputs.js';
import type { Job, Say } from './job.js';
import { cacheValues, sizeConfig } from './sizes.js';
import { timing } from './timing.js';

const CONTEXTS = [128, 512, 1024, 2048, 4096];
const DECODED = 24;
const WARM = 4;

export async function benchContext({ size, folder, configuration }: Job, say: Say): Promise<void> {
  const model = await openModel(folder, configuration);
  const config = sizeConfig(size);
  const caches = [];
  for (const context of CONTEXTS) caches.push(await model.from_legacy_cache(legacyCache(config, context)));
  const seconds: number[][] = CONTEXTS.map(() => []);
  const read = stream();
  const reading: number[] = [];
  for (const id of textIds(config, WARM + DECODED).data) {
    for (const [i, past_key_values] of caches.entries()) {
      const input_ids = { dims: [1, 1], data: Int32Array.of(id) };
      const started = performance.now();
      await model.forward({ input_ids, past_key_values, logits_to_keep: 1 });
      seconds[i].push((performance.now() - started) / 1000);
    }
    const started = performance.now();
    read();
    reading.push((performance.now() - started) / 1000);
  }
  const timings = seconds.map((times) => timing(times.slice(WARM)));
  for (const [i, context] of CONTEXTS.entries()) {
    const { median, ...spread } = timings[i];
    const work = `a token at context ${context}`;
    const note = `${(cacheValues(config, context) / 1e6).toFixed(1)} million keys and values`;
    say({
      row: { part: 'context', work, seconds: median, ...spread, value: 1e3 * median, unit: 'ms', note },
    });
  }
  const [first, last] = [CONTEXTS[0], CONTEXTS[CONTEXTS.length - 1]];
  const work = `${last} against ${first}`;
  const base = timings[0].median;
  say({
    row: {
      part: 'context',
      work,
      value: timings[timings.length - 1].median / base,
      unit: '×',
      against: configuration.aim ? { name: 'the aim', value: configuration.aim } : undefined,
    },
  });
  if (configuration.threads === 1) {
    const bytes =
      CACHE_BYTES[configuration.kv_cache_dtype ?? 'float32'] *
      (cacheValues(config, last) - cacheValues(config, first));
    const rate = STREAM_BYTES / timing(reading.slice(WARM)).median;
    const note = `${(bytes / 1e6).toFixed(0)} MB at ${(rate / 1e9).toFixed(1)} GB/s`;
    const value = 1 + bytes / rate / base;
    say({
      row: { part: 'context', work: `${work}, by reading keys and values alone`, value, unit: '×', note },
    });
  }
  model.dispose();
}
