/** The embedded checkpoint with its processor, and pictures that it knows. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SmolVLM, type SmolVLMOptions } from '../../src/index.js';
import { root, shapes } from '../support/paths.js';

export const PICTURE = join(root, 'examples/pictures/shapes-on-blue.png');
export const OTHER_PICTURE = join(root, 'examples/pictures/shapes-on-checks.jpg');
export const ANSWER = 'A red star, a yellow circle and a purple triangle on a plain light blue background.';

export function bytesOf(path: string): Uint8Array {
  return new Uint8Array(readFileSync(path));
}

/** A model of its own, with caches of its own. */
export function load(options?: SmolVLMOptions): Promise<SmolVLM> {
  return SmolVLM.from_pretrained(shapes, options);
}

export async function rejection(promise: PromiseLike<unknown>): Promise<Error & Record<string, unknown>> {
  try {
    await promise;
  } catch (error) {
    return error as Error & Record<string, unknown>;
  }
  throw new Error('nothing was thrown');
}
