/** What python/make_processor_golden.py recorded, and how its cases are run here. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ChatMessage, SmolVLMProcessor } from '../../src/processing/index.js';
import { formula, type PictureName, ROOT, sha256 } from './pictures.js';
import { readFiles } from './text-fixtures.js';

export interface Described {
  dims: number[];
  sha256: string;
  sum?: number;
}

export interface Reference {
  result?: unknown;
  /** The type of Python's error, and its message. */
  error?: string;
  message?: string;
}

export interface CallCase extends Reference {
  name: string;
  inputs: Record<string, unknown>;
  options: Record<string, unknown>;
  image_depth?: number;
  video_depth?: number;
}

export interface ChatCase extends Reference {
  name: string;
  conversation: unknown[];
  options: Record<string, unknown>;
}

export interface Golden {
  facts: Record<string, unknown>;
  calls: CallCase[];
  chats: ChatCase[];
  words: { words: string[]; ids: number[]; reference: Reference }[];
  decodes: {
    ids: number[] | number[][];
    batch_decode: string[];
    skipped: string[];
    post_process: string[];
    kept: string[];
  }[];
  saved: Record<string, unknown>;
}

/** Where the reference and this library part on purpose: test/processing/processor-disagreements.test.ts has both sides. */
export const DISAGREEMENTS = new Set([
  'unknown option',
  'audio',
  'splitting per call',
  'not splitting per call',
  'max_image_size as a number',
  'an empty text',
  'an empty text in a batch',
  'no rows and columns',
  'flat beside images_kwargs',
  'a row of text alone',
  'pictures and videos',
  'a list of one video',
  'a row without a video',
  'content as a string',
  'content as a string, tokenized',
  'pictures in two turns',
  'a conversation of text alone in a batch',
  'unknown content',
  'a video, no number of frames anywhere',
]);

const shared = process.env.SMOLVLM_SHARED ?? join(ROOT, '..', 'shared');

export interface Checkpoint {
  name: string;
  folder: string;
  present: boolean;
  golden: Golden;
  processor(): SmolVLMProcessor;
}

export const CHECKPOINTS: Checkpoint[] = [
  ['embedded checkpoint', join(ROOT, 'checkpoints', 'smolvlm-shapes'), 'embedded.json'],
  ['SmolVLM-256M-Instruct', join(shared, 'checkpoints', 'SmolVLM-256M-Instruct'), 'real.json'],
].map(([name, folder, file]) => {
  let processor: SmolVLMProcessor | undefined;
  return {
    name,
    folder,
    present: existsSync(join(folder, 'tokenizer.json')),
    golden: JSON.parse(readFileSync(join(ROOT, 'test/fixtures/processor', file), 'utf8')) as Golden,
    processor: () => (processor ??= SmolVLMProcessor.from_files(readFiles(folder))),
  };
});

/** Pictures and videos of a case, by the formulas that Python uses. */
export const picture = (spec: unknown) => formula(spec as PictureName);

export function video(spec: unknown): { data: Uint8Array; dims: number[] } {
  const [kind, frames, height, width] = spec as [PictureName[0], number, number, number];
  const first = formula([kind, height, width, 3]).data;
  const data = new Uint8Array(frames * first.length);
  for (let t = 0; t < frames; t++)
    for (const [i, v] of first.entries()) data[t * first.length + i] = v + 16 * t;
  return { data, dims: [frames, height, width, 3] };
}

function nested(value: unknown, depth: number, make: (spec: unknown) => unknown): unknown {
  return depth === 0 ? make(value) : (value as unknown[]).map((item) => nested(item, depth - 1, make));
}

export function callInputs({ inputs, options, image_depth = 2, video_depth = 2 }: CallCase): never {
  const { images, videos, ...rest } = inputs;
  return {
    ...rest,
    ...(images !== undefined && { images: nested(images, image_depth, picture) }),
    ...(videos !== undefined && { videos: nested(videos, video_depth, video) }),
    ...options,
  } as never;
}

export function chatInputs({ conversation, options }: ChatCase): [never, never] {
  const withMedia = (message: ChatMessage) => {
    if (typeof message.content === 'string') return message;
    const content = message.content.map((piece) => {
      const { image, video: film } = piece as { image?: unknown; video?: unknown };
      if (Array.isArray(image)) return { ...piece, image: picture(image) };
      return Array.isArray(film) ? { ...piece, video: video(film) } : piece;
    });
    return { ...message, content };
  };
  const make = (messages: unknown) => (messages as ChatMessage[]).map(withMedia);
  const { mood, ...rest } = options;
  return [
    (Array.isArray(conversation[0]) ? conversation.map(make) : make(conversation)) as never,
    { ...rest, ...(mood !== undefined && { variables: { mood } }) } as never,
  ];
}

/** As Python describes a result: tensors as dims and hash, and nothing of what only this library returns. */
export function described(result: unknown): unknown {
  if (typeof result !== 'object' || result === null || Array.isArray(result)) return result;
  if ('dims' in result) return tensor(result as never);
  const extra = ['rows', 'cols', 'decoders', 'video_metadata'];
  const entries = Object.entries(result).filter(
    ([name, value]) => !extra.includes(name) && value !== undefined,
  );
  return Object.fromEntries(entries.map(([name, value]) => [name, tensor(value)]));
}

function tensor({ data, dims }: { data: ArrayLike<number | bigint>; dims: number[] }): Described {
  if (data instanceof Float32Array) return { dims: [...dims], sha256: sha256(data) };
  const joined = Array.from(data, String).join(',');
  const sum = Array.from(data, Number).reduce((total, value) => total + value, 0);
  return { dims: [...dims], sum, sha256: createHash('sha256').update(joined).digest('hex') };
}
