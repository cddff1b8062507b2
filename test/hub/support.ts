import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileStorage } from '../../src/checkpoint/hub/file-storage.js';
import type { HubOptions } from '../../src/checkpoint/hub/options.js';
import { HubRepository } from '../../src/checkpoint/hub/repository.js';
import { type Environment, hubSettings } from '../../src/checkpoint/hub/settings.js';
import type { HubStorage } from '../../src/checkpoint/hub/storage.js';
import { readAll } from '../../src/checkpoint/source.js';
import { randomIntegers } from '../checkpoint/helpers.js';
import { shapes } from '../support/paths.js';

// What the environment says is none of these tests' business, and what this machine has cached neither.
for (const name of Object.keys(process.env)) {
  if (/^(HF_|HUGGING|TRANSFORMERS_|XDG_CACHE_HOME)/.test(name)) delete process.env[name];
}
const home = mkdtempSync(join(tmpdir(), 'smolvlm-hub-home-'));
process.env.HF_HOME = home;
process.on('exit', () => rmSync(home, { recursive: true, force: true }));

/** A folder that is gone when the process is. */
export function scratch(): string {
  return mkdtempSync(join(home, 'scratch-'));
}

/** Pauses so short that a test can afford them. */
export const QUICK = { baseMs: 1, capMs: 4, retryAfterCapMs: 50 };

/** A repository with retries that take no time. */
export async function openQuick(
  name: string,
  options: HubOptions,
  storage?: HubStorage,
  environment: Environment = {},
): Promise<HubRepository> {
  const settings = await hubSettings(options, environment);
  const retry = { ...settings.retry, ...QUICK };
  const place = storage ?? new FileStorage(settings.cacheDir!);
  return HubRepository.open(name, { ...settings, retry }, place, options);
}

/** A file's bytes; undefined if there is none. */
export async function bytesOf(repository: HubRepository, file: string): Promise<Uint8Array | undefined> {
  const source = await repository.open(file);
  if (!source) return undefined;
  try {
    return await readAll(source, 1 << 30);
  } finally {
    await source.close();
  }
}

/** The embedded checkpoint's files. */
export function shapesFiles(): Record<string, Uint8Array> {
  const names = readdirSync(shapes).filter((name) => /\.(json|jinja|safetensors)$/.test(name));
  return Object.fromEntries(names.map((name) => [name, new Uint8Array(readFileSync(join(shapes, name)))]));
}

/** Bytes that do not repeat. */
export function randomBytes(length: number, seed: number): Uint8Array {
  const next = randomIntegers(seed);
  const words = Uint32Array.from({ length: Math.ceil(length / 4) }, () => next());
  return new Uint8Array(words.buffer, 0, length);
}

/** All files below a folder, with their folders. */
export function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1))
    .sort();
}
