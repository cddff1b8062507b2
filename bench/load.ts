/** Loading a checkpoint's file, in its page cache, beside reading it. */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { openModel } from './configuration.js';
import { textIds } from './inputs.js';
import type { Job, Say } from './job.js';
import type { Report } from './report.js';
import { sizeConfig } from './sizes.js';
import { timing } from './timing.js';

const PIECE = 1 << 20;

/** In a process of its own, so that nothing is compiled or allocated yet: one load, and the readings it stands beside. */
export async function measureLoad({ size, folder, configuration }: Job, say: Say): Promise<void> {
  const file = join(folder, 'model.safetensors');
  const config = sizeConfig(size);
  const through = new Uint8Array(PIECE);
  read(file, () => through); // Into the page cache.
  const started = performance.now();
  const model = await openModel(folder, configuration);
  const opened = performance.now();
  await model.forward({ input_ids: textIds(config, 1), use_cache: false });
  const ended = performance.now();
  model.dispose();
  const bytes = statSync(file).size;
  const whole = () => {
    const target = new Uint8Array(bytes);
    read(file, (offset) => target.subarray(offset, offset + PIECE));
  };
  say({
    figures: {
      load: (opened - started) / 1e3,
      first: (ended - opened) / 1e3,
      through: seconds(() => read(file, () => through)),
      into: seconds(whole),
      bytes,
    },
  });
}

/** Reads a file front to back in pieces of a mebibyte, the one at each offset into `target(offset)`. */
function read(file: string, target: (offset: number) => Uint8Array): void {
  const handle = openSync(file, 'r');
  let offset = 0;
  for (let got = -1; got !== 0; offset += got) got = readSync(handle, target(offset), { position: offset });
  closeSync(handle);
}

function seconds(call: () => void): number {
  const started = performance.now();
  call();
  return (performance.now() - started) / 1000;
}

/** The figures of several processes as rows. */
export function reportLoad(
  runs: readonly Readonly<Record<string, number>>[],
  aim: number | undefined,
  configuration: string,
  report: Report,
): void {
  const of = (name: string) => timing(runs.map((run) => run[name]));
  const whole = timing(runs.map(({ load, first }) => load + first));
  const { median, ...spread } = whole;
  const common = { part: 'load', configuration, unit: 's' };
  const into = of('into').median;
  const gigabytes = runs[0].bytes / 1e9;
  report({
    ...common,
    work: 'from_pretrained to the end of a first forward',
    seconds: median,
    ...spread,
    value: median,
    against: { name: 'reading the file into new memory', value: into },
    note: aim ? `aim: at most ${aim} ×` : undefined,
  });
  report({ ...common, work: 'of it, the first forward (one token)', value: of('first').median });
  const speed = (value: number) => `${(gigabytes / value).toFixed(2)} GB/s`;
  report({ ...common, work: 'reading the file into new memory', value: into, note: speed(into) });
  const through = of('through').median;
  report({ ...common, work: 'reading it through one buffer', value: through, note: speed(through) });
}
