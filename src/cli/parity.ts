import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { SmolVLMError } from '../errors.js';
import { parityHtml } from '../parity/html.js';
import { parityJson } from '../parity/json.js';
import { parity, summarize } from '../parity/parity.js';
import { closing, ParityTable } from '../parity/table.js';
import { readThreads, UsageError } from './arguments.js';
import { type HelpPage, printHelp } from './help.js';

const USAGE = `usage: smolvlm parity CHECKPOINT_DIR GOLDEN.safetensors [--adapter DIR] [--threads N] [--relaxed]
       [--json F] [--html F] [--strict]`;

const HELP: HelpPage = {
  usage: [
    'smolvlm parity CHECKPOINT_DIR GOLDEN.safetensors [--adapter DIR] [--threads N] [--relaxed] [--json F] [--html F] [--strict]',
  ],
  about: [
    'Runs a checkpoint on the inputs of a golden file (smolvlm-golden/1, made by python/make_golden.py) through the same kernels that generate text, and compares every tensor of the file with the reference’s, in forward order.',
    'A tensor holds if its NMSE, Σ(a−b)²/Σb², is at most 1e-10 against both the float64 and the float32 run of the reference (1e-5 and 1e-3 where the reference itself ran in float16 and bfloat16). Text rows with attention_mask 0 are left out. A tensor of the file that the runtime does not produce fails as missing. A greedy continuation in the file must be identical, ties under a float64 gap of 1e-5 apart.',
  ],
  sections: [
    {
      title: 'Options',
      rows: [
        ['--adapter DIR', 'merge a PEFT LoRA adapter into the checkpoint first'],
        [
          '--threads N',
          'threads that compute, or auto (default: auto, but 1 for a very small model); no number depends on it',
        ],
        [
          '--relaxed',
          'use relaxed SIMD, whose bits depend on the processor (Node 22 or later); the report says so',
        ],
        ['--json F', 'write the report as JSON to F; "-" writes it to the output in place of the table'],
        ['--html F', 'write the report as a page to F'],
        ['--strict', 'fail too where our largest error is over twice PyTorch’s own float32 error ("ratio")'],
      ],
    },
  ],
  notes: [
    'Columns: our max-abs error against float64, NMSE against the float64 and the float32 run, PyTorch’s own float32 error against float64 (max-abs and NMSE), and the ratio of ours to it.',
    'Exit status: 0 if everything holds, 1 if anything fails (the first divergence is named), 2 on unusable input.',
  ],
  examples: ['smolvlm parity ./SmolVLM-256M-Instruct golden.safetensors --html report.html'],
};

interface ParityArguments {
  help: boolean;
  checkpoint: string;
  golden: string;
  adapter?: string;
  threads?: number | 'auto';
  relaxed: boolean;
  json?: string;
  html?: string;
  strict: boolean;
}

/**
 * `smolvlm parity`: compares a checkpoint with a golden file.
 * @param argv the arguments behind the command's name
 * @returns the exit status: 0 all hold, 1 something fails, 2 unusable input
 */
export async function parityCommand(argv: string[]): Promise<number> {
  try {
    const args = parseArguments(argv);
    if (!args.help) return await run(args);
    return printHelp(HELP);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof UsageError) process.stderr.write(`smolvlm parity: ${message}\n${USAGE}\n`);
    else if (error instanceof SmolVLMError) process.stderr.write(`smolvlm parity: ${oneLine(message)}\n`);
    else process.stderr.write(`smolvlm parity: unexpected: ${oneLine(message)}\n`);
    return 2;
  }
}

async function run({
  checkpoint,
  golden: path,
  adapter,
  threads,
  relaxed,
  json,
  html,
  strict,
}: ParityArguments): Promise<number> {
  const print = (line: string) => json !== '-' && process.stdout.write(`${line}\n`);
  let table: ParityTable | undefined;
  const report = await parity(checkpoint, path, {
    adapter,
    threads: threads ?? 'by size',
    relaxed,
    onGolden: (golden) => {
      table = new ParityTable(golden, strict);
    },
    onModel: () => print(table!.head()),
    onVerdict: (verdict) => print(table!.row(verdict)),
  });
  print('');
  for (const line of closing(report, strict)) print(line);
  const text = parityJson(report, checkpoint, strict);
  if (json === '-') process.stdout.write(text);
  else if (json !== undefined) await save(json, text);
  if (html !== undefined) await save(html, parityHtml(report, checkpoint, strict));
  return summarize(report, strict).holds ? 0 : 1;
}

function parseArguments(argv: string[]): ParityArguments {
  const parse = () =>
    parseArgs({
      args: argv,
      allowPositionals: true,
      options: {
        adapter: { type: 'string' },
        threads: { type: 'string' },
        relaxed: { type: 'boolean' },
        json: { type: 'string' },
        html: { type: 'string' },
        strict: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse();
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const { values, positionals } = parsed;
  const { adapter, relaxed = false, json, html, strict = false, help = false } = values;
  const threads = readThreads(values.threads);
  const [checkpoint = '', golden = ''] = positionals;
  if (!help && positionals.length !== 2) {
    throw new UsageError(
      `expected a checkpoint folder and a golden file, got ${positionals.length} arguments`,
    );
  }
  return { help, checkpoint, golden, adapter, threads, relaxed, json, html, strict };
}

async function save(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text);
  } catch (error) {
    throw new UsageError(`cannot write ${path}: ${(error as Error).message}`);
  }
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ');
}
