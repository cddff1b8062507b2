/**
 * `npm run bench`: every figure beside a ceiling, a peer or an aim taken in the same run. Prints a table as it goes, writes
 * bench/out/bench.html and bench.json, and closes with one line of JSON. `--help` says what can be chosen.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { Ceilings } from './ceilings.js';
import { checkpoint, OUT } from './checkpoints.js';
import { runJob } from './children.js';
import { type ConfiguredPart, configurationName, configurations } from './configuration.js';
import type { Figures, Job } from './job.js';
import { benchKernels } from './kernels.js';
import { reportLoad } from './load.js';
import { type Options, type Part, readOptions, USAGE } from './options.js';
import { pageOf } from './page.js';
import { benchProcessing } from './processing.js';
import { plainRows, Table } from './report.js';
import type { Size } from './sizes.js';
import { threadRows } from './speedup.js';

const LOADS = 3;

async function run(options: Options): Promise<void> {
  const table = new Table();
  const ceilings = new Ceilings();
  const facts = machineFacts(ceilings);
  console.log(Object.values(facts).join(', '));
  const started = performance.now();
  for (const part of options.parts) await PART_RUNNERS[part](options, ceilings, table);
  const minutes = ((performance.now() - started) / 60e3).toFixed(1);
  mkdirSync(OUT, { recursive: true });
  const json = { bench: 'smolvlm-wasm', ...facts, minutes: Number(minutes), rows: plainRows(table.rows) };
  writeFileSync(join(OUT, 'bench.html'), pageOf(facts, table.rows));
  writeFileSync(join(OUT, 'bench.json'), `${JSON.stringify(json, undefined, 1)}\n`);
  console.log(`\n${table.rows.length} figures in ${minutes} minutes; bars: ${join(OUT, 'bench.html')}`);
  console.log(JSON.stringify(json));
}

function machineFacts(ceilings: Ceilings): Record<string, string> {
  const { model } = cpus()[0];
  return {
    date: new Date().toISOString().slice(0, 10),
    node: `Node ${process.versions.node}`,
    processor: `${cpus().length} × ${model.trim()}`,
    arithmetic: `multiply and add in registers ${ceilings.arithmetic('multiply_add')!.toFixed(1)} GFLOP/s`,
    memory: `load-sum of memory ${ceilings.loadSum().toFixed(1)} GB/s`,
  };
}

type Runner = (options: Options, ceilings: Ceilings, table: Table) => Promise<void>;

const PART_RUNNERS: Readonly<Record<Part, Runner>> = {
  async kernels({ pattern, relaxed = false }, ceilings, table) {
    if (relaxed && !ceilings.relaxed) {
      const note = 'not supported: this host has no relaxed SIMD';
      return table.add({ part: 'kernels', work: 'left out', note });
    }
    await benchKernels(ceilings, table.add, { pattern, relaxed });
  },
  layers: (options, _, table) => everyJob('layers', options, table),
  model: async (options, _, table) => {
    await everyJob('model', options, table);
    for (const row of threadRows(table.rows)) table.add(row);
  },
  decode: (options, _, table) => everyJob('decode', options, table),
  context: (options, _, table) => everyJob('context', options, table),
  load: (options, _, table) =>
    everyJob('load', options, table, async (job) => {
      const runs: Figures[] = [];
      for (let i = 0; i < LOADS; i++) {
        const figures = await runJob(job, table.add);
        if (!figures) return;
        runs.push(figures);
      }
      reportLoad(runs, job.configuration.aim, nameOf(job), table.add);
    }),
  memory: (options, _, table) =>
    everyJob('memory', options, table, async (job) => {
      const figures = await runJob(job, table.add);
      if (figures) reportMemory(job, figures, table);
    }),
  processing: (_options, _ceilings, table) => benchProcessing(table.add),
};

/** Every chosen configuration of a part, at every chosen size; what a configuration cannot do is reported by its job. */
async function everyJob(
  part: ConfiguredPart,
  { sizes, ...choice }: Options,
  table: Table,
  work: (job: Job) => Promise<unknown> = (job) => runJob(job, table.add),
): Promise<void> {
  const chosen = configurations(part, choice);
  if (chosen.length === 0) table.add({ part, work: 'left out', note: 'no configuration is like that' });
  for (const size of sizes) {
    for (const configuration of chosen) {
      await work({ part, size, folder: await folderOf(part, size), configuration });
    }
  }
}

/** Layers are measured on models cut for them. */
async function folderOf(part: ConfiguredPart, size: Size): Promise<string> {
  return part === 'layers' ? '' : checkpoint(size);
}

function nameOf({ size, configuration }: Job): string {
  return `${size} ${configurationName(configuration)}`;
}

/** An aim is for the smallest size. */
function reportMemory(job: Job, { bare, loaded, whole, wasm }: Figures, table: Table): void {
  const { aim } = job.configuration;
  const against = aim && job.size === '256m' ? { name: 'the aim', value: aim } : undefined;
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
  table.add({
    part: 'memory',
    configuration: nameOf(job),
    work: 'one picture of one tile, 64 tokens',
    value: whole / 1e6,
    unit: 'MB',
    against,
    note: `${megabytes(loaded)} once loaded, ${megabytes(bare)} before; WebAssembly memory ${megabytes(wasm)}`,
  });
}

/** Exits with 2 on arguments that mean nothing. */
function readArguments(): Options | undefined {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    process.exit(2);
  }
}

const options = readArguments();
if (options) await run(options);
else console.log(USAGE);
