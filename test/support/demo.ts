import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './paths.js';

/** A picture that the embedded checkpoint was asked about, and what PyTorch had it answer. */
export interface DemoSample {
  file: string;
  kind: string;
  question: string;
  answer: string;
}

export const demoFolder = join(root, 'test/fixtures/demo');

export const demoSamples: readonly DemoSample[] = JSON.parse(
  readFileSync(join(demoFolder, 'answers.json'), 'utf8'),
).samples;
