/** The options that say how answers are made: the same in `describe` and `chat`. */
import type { AnswerOptions } from '../chat/ask.js';
import { readInteger, readNumber } from './arguments.js';
import type { HelpRow } from './help.js';

/** For `readArguments`. */
export const GENERATION_OPTIONS = {
  system: { type: 'string', short: 's' },
  'max-new-tokens': { type: 'string', short: 'n' },
  temperature: { type: 'string', short: 't' },
  'top-p': { type: 'string' },
  'top-k': { type: 'string' },
  seed: { type: 'string' },
  fps: { type: 'string' },
  'num-frames': { type: 'string' },
} as const;

export function generationHelp(maxNewTokens: number): { title: string; rows: readonly HelpRow[] } {
  return {
    title: 'The answer',
    rows: [
      ['-s, --system TEXT', 'what the model is told before everything else'],
      ['-n, --max-new-tokens N', `tokens of an answer at most (default: ${maxNewTokens})`],
      [
        '-t, --temperature T',
        'draw tokens instead of taking the best: 1 as the model has them, less for the likelier ones; 0 draws nothing',
      ],
      ['--top-p P', 'draw among the likeliest tokens that make up the share P (0 to 1)'],
      ['--top-k K', 'draw among the K likeliest tokens (default: 50; 0: all)'],
      ['--seed N', 'draw the same tokens in every run'],
      ['--fps F', 'frames taken of each second of a video'],
      ['--num-frames N', 'frames taken of a video at most'],
    ],
  };
}

type Values = Readonly<Partial<Record<keyof typeof GENERATION_OPTIONS, string>>>;

export interface GenerationChoice {
  system: string | undefined;
  options: Omit<AnswerOptions, 'seed'> & { max_new_tokens: number; seed?: number };
}

/** @throws UsageError naming the option whose value means nothing */
export function readGenerationOptions(values: Values, maxNewTokens: number): GenerationChoice {
  const number = (
    name: keyof typeof GENERATION_OPTIONS,
    expected: string,
    holds: (value: number) => boolean,
  ) => {
    const text = values[name];
    return text === undefined ? undefined : readNumber(text, name, expected, holds);
  };
  const integer = (name: keyof typeof GENERATION_OPTIONS, least: number) => {
    const text = values[name];
    return text === undefined ? undefined : readInteger(text, name, least);
  };
  const temperature = number('temperature', 'a number of 0 or more', (t) => t >= 0);
  const top_p = number('top-p', 'a number above 0, at most 1', (p) => p > 0 && p <= 1);
  const top_k = integer('top-k', 0);
  const num_frames = integer('num-frames', 1);
  const fps = number('fps', 'a number above 0', (f) => f > 0);
  const drawn = temperature !== undefined || top_p !== undefined || top_k !== undefined;
  const sampling = temperature === 0 ? { do_sample: false } : { do_sample: true, temperature, top_p, top_k };
  const isSampled = fps !== undefined || num_frames !== undefined;
  return {
    system: values.system,
    options: given({
      max_new_tokens: integer('max-new-tokens', 1) ?? maxNewTokens,
      ...(drawn && sampling),
      seed: integer('seed', 0),
      processor_options: isSampled ? given({ do_sample_frames: true, fps, num_frames }) : undefined,
    }),
  };
}

/** Without what is undefined: the checkpoint's own value holds then. */
function given<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}
