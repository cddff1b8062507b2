/** Goldens with something wrong on purpose, and the command run on them with its output caught. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import { type TensorToWrite, writeSafetensors } from '../../src/checkpoint/safetensors-writer.js';
import { bytesSource } from '../../src/checkpoint/source.js';
import { parityCommand } from '../../src/cli/parity.js';

export const folder = (name: string) => `test/goldens/${name}`;
export const goldenOf = (name: string) => `${folder(name)}/golden.safetensors`;
export const temporary = mkdtempSync(join(tmpdir(), 'parity-'));

export class EditableGolden {
  readonly tensors = new Map<string, TensorToWrite & { data: Uint8Array }>();
  metadata: Record<string, string> = {};

  /** The values of a float tensor, to be changed in place. */
  values(name: string): Float32Array | Float64Array {
    const { dtype, data } = this.tensors.get(name)!;
    const { buffer, byteOffset, byteLength } = data;
    if (dtype === 'F64') return new Float64Array(buffer, byteOffset, byteLength / 8);
    return new Float32Array(buffer, byteOffset, byteLength / 4);
  }

  rename(from: string, to: string): void {
    this.tensors.set(to, this.tensors.get(from)!);
    this.tensors.delete(from);
  }

  bytes(): Uint8Array {
    return writeSafetensors(this.tensors, this.metadata);
  }
}

/** A committed golden, changed by `edit` and written to a file of its own; returns the path. */
export async function damaged(name: string, edit: (golden: EditableGolden) => void): Promise<string> {
  const bytes = readFileSync(goldenOf(name));
  const file = await openSafetensors(bytesSource(bytes, name));
  const golden = new EditableGolden();
  golden.metadata = Object.fromEntries(file.metadata);
  for (const { name, dtype, shape, begin, end } of file.tensors.values()) {
    golden.tensors.set(name, { dtype, shape, data: new Uint8Array(bytes.subarray(begin, end)) });
  }
  edit(golden);
  return written(golden.bytes());
}

let files = 0;

export function written(bytes: Uint8Array): string {
  const path = join(temporary, `golden-${files++}.safetensors`);
  writeFileSync(path, bytes);
  return path;
}

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs `smolvlm parity` in this process. */
export async function command(...argv: string[]): Promise<Outcome> {
  const caught = { stdout: '', stderr: '' };
  const originals = { stdout: process.stdout.write, stderr: process.stderr.write };
  const streams = ['stdout', 'stderr'] as const;
  for (const stream of streams) {
    process[stream].write = ((text: string) => {
      caught[stream] += text;
      return true;
    }) as typeof process.stdout.write;
  }
  try {
    const code = await parityCommand(argv);
    return { code, ...caught };
  } finally {
    for (const stream of streams) process[stream].write = originals[stream];
  }
}

/** The golden that most tests damage. */
export const CASE = 'one-image';

/** The command on that golden, changed by `edit`. */
export async function run(edit: (golden: EditableGolden) => void, ...options: string[]): Promise<Outcome> {
  return command(folder(CASE), await damaged(CASE, edit), ...options);
}
