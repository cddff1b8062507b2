/** The checkpoint files and expectations that the text tests run over: the committed small ones and the real ones. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ChatMessage, PreprocessOptions, ProcessorFiles } from '../../src/processing/index.js';
import { SmolVLMProcessor } from '../../src/processing/index.js';
import { cases, FIXTURES, type PictureName, ROOT } from './pictures.js';

export interface TextExpectations {
  tokenizer: {
    texts: { text: string; ids: number[] }[];
    random: { text: string; sha256: string }[];
    decoded: { seed: number; vocabulary: number; text: string; skipped: string }[];
  };
  processor: {
    prompts: { conversation: ChatMessage[]; add_generation_prompt: boolean; prompt: string }[];
    calls: {
      text: string[];
      images: PictureName[][];
      options: PreprocessOptions & { padding_side: 'left' | 'right' };
      dims: [number, number];
      input_ids: string;
      attention_mask: string;
      pixel_values: string;
      pixel_dims: number[];
    }[];
  };
}

export interface TextFixture {
  name: string;
  folder: string;
  present: boolean;
  expected: TextExpectations;
}

const shared = process.env.SMOLVLM_SHARED ?? join(ROOT, '..', 'shared');

export const FIXTURE_SETS: TextFixture[] = [
  ['own tokenizer', join(FIXTURES, 'tokenizer'), 'text_own.json'],
  ['SmolVLM-256M-Instruct', join(shared, 'checkpoints', 'SmolVLM-256M-Instruct'), 'text_real.json'],
].map(([name, folder, file]) => ({
  name,
  folder,
  present: existsSync(join(folder, 'tokenizer.json')),
  expected: cases<TextExpectations>(file)[0],
}));

export const OWN = FIXTURE_SETS[0].folder;

const NAMES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'preprocessor_config.json',
  'processor_config.json',
  'chat_template.json',
] as const;

export function readFiles(folder: string): ProcessorFiles {
  const present = NAMES.filter((name) => existsSync(join(folder, name)));
  return Object.fromEntries(
    present.map((name) => [name, readFileSync(join(folder, name), 'utf8')]),
  ) as unknown as ProcessorFiles;
}

export function loadProcessor(folder: string): SmolVLMProcessor {
  return SmolVLMProcessor.from_files(readFiles(folder));
}

/** The generator of python/processing_text_golden.py. */
export function idsFor(seed: number, count: number, vocabulary: number): number[] {
  let state = BigInt(seed);
  return Array.from({ length: count }, () => {
    state = (state * 1103515245n + 12345n) % 2147483648n;
    return Number((state >> 8n) % BigInt(vocabulary));
  });
}
