import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { InputError } from '../errors.js';
import type { Part } from '../model/weight-dtypes.js';
import { PARTS } from '../model/weight-dtypes.js';
import { quantizeCheckpoint } from '../modeling/quantize.js';
import type { DTypeName, PartDTypes } from '../modeling.js';
import { readArguments, UsageError } from './arguments.js';
import { downloadProgress } from './download-progress.js';
import { type HelpPage, printHelp } from './help.js';
import { HUB_HELP, HUB_OPTIONS, readHubOptions } from './hub-options.js';
import { Interrupt } from './interrupt.js';
import { megabytes, ProgressLine, seconds } from './terminal.js';

const HELP: HelpPage = {
  usage: ['smolvlm quantize MODEL OUT_DIR --dtype int8|int4 [options]'],
  about: [
    'Writes a smaller copy of a checkpoint. Matrices become integers of 8 or 4 bits, in blocks of 64 (in 4 bits 32) inputs with a scale (and in 4 bits a minimum) for each output; norms, biases, patch and position embeddings stay as they are.',
    'The copy loads like any checkpoint, with the weights that loading MODEL with this dtype gives, in the time that reading its files takes. One tensor is in memory at a time.',
  ],
  sections: [
    {
      title: 'Options',
      rows: [
        [
          'MODEL',
          'a folder with config.json and model.safetensors (or shards with their index), or ORG/NAME on the hub',
        ],
        ['OUT_DIR', 'where to write; made where it is missing'],
        ['--dtype D', 'int8, or int4 (which leaves lm_head and the token embedding at int8)'],
        [
          '--vision D, --connector D, --text D, --head D, --embeddings D',
          'another dtype for a part: int8, int4, float16, bfloat16, or auto (as it is stored)',
        ],
        ['--adapter DIR', 'a PEFT LoRA adapter, merged into the weights first'],
        ['--max-shard-size S', 'bytes of a file at most, like 2GB or 500MiB (default: 5GB)'],
        ['--force', 'write over a checkpoint that is in OUT_DIR already'],
      ],
    },
    HUB_HELP,
  ],
  examples: [
    'smolvlm quantize ./SmolVLM-256M-Instruct ./SmolVLM-256M-int8 --dtype int8',
    'smolvlm quantize ./SmolVLM2-2.2B-Instruct ./SmolVLM2-2.2B-int4 --dtype int4 --vision int8',
    'smolvlm describe photo.jpg --model ./SmolVLM-256M-int8',
  ],
};

/** `smolvlm quantize MODEL_DIR OUT_DIR --dtype D`. */
export async function quantizeCommand(args: string[]): Promise<number> {
  const { values, positionals } = readArguments(args, {
    help: { type: 'boolean', short: 'h' },
    dtype: { type: 'string' },
    vision: { type: 'string' },
    connector: { type: 'string' },
    text: { type: 'string' },
    head: { type: 'string' },
    embeddings: { type: 'string' },
    adapter: { type: 'string' },
    'max-shard-size': { type: 'string' },
    force: { type: 'boolean' },
    ...HUB_OPTIONS,
  });
  if (values.help) return printHelp(HELP);
  if (positionals.length !== 2) {
    throw new UsageError(`expected two folders, MODEL_DIR and OUT_DIR, got ${positionals.length}`);
  }
  const [from, to] = positionals;
  const dtype = partDtypes(values);
  if (!values.force) await refuseOverwriting(from, to);
  const interrupt = new Interrupt();
  const progress = new ProgressLine();
  const fetching = downloadProgress(progress);
  const started = performance.now();
  let written = 0;
  try {
    await quantizeCheckpoint(from, to, {
      dtype,
      ...readHubOptions(values),
      adapter: values.adapter,
      max_shard_size: values['max-shard-size'],
      signal: interrupt.signal,
      progress_callback: (event) => {
        if (event.status !== 'load') return fetching(event);
        const { loaded, total } = event;
        written = total;
        progress.show(`quantising: ${megabytes(loaded)} of ${megabytes(total)} written`);
      },
    });
  } finally {
    progress.clear();
    interrupt.release();
  }
  process.stdout.write(`${to}: ${megabytes(written)} of weights, ${seconds(performance.now() - started)}\n`);
  return 0;
}

/** @throws UsageError where nothing says what is to be quantised, or `--dtype` is none of the two */
function partDtypes(
  values: Readonly<Partial<Record<'dtype' | Part, string | boolean>>>,
): DTypeName | PartDTypes {
  const { dtype } = values;
  if (dtype !== undefined && dtype !== 'int8' && dtype !== 'int4') {
    throw new UsageError(`--dtype: expected int8 or int4, got '${dtype}'`);
  }
  const own = PARTS.filter((part) => values[part] !== undefined);
  if (own.length === 0) {
    if (dtype) return dtype;
    throw new UsageError('--dtype is missing: int8 or int4');
  }
  const rows = dtype && 'int8';
  const whole: PartDTypes = { vision: dtype, connector: dtype, text: dtype, head: rows, embeddings: rows };
  return { ...whole, ...Object.fromEntries(own.map((part) => [part, values[part]])) };
}

/** @throws InputError if the output folder holds a checkpoint */
async function refuseOverwriting(from: string, to: string): Promise<void> {
  const there = (path: string) => stat(path).then(Boolean, () => false);
  const files = ['config.json', 'model.safetensors', 'model.safetensors.index.json'];
  const found = await Promise.all(files.map((file) => there(join(to, file))));
  if (resolve(from) !== resolve(to) && !found.includes(true)) return;
  const expected =
    resolve(from) === resolve(to) ? 'another folder' : 'a folder without a checkpoint, or --force';
  throw new InputError({
    what: 'the checkpoint there would be written over',
    where: to,
    expected,
    got: 'a checkpoint',
  });
}
