import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { loadProcessor } from '../auto-processor.js';
import { openCheckpoint } from '../checkpoint/folder.js';
import { InputError, SmolVLMError } from '../errors.js';
import { readGenerationConfig } from '../generation/config.js';
import { greedy } from '../generation/greedy.js';
import type { CacheDtype } from '../model/cache.js';
import { loadModel, refuseAdapter } from '../model/load.js';
import type { Model } from '../model/model.js';
import { type DTypeOption, readOptions } from '../modeling/options.js';
import type { SmolVLMProcessor } from '../processing/index.js';
import { readArguments, readInteger, readThreads, UsageError } from './arguments.js';
import { downloadProgress } from './download.js';
import { embeddedCheckpoint } from './embedded.js';
import { megabytes, ProgressLine, seconds } from './terminal.js';

const HELP = `smolvlm describe IMAGE… — answers a question about each picture

  IMAGE…              picture files (JPEG, PNG)
  --prompt TEXT       the question (default: Describe this image.)
  --model DIR         a checkpoint folder, or ORG/NAME on the Hugging Face hub, which is fetched where it is not cached
                      (default: the small one that comes with the package)
  --adapter DIR       a PEFT LoRA adapter of that model, merged into it
  --dtype D           float32, float16, bfloat16, int8 or int4: round or quantise the weights while they are read
                      (default: as they are stored, if they fit in memory)
  --low-memory        leave layers that do not fit in memory in the files; slower
  --kv-cache-dtype D  float32, bfloat16 or int8: what keys and values of earlier tokens are kept in (default: float32)
  --threads N         threads that compute, or auto: as many as the machine runs at once (default: auto, but 1 for a very
                      small model); the answer is the same with any number
  --relaxed           use relaxed SIMD: faster, but the last bits depend on the processor (Node 22 or later)
  --max-new-tokens N  tokens of an answer at most (default: 128)
  --time              show how long each picture took

With several pictures each answer is preceded by its file's name. Progress is shown on a terminal only.

Examples:
  smolvlm describe scene.png --prompt "How many circles are there?"
  smolvlm describe *.jpg --model ./SmolVLM-256M-Instruct --max-new-tokens 64
  smolvlm describe photo.jpg --model ./SmolVLM2-2.2B-Instruct --dtype int8
`;

export interface DescribeOptions {
  prompt: string;
  model: string;
  adapter?: string;
  dtype?: string;
  lowMemory: boolean;
  kvCacheDtype?: string;
  threads?: number | 'auto';
  relaxed: boolean;
  maxNewTokens: number;
  time: boolean;
}

/** `smolvlm describe`: every picture is a conversation of its own; the answer is written as it is made. */
export async function describeCommand(args: string[]): Promise<number> {
  const { values, positionals } = readArguments(args, {
    help: { type: 'boolean', short: 'h' },
    prompt: { type: 'string', short: 'p' },
    model: { type: 'string', short: 'm' },
    adapter: { type: 'string' },
    dtype: { type: 'string' },
    'low-memory': { type: 'boolean' },
    'kv-cache-dtype': { type: 'string' },
    threads: { type: 'string' },
    relaxed: { type: 'boolean' },
    'max-new-tokens': { type: 'string', short: 'n' },
    time: { type: 'boolean' },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (positionals.length === 0) throw new UsageError('expected at least one picture');
  if (values.prompt?.trim() === '') throw new UsageError('--prompt: expected a question, got nothing');
  const options: DescribeOptions = {
    prompt: values.prompt ?? 'Describe this image.',
    model: values.model ?? embeddedCheckpoint(),
    adapter: values.adapter,
    dtype: values.dtype,
    lowMemory: values['low-memory'] ?? false,
    kvCacheDtype: values['kv-cache-dtype'],
    threads: readThreads(values.threads),
    relaxed: values.relaxed ?? false,
    maxNewTokens: readInteger(values['max-new-tokens'] ?? '128', 'max-new-tokens', 1),
    time: values.time ?? false,
  };
  const interrupt = new AbortController();
  const onInterrupt = () => interrupt.abort();
  process.once('SIGINT', onInterrupt);
  try {
    return (await describeAll(positionals, options, interrupt.signal)) ? 0 : 1;
  } finally {
    process.off('SIGINT', onInterrupt);
  }
}

/** Whether all went well: a picture that cannot be read is reported, and the next one has its turn. */
async function describeAll(
  images: string[],
  options: DescribeOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const progress = new ProgressLine();
  const loaded = await load(options, progress, signal);
  let good = true;
  try {
    for (const image of images) {
      const started = performance.now();
      try {
        const title = images.length > 1 ? `${image}: ` : '';
        const tokens = await describe(image, title, options, loaded, progress, signal);
        const time = seconds(performance.now() - started);
        const build = loaded.model.ops.engine.relaxed ? ', relaxed SIMD' : '';
        process.stdout.write(options.time ? `  [${time}, ${tokens} tokens${build}]\n` : '\n');
      } catch (error) {
        if (!(error instanceof SmolVLMError)) throw error;
        good = false;
        progress.clear();
        process.stderr.write(`smolvlm describe: ${image}: ${error.name}: ${error.message}\n`);
      }
    }
    return good;
  } finally {
    progress.clear();
    loaded.model.ops.engine.dispose();
    await loaded.model.streams?.close();
  }
}

interface Loaded {
  model: Model;
  processor: SmolVLMProcessor;
  eos_token_id: readonly number[];
  pad_token_id: number | undefined;
}

async function load(
  { model: location, adapter: adapterLocation, ...options }: DescribeOptions,
  progress: ProgressLine,
  signal: AbortSignal,
): Promise<Loaded> {
  const hub = { signal, progress_callback: downloadProgress(progress) };
  const folder = await openCheckpoint(location, hub);
  try {
    await refuseAdapter(folder);
    const processor = await loadProcessor(folder);
    const adapter = adapterLocation === undefined ? undefined : await openCheckpoint(adapterLocation, hub);
    const model = await loadModel(folder, {
      ...readOptions({
        dtype: options.dtype as DTypeOption,
        low_memory: options.lowMemory,
        kv_cache_dtype: options.kvCacheDtype as CacheDtype,
        threads: options.threads,
        relaxed: options.relaxed,
      }),
      adapter,
      signal,
      progress_callback: ({ loaded, total }) => {
        const percent = Math.floor((100 * loaded) / total);
        progress.show(
          `loading ${basename(location)}: ${megabytes(loaded)} of ${megabytes(total)} (${percent} %)`,
        );
      },
    });
    const { eos_token_id, pad_token_id } = await readGenerationConfig(folder, model.config);
    progress.clear();
    return { model, processor, eos_token_id, pad_token_id };
  } finally {
    await folder.close();
  }
}

/** Writes the answer about one picture behind its title; returns the number of tokens made. */
async function describe(
  path: string,
  title: string,
  { prompt, maxNewTokens }: DescribeOptions,
  { model, processor, ...ids }: Loaded,
  progress: ProgressLine,
  signal: AbortSignal,
): Promise<number> {
  progress.show(`reading ${basename(path)}`);
  const image = await readPicture(path);
  const content = [
    { type: 'image' as const, image },
    { type: 'text' as const, text: prompt },
  ];
  const inputs = await processor.apply_chat_template([{ role: 'user', content }], {
    add_generation_prompt: true,
    tokenize: true,
  });
  const tiles = inputs.pixel_values?.dims[1] ?? 0;
  progress.show(`encoding ${basename(path)} (${tiles} ${tiles === 1 ? 'tile' : 'tiles'})`);
  const stream = processor.text_stream({ skip_special_tokens: true });
  let tokens = 0;
  // The template ends in "Assistant:", so that answers begin with a blank, which is no part of them.
  let text = '';
  const write = (delta: string) => {
    const shown = text === '' ? delta.trimStart() : delta;
    text += shown;
    process.stdout.write(shown);
  };
  for await (const [id] of greedy(model, inputs, { ...ids, max_new_tokens: maxNewTokens, signal })) {
    // The title comes with the first token: progress has the line to itself until then.
    progress.clear();
    if (tokens++ === 0) process.stdout.write(title);
    write(stream.push(id));
  }
  write(stream.end());
  return tokens;
}

async function readPicture(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    const got = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new InputError({ what: 'the picture cannot be read', where: path, expected: 'a file', got, cause });
  }
}
