import { parseArgs } from 'node:util';
import type { Choice } from './configuration.js';
import { SIZES, type Size } from './sizes.js';

export const PARTS = [
  'kernels',
  'layers',
  'model',
  'decode',
  'context',
  'load',
  'memory',
  'processing',
] as const;

export type Part = (typeof PARTS)[number];

export interface Options extends Choice {
  readonly sizes: readonly Size[];
  readonly parts: readonly Part[];
  /** Of kernels, only shapes whose names hold this. */
  readonly pattern: string;
}

export const USAGE = `npm run bench -- [options]
  --size 256m|500m|2.2b|all   real sizes of whole models and layers (several with commas; default: 256m)
  --only PART[,PART]          ${PARTS.join(', ')} (default: all)
  --dtype DTYPE               only configurations with it: float32, bfloat16, float16, int8, int4
  --threads N                 only configurations with so many threads
  --relaxed                   only configurations with relaxed SIMD (--no-relaxed: only those without)
  --pattern TEXT              of kernels, only shapes whose names hold it
Without --dtype, --threads and --relaxed the default ones of bench/configurations.json are measured.`;

/** @throws Error that says what is wrong with the arguments */
export function readOptions(args: string[]): Options | undefined {
  const { values } = parseArgs({
    args,
    options: {
      help: { type: 'boolean' },
      size: { type: 'string', default: '256m' },
      only: { type: 'string', default: PARTS.join(',') },
      dtype: { type: 'string' },
      threads: { type: 'string' },
      relaxed: { type: 'boolean' },
      'no-relaxed': { type: 'boolean' },
      pattern: { type: 'string', default: '' },
    },
  });
  if (values.help) return undefined;
  return {
    sizes: values.size === 'all' ? SIZES : list(values.size, SIZES, '--size'),
    parts: list(values.only, PARTS, '--only'),
    dtype: values.dtype,
    threads: values.threads === undefined ? undefined : Number(values.threads),
    relaxed: values.relaxed ? true : values['no-relaxed'] ? false : undefined,
    pattern: values.pattern.toLowerCase(),
  };
}

function list<T extends string>(text: string, choices: readonly T[], name: string): T[] {
  return text.split(',').map((part) => {
    const found = choices.find((choice) => choice === part.toLowerCase());
    if (found) return found;
    throw new Error(`${name}: expected some of ${choices.join(', ')}; got ${part}`);
  });
}
