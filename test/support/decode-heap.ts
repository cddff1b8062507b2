/**
 * A process of its own (node --expose-gc, a young generation that holds it all; decode-heap.js LAYERS): what decoding leaves on the
 * JavaScript heap. Prints one line of JSON, bytes.
 */
import { PerformanceObserver } from 'node:perf_hooks';
import { textIds } from '../../bench/inputs.js';
import { cutModel } from './cut-model.js';

const TOKENS = 100;
const RUNS = 5;

const { model, config } = await cutModel({}, Number(process.argv[2]));
const generate = () =>
  model.generate({ input_ids: textIds(config, 20), max_new_tokens: TOKENS, min_new_tokens: TOKENS });
/** Twice, with time between: buffers are swept beside the program. */
async function collect(): Promise<void> {
  for (let i = 0; i < 2; i++) {
    (globalThis as unknown as { gc(): void }).gc();
    await rest();
  }
}

const rest = () => new Promise((resolve) => setTimeout(resolve, 50));

// Compiled, and every cache filled.
for (let i = 0; i < 5; i++) await generate();
let collections = 0;
new PerformanceObserver((list) => (collections += list.getEntries().length)).observe({ entryTypes: ['gc'] });
/** The least of several runs: code and its feedback come once, what a token leaves behind comes every time. */
let garbage = Number.POSITIVE_INFINITY;
let kept = Number.POSITIVE_INFINITY;
let keptBuffers = Number.POSITIVE_INFINITY;
for (let run = 0; run < RUNS; run++) {
  await collect();
  collections = 0;
  const before = process.memoryUsage();
  await generate();
  const after = process.memoryUsage();
  await rest();
  if (collections === 0) garbage = Math.min(garbage, (after.heapUsed - before.heapUsed) / TOKENS);
  await collect();
  const left = process.memoryUsage();
  kept = Math.min(kept, left.heapUsed - before.heapUsed);
  keptBuffers = Math.min(keptBuffers, left.arrayBuffers - before.arrayBuffers);
}
console.log(JSON.stringify({ garbage, kept, keptBuffers }));
process.exit(0);
