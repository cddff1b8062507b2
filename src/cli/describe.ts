import { extname } from 'node:path';
import { readArguments, readChoice, UsageError } from './arguments.js';
import {
  GENERATION_OPTIONS,
  type GenerationChoice,
  generationHelp,
  readGenerationOptions,
} from './generation-options.js';
import { type HelpPage, printHelp } from './help.js';
import { HUB_HELP } from './hub-options.js';
import { Interrupt } from './interrupt.js';
import { MODEL_HELP, MODEL_OPTIONS, type ModelChoice, readModelOptions } from './model-options.js';

const MAX_NEW_TOKENS = 128;

const HELP: HelpPage = {
  usage: ['smolvlm describe PATH… [--prompt TEXT] [--output FILE] [options]'],
  about: ['Answers a question about each picture or video.'],
  sections: [
    {
      title: 'What is described',
      rows: [
        [
          'PATH…',
          'pictures (JPEG, PNG), videos, folders with pictures, globs such as "photos/**/*.jpg" (also in quotes), http(s) URLs',
        ],
        ['--video FILE', 'a video: a file, a URL, or a folder of frames; may be given several times'],
        ['-r, --recursive', 'pictures of the folders in a folder, too'],
        ['-p, --prompt TEXT', 'the question (default: Describe this image. or Describe this video.)'],
      ],
    },
    {
      title: 'The output',
      rows: [
        [
          '-o, --output FILE',
          'write a record for each picture to FILE; a later run goes on where this one ended, and tries what failed again',
        ],
        [
          '--format F',
          'jsonl or csv (default: by the ending of FILE); without --output to the standard output',
        ],
        ['--json', 'JSON lines on the standard output'],
        ['--force', 'begin FILE anew'],
        ['--time', 'show how long each picture took'],
        ['-q, --quiet', 'no progress and no summary; errors are still shown'],
      ],
    },
    generationHelp(MAX_NEW_TOKENS),
    MODEL_HELP,
    HUB_HELP,
  ],
  notes: [
    'Without --output and --json the answers are written as they are made, with several pictures each behind its file’s name. Progress is shown on a terminal only. Ctrl-C ends after what is written; a second one at once.',
    'Exit status: 0 all went well, 1 a picture could not be described, 2 wrong usage, 130 interrupted.',
  ],
  examples: [
    'smolvlm describe scene.png --prompt "How many circles are there?"',
    'smolvlm describe photos/ --recursive --output results.jsonl --model ./SmolVLM-256M-Instruct',
    'smolvlm describe "photos/**/*.jpg" --output results.csv --prompt "What is the weather like?"',
    'smolvlm describe photo.jpg --json --model ./SmolVLM2-2.2B-Instruct --dtype int8',
    'smolvlm describe --video clip.mp4 --fps 1 --model ./SmolVLM2-256M-Video-Instruct',
  ],
};

export type OutputFormat = 'jsonl' | 'csv';

export interface DescribeOptions {
  paths: readonly string[];
  videos: readonly string[];
  recursive: boolean;
  prompt: string | undefined;
  /** A file with records, and whether it is begun anew. */
  output: { path: string; format: OutputFormat; force: boolean } | undefined;
  /** Records on the standard output; undefined: plain text there, or nothing where `output` has it. */
  standardOutput: OutputFormat | undefined;
  time: boolean;
  quiet: boolean;
  generation: GenerationChoice;
  model: ModelChoice;
}

/** `smolvlm describe`: every picture is a conversation of its own; the answer is written as it is made. */
export async function describeCommand(args: string[]): Promise<number> {
  const { values, positionals } = readArguments(args, {
    help: { type: 'boolean', short: 'h' },
    prompt: { type: 'string', short: 'p' },
    video: { type: 'string', multiple: true },
    recursive: { type: 'boolean', short: 'r' },
    output: { type: 'string', short: 'o' },
    format: { type: 'string' },
    json: { type: 'boolean' },
    force: { type: 'boolean' },
    time: { type: 'boolean' },
    quiet: { type: 'boolean', short: 'q' },
    ...GENERATION_OPTIONS,
    ...MODEL_OPTIONS,
  });
  if (values.help) return printHelp(HELP);
  const { video: videos = [], prompt } = values;
  if (positionals.length + videos.length === 0) throw new UsageError('expected at least one picture');
  if (prompt?.trim() === '') throw new UsageError('--prompt: expected a question, got nothing');
  const options: DescribeOptions = {
    paths: positionals,
    videos,
    recursive: values.recursive ?? false,
    prompt,
    ...readOutput(values),
    time: values.time ?? false,
    quiet: values.quiet ?? false,
    generation: readGenerationOptions(values, MAX_NEW_TOKENS),
    model: readModelOptions(values),
  };
  const interrupt = new Interrupt();
  try {
    const { describeAll } = await import('./describe-run.js');
    return await describeAll(options, interrupt.signal);
  } finally {
    interrupt.release();
  }
}

interface OutputValues {
  output?: string;
  format?: string;
  json?: boolean;
  force?: boolean;
}

/** @throws UsageError where it is not clear what is to be written where */
function readOutput({
  output: path,
  format: given,
  json,
  force = false,
}: OutputValues): Pick<DescribeOptions, 'output' | 'standardOutput'> {
  const format = given === undefined ? undefined : readChoice(given, 'format', ['jsonl', 'csv'] as const);
  if (path === '') throw new UsageError('--output: expected a file, got nothing');
  if (json && format === 'csv' && path === undefined) {
    throw new UsageError('--json and --format csv: expected one of them');
  }
  if (path === undefined) {
    if (force) throw new UsageError('--force: expected --output with it');
    return { output: undefined, standardOutput: json ? 'jsonl' : format };
  }
  const byName = { '.jsonl': 'jsonl', '.ndjson': 'jsonl', '.csv': 'csv' } as const;
  const chosen = format ?? byName[extname(path).toLowerCase() as keyof typeof byName];
  if (chosen === undefined) {
    throw new UsageError(`--output: expected a name that ends in .jsonl or .csv, or --format, got '${path}'`);
  }
  return { output: { path, format: chosen, force }, standardOutput: json ? 'jsonl' : undefined };
}
