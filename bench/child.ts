/** A child process of the bench: does one job and sends its figures to the parent. Argument: the job as JSON. */
import { Unsupported } from './configuration.js';
import type { Job, Say } from './job.js';

/** Loaded one by one, so that a measurement of memory holds nothing else. */
const PARTS: Readonly<Record<Job['part'], () => Promise<(job: Job, say: Say) => Promise<void>>>> = {
  layers: async () => (await import('./layers.js')).benchLayers,
  model: async () => (await import('./model.js')).benchModel,
  decode: async () => (await import('./weights-only.js')).benchDecode,
  context: async () => (await import('./context.js')).benchContext,
  load: async () => (await import('./load.js')).measureLoad,
  memory: async () => (await import('./memory.js')).measureMemory,
};

const job: Job = JSON.parse(process.argv[2]);
const say: Say = (message) => process.send!(message);

try {
  const work = await PARTS[job.part]();
  await work(job, say);
} catch (error) {
  const note = error instanceof Unsupported ? error.message : `failed: ${(error as Error).stack}`;
  say({ row: { part: job.part, work: 'left out', note } });
  if (!(error instanceof Unsupported)) process.exitCode = 1;
}
process.disconnect!();
