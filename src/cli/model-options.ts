/** The options that say which model answers and how it is loaded: the same in every command that loads one. */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { CheckpointError, HubError } from '../errors.js';
import type { SmolVLM, SmolVLMOptions } from '../smolvlm.js';
import { readChoice, readThreads } from './arguments.js';
import { downloadProgress } from './download-progress.js';
import { embeddedCheckpoint } from './embedded.js';
import type { HelpRow } from './help.js';
import { HUB_OPTIONS, readHubOptions } from './hub-options.js';
import { nearest } from './suggestion.js';
import { megabytes, type ProgressLine } from './terminal.js';
import { printable } from './text-width.js';

/** For `readArguments`. */
export const MODEL_OPTIONS = {
  model: { type: 'string', short: 'm' },
  adapter: { type: 'string' },
  dtype: { type: 'string' },
  'low-memory': { type: 'boolean' },
  'kv-cache-dtype': { type: 'string' },
  threads: { type: 'string' },
  relaxed: { type: 'boolean' },
  ...HUB_OPTIONS,
} as const;

export const MODEL_HELP: { title: string; rows: readonly HelpRow[] } = {
  title: 'The model',
  rows: [
    [
      '-m, --model M',
      'a checkpoint folder, its URL, or ORG/NAME on the Hugging Face hub, which is fetched where it is not cached (default: the small one that comes with the package)',
    ],
    ['--adapter A', 'a PEFT LoRA adapter of that model, merged into it: a folder, its URL, or ORG/NAME'],
    [
      '--dtype D',
      'float32, float16, bfloat16, int8 or int4: round or quantise the weights while they are read (default: auto, as they are stored, if they fit in memory)',
    ],
    ['--low-memory', 'leave layers that do not fit in memory in the files; slower'],
    [
      '--kv-cache-dtype D',
      'float32, bfloat16 or int8: what keys and values of earlier tokens are kept in (default: float32)',
    ],
    [
      '--threads N',
      'threads that compute, or auto: as many as the machine runs at once (default: auto, but 1 for a very small model); the answer is the same with any number',
    ],
    ['--relaxed', 'use relaxed SIMD: faster, but the last bits depend on the processor (Node 22 or later)'],
  ],
};

/** What the options say. */
export interface ModelChoice {
  location: string;
  /** What the model is called in results: as it was given; the embedded one by its name. */
  name: string;
  options: SmolVLMOptions;
}

type Values = Readonly<Partial<Record<keyof typeof MODEL_OPTIONS, string | boolean>>>;

/** @throws UsageError naming the option whose value means nothing */
export function readModelOptions(values: Values): ModelChoice {
  const text = (name: keyof typeof MODEL_OPTIONS) => values[name] as string | undefined;
  const choice = <C extends string>(name: keyof typeof MODEL_OPTIONS, choices: readonly C[]) => {
    const value = text(name);
    return value === undefined ? undefined : readChoice(value, name, choices);
  };
  const location = text('model') ?? embeddedCheckpoint();
  return {
    location,
    name: text('model') ?? basename(location),
    options: {
      ...readHubOptions(values),
      adapter: text('adapter'),
      dtype: choice('dtype', ['auto', 'float32', 'float16', 'bfloat16', 'int8', 'int4'] as const),
      low_memory: values['low-memory'] === true,
      kv_cache_dtype: choice('kv-cache-dtype', ['float32', 'bfloat16', 'int8'] as const),
      threads: readThreads(text('threads')),
      relaxed: values.relaxed === true,
    },
  };
}

/** Loads the model, a line of progress meanwhile. @throws what `SmolVLM.from_pretrained` throws */
export async function loadModel(
  { location, name, options }: ModelChoice,
  progress: ProgressLine,
  signal: AbortSignal,
): Promise<SmolVLM> {
  const title = printable(basename(name));
  const fetching = downloadProgress(progress);
  // Read when it is needed: the options are checked before.
  const { SmolVLM } = await import('../smolvlm.js');
  try {
    return await SmolVLM.from_pretrained(location, {
      ...options,
      signal,
      progress_callback: (event) => {
        if (event.status !== 'load') return fetching(event);
        const { loaded, total } = event;
        const percent = total > 0 ? Math.floor((100 * loaded) / total) : 100;
        progress.show(`loading ${title}: ${megabytes(loaded)} of ${megabytes(total)} (${percent} %)`);
      },
    });
  } catch (error) {
    throw await withHint(error, location);
  } finally {
    progress.clear();
  }
}

/** A folder that is not there was often mistyped: names the checkpoint beside it that is nearly called so. */
async function withHint(error: unknown, location: string): Promise<unknown> {
  const isKnown = error instanceof CheckpointError || error instanceof HubError;
  if (!isKnown || (await exists(location))) return error;
  const parent = dirname(location);
  const names = await readdir(parent).catch(() => []);
  const checkpoints: string[] = [];
  for (const name of names) if (await exists(join(parent, name, 'config.json'))) checkpoints.push(name);
  const near = nearest(basename(location), checkpoints);
  if (near === undefined) return error;
  const { what, where, expected } = error;
  // `./a/b` is a folder, where `a/b` may be a repository.
  const named = isAbsolute(location) ? join(parent, near) : `./${join(parent, near)}`;
  const got = `${error.got ?? 'nothing'}; did you mean ${named}?`;
  const details = { what, where, expected, got, cause: error };
  if (error instanceof CheckpointError) return new CheckpointError(details);
  return new HubError({ ...details, code: error.code, status: error.status });
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
