/**
 * One engine, one group of works, in a process of its own: its peak memory is its own, and nothing is warm from before.
 * Usage: child.js TASK (JSON); the last line of the output is the answer.
 */
import { readFileSync } from 'node:fs';
import {
  type Engine,
  type EngineName,
  type EngineSettings,
  type Session,
  timed,
  Unsupported,
} from './engine.js';
import { Files } from './files.js';
import { type Group, WORKS } from './works.js';

export interface Task {
  readonly engine: EngineName;
  readonly settings: EngineSettings;
  readonly group: Group;
  /** Ids of the works. */
  readonly works: readonly string[];
  /** Only makes the files that are missing. */
  readonly prepare?: boolean;
  readonly cache: string;
  readonly wheel?: string;
  /** Counts over all processes, so that no two runs have the same input. */
  readonly round: number;
}

export interface Answer {
  readonly version?: string;
  readonly node: string;
  readonly loadSeconds?: number;
  /** Seconds of the runs, by work. */
  readonly seconds?: Record<string, number[]>;
  /** Of the time of its threads, by work, how much the machine gave this process: far below 1, neighbours took the rest. */
  readonly share?: Record<string, number>;
  readonly peakBytes?: number | null;
  /** A few of the first values computed, for comparing engines. */
  readonly output?: number[];
  readonly unsupported?: string;
  readonly failed?: string;
}

/** A run that takes longer is warm enough by itself, and once a process is enough. */
const LONG_RUN = 6;
const RUNS = 3;

type Measured = Required<Pick<Answer, 'seconds' | 'share' | 'output'>>;

async function measure(session: Session, { works, round, settings }: Task): Promise<Measured> {
  const seconds: Record<string, number[]> = {};
  const share: Record<string, number> = {};
  let output: number[] | undefined;
  for (const work of WORKS.filter(({ id }) => works.includes(id))) {
    const started = performance.now();
    const before = process.cpuUsage();
    let all = await session.measure(work, 100 * round);
    // Of every engine's first input: inputs differ from run to run.
    output ??= Array.from(session.output?.() ?? []).slice(0, 4096);
    const long = performance.now() - started > 1000 * LONG_RUN;
    if (!long) all = [];
    for (let run = 1; run <= RUNS && !long; run++) {
      all.push(...(await session.measure(work, 100 * round + run)));
      if (performance.now() - started > 1000 * LONG_RUN * 2) break;
    }
    seconds[work.id] = all;
    const { user, system } = process.cpuUsage(before);
    share[work.id] = (user + system) / 1000 / (performance.now() - started) / settings.threads;
  }
  return { seconds, share, output: output ?? [] };
}

/** VmHWM: what the process held at most. */
function peakOfThisProcess(): number | null {
  if (process.platform !== 'linux') return null;
  return 1024 * Number(readFileSync('/proc/self/status', 'utf8').match(/^VmHWM:\s+(\d+) kB/m)?.[1]);
}

async function answer(task: Task): Promise<Answer> {
  const node = process.version;
  const { engine } = (await import(`./engines/${task.engine.replace('.', '-')}.js`)) as { engine: Engine };
  try {
    const paths = await engine.files(task.group, task.settings, new Files(task.cache, task.wheel));
    if (task.prepare) return { node };
    let session: Session | undefined;
    const loadSeconds = await timed(async () => {
      session = await engine.open(task.group, task.settings, paths);
    });
    const opened = session as Session;
    const measured = await measure(opened, task);
    const peakBytes = opened.peakBytes ? opened.peakBytes() : peakOfThisProcess();
    // Engines that compute in another process have no share that is known here.
    const { seconds, output, share } = measured;
    const known = opened.peakBytes === undefined ? { share } : {};
    await opened.close();
    return { node, version: opened.version, loadSeconds, seconds, ...known, peakBytes, output };
  } catch (error) {
    if (error instanceof Unsupported) return { node, unsupported: error.message };
    return { node, failed: String((error as Error)?.stack ?? error).slice(0, 1000) };
  }
}

const result = await answer(JSON.parse(process.argv[2]) as Task);
process.stdout.write(`\n${JSON.stringify(result)}\n`, () => process.exit(0));
